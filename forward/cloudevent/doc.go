// Package cloudevent writes events as CloudEvents 1.0 and reads them again. It is
// what destinations send and receivers read; docs/forwarding.md says which
// attribute is what.
package cloudevent
