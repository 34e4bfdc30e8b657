// Package supervisor keeps processes going: it starts them, starts them again
// when they die, drains them in order, and leaves none behind.
//
// A process is told to drain by the end of its standard input, which works on
// every system and also when the supervisor is killed. On Linux the kernel
// besides kills the processes of a supervisor that is gone, even those that are
// stopped. They have process groups of their own, so that Ctrl-C reaches the
// supervisor alone.
package supervisor
