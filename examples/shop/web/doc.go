// Package web is how the shop's processes speak HTTP: bounded JSON in, JSON out,
// and what is wrong as a problem of RFC 9457 that names the field, the limit and
// what was given.
package web
