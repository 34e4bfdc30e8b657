// Package pgtest runs PostgreSQL for tests, from the programs that pgbin finds. A
// test that needs it is skipped when there are none.
//
// [Database] returns an empty database on a server that all tests of a program
// share, and that [Main] ends. [Start] starts one of its own, for those who
// kill it.
//
// A server keeps its data and its socket in a temporary directory, listens on
// nothing else, and syncs what it commits. It ends with the test program, also
// when that is killed (on Linux).
package pgtest
