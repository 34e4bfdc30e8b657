// Package leattest is for those who write a [leat.Log] and those who test with
// one.
//
// [Log] is the reference: a log in memory that keeps every promise of package
// leat but the durable one, written to be read as their specification. It is
// also the log to use in the tests of a service.
//
// [TestLog] is the conformance suite. Every implementation of leat.Log passes
// it, in a test such as
//
//	func TestPromises(t *testing.T) {
//		leattest.TestLog(t, func(t testing.TB, s leattest.Setup) leattest.Instance {
//			log, err := mylog.Create(s.Config, s.Clock)
//			if err != nil {
//				t.Fatal(err)
//			}
//			t.Cleanup(func() { log.Close() })
//			return leattest.Instance{Log: log}
//		})
//	}
//
// What a plug that is pulled, a full disk or a lost connection does to a log is
// for its own tests to show.
package leattest
