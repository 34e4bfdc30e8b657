// Package leattest is for those who write a [leat.Log] and those who test with
// one.
//
// [Log] is the reference: a log in memory that keeps every promise of package
// leat but the durable one, written to be read as their specification. It is
// also the log to use in the tests of a service.
//
// [TestLog] is the conformance suite. Every implementation of leat.Log passes
// it; a promise is not made until it fails without it.
package leattest
