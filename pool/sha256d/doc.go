// Package sha256d is the hot path: double SHA-256 as Bitcoin uses it, over
// headers, coinbases and merkle branches.
//
// It is the lowest floor of the house and imports nothing of ours. The
// kernels are the standard library's today; a kernel chosen at run time slots
// in behind the same three functions, and Kernel names the one in use.
package sha256d
