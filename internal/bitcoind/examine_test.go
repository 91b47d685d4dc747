package bitcoind_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"cordee/internal/bitcoind"
	"cordee/internal/harness"
)

func examine(t *testing.T, cfg bitcoind.Config) bitcoind.Examination {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	found, err := bitcoind.Examine(ctx, cfg)
	if err != nil || len(found) != len(cfg.Nodes) {
		t.Fatalf("%+v, %v", found, err)
	}
	return found[0]
}

func TestExamine(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 120})
	f.Fail("getmininginfo", harness.Fault{Result: json.RawMessage(`{"currentblockweight": 8000, "currentblocktx": 0}`)})
	x := examine(t, configFor(t, f))
	if x.Err != nil || x.TemplateErr != nil || x.Tip != f.Tip() || x.Template == nil || x.Template.Height != 121 ||
		x.Peers != 8 || x.Version != "Core 31.99.0" || x.Reserved != 8000 || x.Public || x.TipTime.IsZero() {
		t.Errorf("%+v", x)
	}
	if drift, known := x.ClockDrift(); drift != 0 || !known {
		t.Errorf("drift %s, %t", drift, known)
	}

	// A block of other transactions than the template's tells nothing.
	f.Clear("getmininginfo")
	f.Fail("getmininginfo", harness.Fault{Result: json.RawMessage(`{"currentblockweight": 8000, "currentblocktx": 3}`)})
	if x := examine(t, configFor(t, f)); x.Reserved != bitcoind.UnknownWeight {
		t.Errorf("reserved %d", x.Reserved)
	}
	f.Clear("getmininginfo")
	if x := examine(t, configFor(t, f)); x.Err != nil || x.Reserved != bitcoind.UnknownWeight {
		t.Errorf("without getmininginfo: %+v", x)
	}

	f.Fail("getblocktemplate", harness.Fault{Code: -1, Message: "no"})
	if x := examine(t, configFor(t, f)); x.Err != nil || x.TemplateErr == nil || x.Template != nil {
		t.Errorf("without template: %+v", x)
	}
	f.Down()
	if x := examine(t, configFor(t, f)); !errors.Is(x.Err, bitcoind.ErrUnreachable) {
		t.Errorf("away: %v", x.Err)
	}
}

func TestExamineClock(t *testing.T) {
	for _, want := range []time.Duration{-time.Hour, -10 * time.Second, 0, 10 * time.Second, time.Hour} {
		f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 120})
		f.Mutate(func(g map[string]any) {
			now := time.Now().Add(want).Unix()
			g["curtime"], g["mintime"] = now, now-5000
		})
		x := examine(t, configFor(t, f))
		drift, known := x.ClockDrift()
		if off := (drift - want).Abs(); !known || off > 1100*time.Millisecond+x.Told.Sub(x.Asked) {
			t.Errorf("a clock off by %s reads %s, %t", want, drift, known)
		}
	}
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 120})
	f.Mutate(func(g map[string]any) { g["curtime"] = g["mintime"] })
	x := examine(t, configFor(t, f))
	if drift, known := x.ClockDrift(); known {
		t.Errorf("the chain's own time was taken for a clock: %s", drift)
	}
}

// Core tells its reserved weight by way of the block it assembled.
func TestCoreExamine(t *testing.T) {
	for _, want := range []int64{8000, 2368, 64_368} {
		var args []string
		if want != 8000 { // its default
			args = append(args, fmt.Sprintf("-blockreservedweight=%d", want))
		}
		b := harness.StartBitcoind(t, "regtest", args...)
		cfg := realConfig(t, network(t, "regtest"), false, b)
		checked(t, cfg)
		x := examine(t, cfg)
		if x.Err != nil || x.TemplateErr != nil || x.Reserved != want || x.Headers != x.Tip.Height {
			t.Errorf("%+v, want %d reserved", x, want)
		}
	}
}
