// Package http is the door of a server for people, browsers, webhooks and
// programs in any language: a JSON API over HTTP that describes itself in
// OpenAPI, and what operators ask for, /healthz, /readyz and /metrics.
//
// docs/http.md is its guide. Events have the form of package eventjson. Every
// error is a problem (RFC 9457) with a code that never changes; see [Problem].
//
// Whatever comes in is bounded before it is looked at: headers, bodies and the
// time they take, and the time a client takes to read an answer.
package http
