// avo, and with it the generator of pool/sha256d's amd64 assembly. A module of its own, so that the pool's go.mod lists
// only what the pool needs.
module cordee/tools/avo

go 1.26.0

require github.com/mmcloughlin/avo v0.6.0

require (
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/tools v0.52.0 // indirect
)
