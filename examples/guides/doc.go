// Package guides holds the code of the guides in docs: evolving-events.md, fleet.md
// and moving.md. It is compiled and run by its tests, which also hold the pages to
// it.
package guides
