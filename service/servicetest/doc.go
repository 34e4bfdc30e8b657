// Package servicetest tests what is built with package service.
//
// What an aggregate decides is tested in given-when-then form:
//
//	servicetest.For(t, &Order).
//		Given(Placed{…}).
//		When(Cancel("changed my mind")).
//		Then(Cancelled{…})
//
// What a process decides is tested in the same form, with timers:
//
//	servicetest.ForProcess(t, fulfilment).
//		When(OrderPlaced{"7"}).Then(Begun{}, servicetest.Command(Charge{"7"}), servicetest.Timer("payment", time.Hour)).
//		After(time.Hour).Then(Lapsed{})
//
// What a projection makes of events, and that it makes the same of them whatever
// fails and whenever it is killed:
//
//	servicetest.ForProjection(t, newStock).
//		Given(servicetest.Events(t, types, "stock-1", Received{Units: 5}, Sold{Units: 2})...).
//		Then(map[string]int{"stock-1": 3}).
//		ThenDespiteFailures()
//
// [ForReactor] does it for reactors. For time there is package testing/synctest:
// everything here works in its bubble.
//
// [Memory] is a read model in memory, for tests of projections and reactors.
// [TestReadModel], [TestProcessStore], [TestSnapshotStore] and [TestOutbox] are the
// conformance suites for those who write such a store for another database.
package servicetest
