// Package web is what can be seen of a running pool: the operator's socket,
// which `cordee status` and its sisters ask, and on loopback the page in French
// and English, its JSON and /metrics.
//
// It reads: every handler asks a Source, and a Source copies. The one exception
// is on the operator's socket alone: an Operator lifts a halt.
package web
