package sha256d_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/pool/sha256d"
)

// message is what goes into a lane: data, cut bytes of it remembered.
type message struct {
	data []byte
	cut  int
}

// used serves every check, as a pool's do: what one leaves behind must not
// matter to the next.
var used sha256d.Lanes

// checkLanes compares messages in lanes, and what they become through branches,
// with chainhash: those that are of the first one's shape, under every kernel
// that has lanes.
func checkLanes(messages []message, branches [][32]byte) error {
	want := make([][32]byte, len(messages))
	for i, m := range messages {
		want[i] = naiveFold([32]byte(chainhash.DoubleHashB(m.data)), branches)
	}
	var err error
	sha256d.EachKernel(func(kernel string) {
		widths := sha256d.Widths()
		if len(widths) == 0 {
			return
		}
		blocks := 0
		var in []int
		for i, m := range messages {
			mid := sha256d.NewMidstate(m.data[:m.cut])
			if i == 0 {
				blocks = mid.Blocks(len(m.data))
			}
			if mid.Blocks(len(m.data)) == blocks && len(in) < widths[0] {
				used.Add(&mid, m.data)
				in = append(in, i)
			}
		}
		for lane, got := range used.Fold(branches) {
			if i := in[lane]; got != want[i] && err == nil {
				err = fmt.Errorf("%s: lane %d of %d, %d bytes, %d remembered, %d branches: %x, want %x of %x",
					kernel, lane, len(in), len(messages[i].data), messages[i].cut, len(branches), got, want[i], messages[i].data)
			}
		}
	})
	return err
}

// alter returns n messages like m, no two the same where it is long enough.
func alter(m message, n int) []message {
	all := make([]message, n)
	for i := range all {
		all[i] = message{bytes.Clone(m.data), m.cut}
		for j := range all[i].data {
			all[i].data[j] += byte(i * (j + 1))
		}
	}
	return all
}

// Messages of one shape and of any beginning remembered, few or many of them.
func TestLanesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := rapid.IntRange(1, 6).Draw(t, "blocks")
		one := rapid.Custom(func(t *rapid.T) message {
			rest := rapid.IntRange(max(0, 64*blocks-72), 64*blocks-9).Draw(t, "rest")
			begun := 64 * rapid.SampledFrom([]int{0, 1, 1, 1, 3}).Draw(t, "remembered")
			data := rapid.SliceOfN(rapid.Byte(), begun+rest, begun+rest).Draw(t, "message")
			return message{data, begun + rapid.IntRange(0, min(63, rest)).Draw(t, "behind")}
		})
		branch := rapid.Custom(func(t *rapid.T) [32]byte {
			return [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "branch"))
		})
		messages := rapid.SliceOfN(one, 1, sha256d.MaxLanes).Draw(t, "messages")
		if err := checkLanes(messages, rapid.SliceOfN(branch, 0, 14).Draw(t, "branches")); err != nil {
			t.Fatal(err)
		}
	})
}

// Every length around the block boundaries, in every number of lanes.
func TestLanesOfEveryLength(t *testing.T) {
	data := make([]byte, 200)
	for i := range data {
		data[i] = byte(i * 11)
	}
	for size := range data {
		for _, cut := range []int{0, size} {
			if err := checkLanes(alter(message{data[:size], cut}, 1+size%sha256d.MaxLanes), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range sha256d.MaxLanes {
		if err := checkLanes(alter(message{data[:150], 64}, n+1), [][32]byte{{1}, {2}}); err != nil {
			t.Fatal(err)
		}
	}
}

// Lanes are filled as far as they are worth it, and no further than they reach.
func TestFit(t *testing.T) {
	sha256d.EachKernel(func(kernel string) {
		most := 0
		if widths := sha256d.Widths(); len(widths) > 0 {
			most = widths[0]
		}
		for n := range 100 {
			got := sha256d.Fit(n)
			if got < 0 || got > min(n, most) || got == 1 || n >= most && got != most {
				t.Errorf("%s with %d lanes: %d of %d fit", kernel, most, got, n)
			}
		}
	})
}

// Messages that cannot stand side by side are a mistake of the caller's.
func TestLanesOfUnlikeLengths(t *testing.T) {
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "a message of 2 blocks in lanes of 1") {
			t.Error(got)
		}
	}()
	var l sha256d.Lanes
	var none sha256d.Midstate
	l.Add(&none, make([]byte, 55))
	l.Add(&none, make([]byte, 56))
}
