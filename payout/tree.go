package payout

import "crypto/sha256"

// RecordTree is RecordRoot of bodies that come one by one: it keeps a digest for
// each height in place of them. The zero value is of no bodies.
type RecordTree struct {
	count int
	peaks [][32]byte // of whole subtrees, the highest first: one for each bit of count
	buf   []byte
}

// Add appends a share record body.
func (t *RecordTree) Add(body []byte) {
	t.buf = append(append(t.buf[:0], 0), body...)
	t.peaks = append(t.peaks, sha256.Sum256(t.buf))
	for n := t.count; n&1 == 1; n >>= 1 { // two of one height
		t.join()
	}
	t.count++
}

// join puts the last two peaks under one.
func (t *RecordTree) join() {
	n := len(t.peaks)
	t.buf = append(append(append(t.buf[:0], 1), t.peaks[n-2][:]...), t.peaks[n-1][:]...)
	t.peaks[n-2] = sha256.Sum256(t.buf)
	t.peaks = t.peaks[:n-1]
}

// Len returns how many bodies were added.
func (t *RecordTree) Len() int { return t.count }

// Root ends the tree, and returns what RecordRoot does: where an odd last node
// moves up, the peaks are joined from the lowest.
func (t *RecordTree) Root() [32]byte {
	if t.count == 0 {
		return [32]byte{}
	}
	for len(t.peaks) > 1 {
		t.join()
	}
	return t.peaks[0]
}
