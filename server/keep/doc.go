// Package keep keeps the logs of a server in an archive.
//
// For each log it runs an [archive.Archiver], which copies every event as it
// comes; compaction once a day; and retention, which removes from the log what is
// archived and verified when it is old, or too much. What a log no longer has is
// read from the archive, through a cache on the local disk, by whoever reads the
// log at the server.
//
// A log does not wait for its archive and does not fail with it. While the store
// cannot be reached, or refuses, the log goes on and keeps its events; all is
// tried again until it works. What the operator has to know is in the server's log
// and metrics: docs/operations.md.
package keep
