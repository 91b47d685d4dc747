package edge

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cordee/payout"
	"cordee/pool"
)

// twoWays pays a member beside the treasury, or the treasury alone.
type twoWays struct{ payout.Treasury }

func (y twoWays) Payout(t *pool.Template, class pool.Class) (pool.Payout, []byte, error) {
	p, receipt, err := y.Kept(t, class)
	p.Outputs = slices.Concat([]pool.Output{{Sats: 1, Script: []byte{0x51}}}, p.Outputs)
	p.Outputs[1].Sats--
	return p, receipt, err
}

// No rig hashes a coinbase of a shape that the node has not called valid
// (decision 21): until then every sat stays in the treasury. Then it is mined at
// once, and not asked about again.
func TestUnprovenShapeIsNotMined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), func(c *Config) { c.Payer = twoWays{payout.Treasury{Script: script}} })
		verdict := "bad-txns-vout-toolarge"
		k.node.propose = func([]byte) (string, error) { return verdict, nil }
		k.run()
		outputs := func() (n []int) {
			for _, s := range k.board.all() {
				n = append(n, len(s.set.Jobs[0].Payout.Outputs))
			}
			return n
		}
		k.tip(101, 1)
		time.Sleep(canaryQuiet + time.Second)
		if got := outputs(); !slices.Equal(got, []int{1}) {
			t.Fatalf("refused, and yet mined: jobs of %v outputs", got)
		}
		if s := k.edge.Status().Canary; s.Refused != 1 {
			t.Errorf("%+v", s)
		}
		k.node.set(func() { verdict = "" })
		k.tip(102, 2)
		if got := outputs(); !slices.Equal(got, []int{1, 1}) {
			t.Fatalf("not asked yet, and yet mined: jobs of %v outputs", got)
		}
		time.Sleep(canaryQuiet + time.Second)
		if got := outputs(); !slices.Equal(got, []int{1, 1, 2}) {
			t.Fatalf("proven: jobs of %v outputs", got)
		}
		if set := k.board.all()[2].set; set.Clean {
			t.Error("a better split of the same tip is no reason to drop work")
		}
		asked := len(k.node.proposed())
		k.tip(103, 3)
		if got := outputs(); !slices.Equal(got, []int{1, 1, 2, 2}) {
			t.Fatalf("on the next tip: jobs of %v outputs", got)
		}
		time.Sleep(canaryQuiet + time.Second)
		if n := len(k.node.proposed()); n != asked {
			t.Errorf("asked %d times more about a proven shape", n-asked)
		}
		k.end()
	})
}
