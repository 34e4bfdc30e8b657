// Package killtest puts to the test, in whatever database, a projection that
// counts each event exactly once ([Run]), and an outbox of which each event is
// recorded exactly once ([RunOutbox]).
//
// Real processes share the work: the test program, started again ([Main] is what
// it then does). They are killed, stopped until others have taken over and
// continued, and cut off, and the database suffers what its test has in store
// ([Trouble]). In the end what is counted, or recorded, is compared.
//
//	go test ./sqlite -run WhateverIsKilled -v -args -rounds 200
package killtest
