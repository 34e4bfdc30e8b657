// Package servicetest tests what is built with package service.
//
// What an aggregate decides is tested in given-when-then form:
//
//	servicetest.For(t, &Order).
//		Given(Placed{…}).
//		When(Cancel("changed my mind")).
//		Then(Cancelled{…})
//
// [Memory] is a read model in memory, for tests of projections and reactors.
// [TestReadModel] is the conformance suite for those who write a
// service.ReadModel.
package servicetest
