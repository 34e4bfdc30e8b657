// Package killtest puts a projection to the test that counts each event exactly
// once, in whatever database.
//
// Real processes share the work: the test program, started again ([Work] is
// what it then does). [Run] kills them, stops them until others have taken over
// and lets them go on, cuts their connections, and does to the database what its
// test has in store ([Trouble]), while it appends to the log. In the end the
// database has counted each event of the log once, in order.
//
//	go test ./sqlite -run TestExactlyOnce -rounds 200
package killtest
