package stratum

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cordee/pool"
)

var update = flag.Bool("update", false, "rewrite testdata/transcripts with what the server says now")

// TestTranscripts plays testdata/transcripts/*.txt. A line is a command, and
// behind it stands what the server did:
//
//	> {json}                 rig 1 sends a line; "2> " rig 2; "\n" glues lines into one read
//	< {json}                 rig 1 hears a line; "-- n writes" ends what came in n writes, n > 1
//	= closed reason          rig 1's connection ended
//	publish tip=1 job=1 [clean] [work=4096]
//	withdraw
//	advance 30s
//	submit job=ID [rig=2] [name=a.b.c] [want=share|weak|block] [at=n] [bits=hex]
//	       [ntime=+n] [from=nonce] [id=n] [upper] | submit again [rig=2]
//	         at=n: meets difficulty n, but not the one it was issued with
//	stats
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			synctest.Test(t, func(t *testing.T) { got = play(t, string(want)) })
			if got == string(want) {
				return
			}
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
			for i := range max(len(g), len(w)) {
				var a, b string
				if i < len(g) {
					a = g[i]
				}
				if i < len(w) {
					b = w[i]
				}
				if a != b {
					t.Fatalf("line %d\n got %s\nwant %s\n(-update rewrites the file)", i+1, a, b)
				}
			}
		})
	}
}

type player struct {
	t    *testing.T
	srv  *Server
	hub  *hub
	rigs map[string]*rigEnd
	out  strings.Builder
	last map[string]string // rig -> last submit line
}

type rigEnd struct {
	twin *twin
	sess *session
	gone bool
}

// play runs the commands of script and returns it with what happened.
func play(t *testing.T, script string) string {
	p := &player{t: t, rigs: make(map[string]*rigEnd), last: make(map[string]string)}
	p.srv, p.hub = testServer(t, func(c *Config) { c.StartDifficulty = 16 })
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		mark := strings.TrimLeft(line, "0123456789")
		if strings.HasPrefix(mark, "<") || strings.HasPrefix(mark, "=") || strings.HasPrefix(line, "--") {
			continue
		}
		p.out.WriteString(line + "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		p.command(line)
		synctest.Wait()
		p.hear("")
		for i := 2; i < 9; i++ {
			p.hear(strconv.Itoa(i))
		}
	}
	done := make(chan error)
	go func() { done <- p.srv.Drain(t.Context()) }()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return p.out.String()
}

func (p *player) rig(name string) *rigEnd {
	r := p.rigs[name]
	if r == nil {
		r = &rigEnd{twin: newTwin(1 << 20)}
		r.sess = p.srv.enter(r.twin, Door{})
		p.rigs[name] = r
		synctest.Wait()
	}
	return r
}

func (p *player) hear(name string) {
	r := p.rigs[name]
	if r == nil {
		return
	}
	text, writes := r.twin.recv()
	for l := range strings.Lines(text) {
		p.out.WriteString(name + "< " + l)
	}
	if writes > 1 {
		fmt.Fprintf(&p.out, "-- %d writes\n", writes)
	}
	if r.twin.isClosed() && !r.gone {
		r.gone = true
		fmt.Fprintf(&p.out, "%s= closed %s\n", name, p.srv.Closes()[0].Reason)
	}
}

func (p *player) command(line string) {
	if name, text, ok := strings.Cut(line, "> "); ok && strings.Trim(name, "0123456789") == "" {
		p.rig(name).twin.send(strings.ReplaceAll(text, `\n`, "\n") + "\n")
		return
	}
	words := strings.Fields(line)
	arg := make(map[string]string)
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		arg[k] = v
	}
	num := func(key string, base int, otherwise uint64) uint64 {
		v, err := strconv.ParseUint(strings.TrimPrefix(arg[key], "+"), base, 64)
		if err != nil {
			return otherwise
		}
		return v
	}
	switch words[0] {
	case "publish":
		set := jobSet(testJob(p.t, num("tip", 10, 1), uint32(num("job", 10, 1)), float64(num("work", 10, 4096))))
		_, set.Clean = arg["clean"]
		p.srv.Publish(set)
	case "withdraw":
		p.srv.Withdraw(CloseNoTemplate)
	case "advance":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			p.t.Fatal(err)
		}
		time.Sleep(d) // of the bubble's clock
	case "submit":
		p.submit(arg, num)
	case "stats":
		st := p.srv.Stats()
		fmt.Fprintf(&p.out, "= connections %d, accepted %d, zero credit %d, work %d, retargets %d, batches %v, blocks %d\n",
			st.Connections, st.Shares["accepted"], st.ZeroCredit, st.Work, st.Retargets, p.hub.batches, p.hub.blocks)
	default:
		p.t.Fatalf("unknown command %q", line)
	}
}

func (p *player) submit(arg map[string]string, num func(string, int, uint64) uint64) {
	r := p.rigs[arg["rig"]]
	if _, again := arg["again"]; again {
		r.twin.send(p.last[arg["rig"]])
		return
	}
	name, id := arg["name"], arg["id"]
	if name == "" {
		name = "alpha.north.r1"
	}
	if id == "" {
		id = "4"
	}
	key, _ := parseWireID([]byte(arg["job"]))
	var is target
	for _, i := range issuedTo(r.sess) {
		if i.key == key {
			is.issue = i
		}
	}
	if is.work == nil {
		p.t.Fatalf("job %s was not issued", arg["job"])
	}
	bits := uint32(num("bits", 16, 0))
	ntime := is.work.Template.CurTime + uint32(num("ntime", 10, 0))
	fits := map[string]wanted{"": aShare, "share": aShare, "weak": weak, "block": aBlock}[arg["want"]]
	if at := num("at", 10, 0); at != 0 { // meets this difficulty, and not the one it was issued with
		is.later = pool.Difficulty(at)
		fits = between
	}
	sub := mine(p.t, r.sess, is, fits, ntime, bits, uint32(num("from", 10, 0)))
	line := submitLine(id, name, arg["job"], sub, bits)
	if _, upper := arg["upper"]; upper {
		head, tail, _ := strings.Cut(line, name)
		line = head + name + strings.ToUpper(tail)
	}
	p.last[arg["rig"]] = line
	r.twin.send(line)
}
