// Package aws forwards events to Amazon Kinesis, SQS and SNS.
//
// What is sent is the event as a CloudEvent in JSON, as package cloudevent writes
// it and reads it again. These services answer for each event of a request, so
// only what failed is sent again. As they may take the second of two events and
// not the first, a request never has two events of one stream: a stream gets on
// by one event for each request, and many streams side by side.
//
// They know an event for a while at most: a FIFO queue or topic for five minutes
// by the digest of stream and ID, the others not at all. Who receives from them
// deduplicates by source and id.
//
// Clients are the SDK's own, with the region, credentials and endpoint that they
// were made with. An event that is larger than the service takes is parked.
package aws
