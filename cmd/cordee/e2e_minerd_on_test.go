package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordee/internal/sandbox"
)

// minerdFor is how long TestMinerdMinesOn mines where CORDEE_MINERD_FOR says
// nothing.
const minerdFor = 10 * time.Second

// TestMinerdMinesOn: a miner that nobody here wrote mines for CORDEE_MINERD_FOR
// on one connection, through heartbeats, templates and vardiff, and is refused
// nothing. No block is found, so that no share can be stale.
func TestMinerdMinesOn(t *testing.T) {
	needMinerd(t)
	d := minerdFor
	if text := os.Getenv("CORDEE_MINERD_FOR"); text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil || d <= 0 {
			t.Fatalf("CORDEE_MINERD_FOR is %q: give a time above 0, as 60s or 1h", text)
		}
	}
	t.Parallel()
	n := realNode(t)
	// Dozens of shares a second at first, which vardiff takes to twenty a minute;
	// a block would take years.
	p := newPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e15, hashesPerShare: 1e5, top: `firmware = "firmware.toml"`})
	b, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), "\nstart_difficulty", "\nshares_per_minute = 20\nstart_difficulty", 1)
	row := "[[firmware]]\nprefix = \"cpuminer/\"\nclass = \"default\"\nstart_difficulty = 0.00006103515625\n"
	err = errors.Join(os.WriteFile(p.config, []byte(text), 0o600), os.WriteFile(filepath.Join(p.dir, "firmware.toml"), []byte(row), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	p.start()
	out, stop := startMinerd(t, p, "jura.dole.cpu", "nice", "-n", "19")
	holds(t, d, "pool and minerd run", func() error {
		select {
		case <-p.exited:
			return fmt.Errorf("the pool stopped: %w", p.waitErr)
		default:
			return nil
		}
	})
	eventually(t, findPatience, "shares at a difficulty that vardiff has set", func() error {
		heard, err := minerdTalk(out.String())
		if err == nil && (heard.accepted < 8 || heard.difficulties < 2) {
			err = fmt.Errorf("%d shares accepted, %d difficulties", heard.accepted, heard.difficulties)
		}
		return err
	})
	if closes := p.closes(); len(closes) > 0 {
		t.Errorf("a connection ended: %+v", closes)
	}
	said := stop()
	p.awaitConnections(0) // what was on its way is counted
	s := p.status()
	heard, err := minerdTalk(said)
	if err != nil {
		t.Error(err)
	}
	if heard.subscribes != 1 || strings.Contains(said, "Stratum connection") {
		t.Errorf("minerd subscribed %d times: its connection was dropped", heard.subscribes)
	}
	if len(heard.refused) > 0 || strings.Contains(said, "booo") {
		t.Errorf("minerd was refused %d times: %q", len(heard.refused), heard.refused)
	}
	// One may be on its way when minerd is killed.
	if due := heard.submits - heard.accepted - len(heard.refused); due > 1 {
		t.Errorf("%d of %d submits have no answer", due, heard.submits)
	}
	taken := s.Shares["accepted"] + s.Shares["uncredited"]
	if s.Rejected() != 0 || taken < uint64(heard.accepted) || taken > uint64(heard.submits) || s.Lost != 0 || s.Credited != s.Shares["accepted"] {
		t.Errorf("the pool counted %v, %d credited, %d not durable; minerd sent %d and heard %d times true",
			s.Shares, s.Credited, s.Lost, heard.submits, heard.accepted)
	}
	if len(s.Blocks) > 0 {
		t.Errorf("blocks were found, which may make shares stale: %v", s.Blocks)
	}
	if s.Canary.Refused > 0 {
		t.Errorf("the node would refuse a block of minerd's shares: %+v", s.Canary)
	}
	t.Logf("%s on %s, %s: %d submits, %d answered true, %d refused; %d jobs, %d difficulties; the pool counted %v",
		n.Kind, n.Chain, d, heard.submits, heard.accepted, len(heard.refused), heard.notifies, heard.difficulties, s.Shares)
	p.stop()
	p.verify()
}

// minerdHeard is what minerd printed of the protocol.
type minerdHeard struct {
	subscribes, submits    int // sent
	accepted               int // submits answered true
	refused                []string
	notifies, difficulties int
}

// minerdTalk reads what minerd printed with --protocol-dump. Its error says that
// a line is no JSON; the last one may be half there.
func minerdTalk(said string) (h minerdHeard, err error) {
	submits := map[string]bool{} // by id
	for line := range strings.Lines(said) {
		_, text, ok := strings.Cut(line, "> ")
		sent := ok && strings.HasPrefix(text, "{")
		if !sent {
			_, text, ok = strings.Cut(line, "< ")
		}
		if !ok || !strings.HasPrefix(text, "{") || !strings.HasSuffix(text, "\n") {
			continue
		}
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Result json.RawMessage `json:"result"`
		}
		if jerr := json.Unmarshal([]byte(text), &m); jerr != nil {
			err = errors.Join(err, fmt.Errorf("minerd printed %q: %w", text, jerr))
			continue
		}
		switch {
		case sent && m.Method == "mining.subscribe":
			h.subscribes++
		case sent && m.Method == "mining.submit":
			h.submits++
			submits[string(m.ID)] = true
		case sent:
		case m.Method == "mining.notify":
			h.notifies++
		case m.Method == "mining.set_difficulty":
			h.difficulties++
		case m.Method != "" || !submits[string(m.ID)]:
		case string(m.Result) == "true":
			h.accepted++
		default:
			h.refused = append(h.refused, strings.TrimSpace(text))
		}
	}
	return h, err
}
