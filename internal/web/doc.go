// Package web is what can be seen of a running pool: the operator's socket,
// which `cordee status` and its sisters ask, and /metrics on loopback.
//
// It reads, it never writes: every handler asks a Source, and a Source copies.
package web
