// Package webhook forwards events to an HTTP endpoint as CloudEvents 1.0, signed
// as Standard Webhooks has it, and gives receivers what they need to check and
// read them.
//
// # What is sent
//
// A POST for each event or, in the mode [Batch], for some hundred. An event's
// attributes are
//
//	id               Event.ID
//	source           Event.Source, "#" and Event.Stream, both percent-encoded:
//	                 an ID is unique within a stream, and CloudEvents wants
//	                 source and id to be unique together
//	type             Event.Type
//	subject          Event.Stream
//	time             Event.Time
//	datacontenttype  Event.ContentType
//	sequence         Version in the stream, 20 digits
//	originlog        where it was recorded first: log, shard and sequence
//	originshard
//	originseq
//
// and all of Event.Meta but a "sequence" of its own. A header webhook-id stands
// for the mode and the attributes; it is the same each time that an event is sent
// by itself in one mode. Receivers deduplicate by source and id, or by webhook-id
// where there is one event in a request.
//
// # What an answer means
//
// 2xx: the endpoint has the events. 408, 425, 429 and 5xx: later; after as long
// as Retry-After says, an hour at most. 401, 403, 404, 405, 407, 410, a
// redirection, which is not followed, and an answer that does not come: the
// endpoint is at fault, or away, unless it takes other events meanwhile. Other
// 4xx: the event is refused, and parked.
//
// A [Destination] is made with [New], a receiver checks with [Verifier].
package webhook
