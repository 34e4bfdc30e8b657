package leat

// A Condition is what an Append expects of a stream. Make one with
// ExpectVersion, ExpectNew or ExpectExists. The stream need not be one the
// Append writes.
type Condition struct {
	Stream  string
	Version uint64 // the version it must have, when Exists is false
	Exists  bool   // any version but 0 will do
}

// ExpectVersion holds if the stream has exactly version v; 0 is a stream
// without events.
func ExpectVersion(stream string, v uint64) Condition {
	return Condition{Stream: stream, Version: v}
}

// ExpectNew holds if the stream has no events.
func ExpectNew(stream string) Condition { return Condition{Stream: stream} }

// ExpectExists holds if the stream has at least one event.
func ExpectExists(stream string) Condition { return Condition{Stream: stream, Exists: true} }

// Check returns a [*ConflictError] unless c holds for a stream at version
// actual.
func (c Condition) Check(actual uint64) error {
	if c.Exists && actual > 0 || !c.Exists && actual == c.Version {
		return nil
	}
	return &ConflictError{Condition: c, Actual: actual}
}
