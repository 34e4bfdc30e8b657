// Package server serves the logs in a data directory to other processes.
//
// A [Server] owns one directory:
//
//	DIR/lock                held while a server runs: one process owns the directory
//	DIR/logs/NAME/          a log, made and opened by the server's [Engine]
//	DIR/leases/NAME.json    up to where the tokens of its leases were given out
//	DIR/apps/NAME.json      which applications read it, how far they are, and which are paused
//	DIR/backups/NAME/       a copy of a log, made while it was served
//	DIR/archives/ID.json    that the log of this ID has an archive, and where
//	DIR/archive.key, DIR/archive-cache/     of leat serve --archive
//
// It has doors, which are packages of their own and know nothing of each other:
// package rpc is gRPC for programs, package http a JSON API for people and other
// ecosystems. Each door
// gets the logs wrapped, so that appends and reads are measured and waiting
// reads end with the server in one place, whatever the door.
//
// With an [Archive], such as that of package keep, each log is archived, and
// readers of either door get what only the archive still has.
//
// # Life
//
// New takes the directory, opens every log and begins to listen. A log that
// cannot be opened does not keep the others from being served; readiness names
// it. Run serves until its context ends and then drains: readiness turns false,
// nobody new is let in, waiting reads return what they have, requests under way
// finish, and the logs are closed. What was acknowledged is durable at any
// moment, so a server that is killed loses nothing either.
package server
