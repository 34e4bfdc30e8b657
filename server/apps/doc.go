// Package apps keeps how the applications that read a log fare, as their workers
// report it, and which of them are paused.
//
// Reports are kept in memory: when a server starts again, the workers tell it
// anew within seconds. What is paused is kept in a file, because it has to stay
// so. A worker that is silent for longer than it said is gone; it is shown as
// such for an hour, or until a process of the same instance reports. What all
// workers of a log can make a server remember is bounded.
package apps
