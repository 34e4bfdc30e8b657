// Package s3 keeps archives in Amazon S3, or in another store that speaks its
// protocol and honours If-None-Match.
//
// An object is created by one PUT on the condition that there is none of its
// name. When an answer is lost, the PUT is sent again; if that one is told that
// the object exists, the store is asked who wrote it, because it may have been
// the first PUT. Each object carries a token of the Create that wrote it, so of
// many that create one object exactly one is told that it did.
//
// No call hangs: each attempt has a time limit that grows with the bytes it
// moves, and attempts are few (see [Limits]).
package s3
