package sha256d

import "crypto/sha256"

// Size is the length of a digest in bytes.
const Size = sha256.Size

// Kernel names the implementation in use, for `cordee version` and bug
// reports.
func Kernel() string { return "crypto/sha256" }

// Sum returns SHA-256(SHA-256(data)).
func Sum(data []byte) [Size]byte {
	first := sha256.Sum256(data)
	return sha256.Sum256(first[:])
}

// Fold returns the merkle root that leaf reaches through branches, its
// siblings from the leaf upward. Leaf is the leftmost of the tree (the
// coinbase), so every sibling stands on its right. All hashes are in hashing
// byte order, never display order.
func Fold(leaf [Size]byte, branches [][Size]byte) [Size]byte {
	var pair [2 * Size]byte
	for i := range branches {
		copy(pair[:Size], leaf[:])
		copy(pair[Size:], branches[i][:])
		leaf = Sum(pair[:])
	}
	return leaf
}
