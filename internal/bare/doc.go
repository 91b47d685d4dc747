// Package bare is a Stratum V1 server that validates nothing: it is what a pool's
// cost is measured against. Rigs cannot tell it from a pool: it answers
// configure, subscribe and authorize, gives work with a coinbase of usual size,
// and says true to every share. It keeps no account of anything.
//
// It is plain Go as one writes it in an afternoon, a goroutine and two small
// buffers a connection, all complete lines of a read answered by one write; it
// is no slower than that on purpose, and no faster either.
package bare
