package stratum

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cordee/pool"
)

// eventually asks for up to a minute whether is holds.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("never came true: " + what)
		}
	}
}

// stacks returns the stacks of the goroutines that have all of the functions named.
func stacks(in ...string) (found []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
next:
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		for _, f := range in {
			if !strings.Contains(g, f) {
				continue next
			}
		}
		found = append(found, g)
	}
	return found
}

// steered is a hub of which a test does some steps itself.
type steered struct {
	*hub
	post      func(b *pool.Batch, r Ruled) bool
	submit    func(b *pool.Batch)
	authorize func(user string)
	took      atomic.Int64 // batches that the hub is to tell of
}

func (p *steered) Post(b *pool.Batch, r Ruled) bool {
	if p.post != nil {
		return p.post(b, r)
	}
	later := p.hub.Post(b, r)
	if later {
		p.took.Add(1)
	}
	return later
}

func (p *steered) Submit(b *pool.Batch) {
	if p.submit != nil {
		p.submit(b)
	}
	p.hub.Submit(b)
}

func (p *steered) Authorize(user string) (pool.Worker, string, bool) {
	if p.authorize != nil {
		p.authorize(user)
	}
	return p.hub.Authorize(user)
}

// atOnce is a Post that has each verdict at once.
func atOnce(h *hub) func(*pool.Batch, Ruled) bool {
	return func(b *pool.Batch, _ Ruled) bool {
		h.judge(b)
		return false
	}
}

// never is a Post that knows no verdict: each batch needs Submit.
func never(*pool.Batch, Ruled) bool { return false }

// of says whose batch b is.
func of(b *pool.Batch) string { return b.Claims[0].Worker.Name }

// ground is a server on loopback, of which each share is a block: difficulty 8 is
// all there is.
type ground struct {
	t    *testing.T
	srv  *Server
	pool *steered
	addr string
}

func newGround(t *testing.T, edit func(*Config)) *ground {
	t.Helper()
	p := &steered{}
	srv, h := testServer(t, func(c *Config) {
		p.hub = c.Pool.(*hub)
		c.Pool = p
		c.StartDifficulty, c.MinDifficulty = 8, 8
		c.Limits.DrainGrace = time.Millisecond
		if edit != nil {
			edit(c)
		}
	})
	p.hub = h
	srv.Publish(jobSet(testJob(t, 1, 1, 8)))
	return &ground{t, srv, p, listen(t, srv)}
}

// seated counts the sockets of the watch.
func (g *ground) seated() int {
	w := g.srv.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seats) - len(w.free)
}

// empty waits until nothing is left of any connection.
func (g *ground) empty() {
	g.t.Helper()
	eventually(g.t, "no connection is left, and each is told of", func() bool {
		st := g.srv.Stats()
		return st.Connections == 0 && g.seated() == 0 && uint64(len(g.srv.Closes())) == min(st.Opened, keepCloses)
	})
}

// sleeper is a rig that has work.
type sleeper struct {
	*rig
	name  string
	s     *session
	k     *socket // where it rests
	is    issue
	nonce uint32
}

// works dials a rig and signs it in.
func (g *ground) works(name string) *sleeper {
	g.t.Helper()
	_ = g.srv.snapshot(nil) // its lock orders what the test set before what serves the rig
	r := &sleeper{rig: dial(g.t, g.addr), name: "alpha.north." + name}
	r.signIn(g)
	return r
}

// signIn waits for work.
func (r *sleeper) signIn(g *ground) {
	g.t.Helper()
	r.say(saySubscribe + fmt.Sprintf(`{"id":3,"method":"mining.authorize","params":[%q,"x"]}`+"\n", r.name))
	r.until(`"method":"mining.notify"`)
	for _, s := range g.srv.snapshot(nil) {
		if s.conn.Remote() == r.LocalAddr().String() {
			r.s = s
		}
	}
	if r.s == nil {
		g.t.Fatal("no session for", r.name)
	}
	r.is = issuedTo(r.s)[0]
}

// rests is works of a rig that rests, and is not read.
func (g *ground) rests(name string) *sleeper {
	g.t.Helper()
	r := g.works(name)
	w := g.srv.watch
	eventually(g.t, name+" rests", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, k := range w.seats {
			if k != nil && k.rig == resting(r.s) {
				r.k = k
				return true
			}
		}
		return false
	})
	_ = issuedTo(r.s) // its lock is rest's until the other descriptor is closed
	r.unread()
	return r
}

// unread waits until nobody has the turn.
func (r *sleeper) unread() {
	r.t.Helper()
	eventually(r.t, "nobody has the turn of "+r.name, func() bool { return r.k.turn.Load() == turnFree })
}

// posted waits until so many batches were left with the hub.
func (p *steered) posted(t *testing.T, n int64) {
	t.Helper()
	eventually(t, "a share is posted", func() bool { return p.took.Load() == n })
}

// share is a line that is answered true, or as too easy.
func (r *sleeper) share(id int, fits wanted) string {
	r.t.Helper()
	sub := mine(r.t, r.s, target{issue: r.is}, fits, r.is.work.Template.CurTime, 0, r.nonce)
	r.nonce = sub.Nonce + 1
	return submitLine(strconv.Itoa(id), r.name, keyID(r.is.key), sub, 0)
}

// hears wants the answers in this order, and nothing else.
func (r *sleeper) hears(want ...string) {
	r.t.Helper()
	for i, w := range want {
		got, err := r.r.ReadString('\n')
		if err != nil || !strings.HasPrefix(got, w) {
			r.t.Fatalf("answer %d of %d: %q %v, want %q", i+1, len(want), got, err, w)
		}
	}
}

func yes(id int) string { return fmt.Sprintf(`{"id":%d,"result":true,`, id) }
func no(id int) string  { return fmt.Sprintf(`{"id":%d,"result":null,"error":[23,`, id) }

func ping(id int) string   { return fmt.Sprintf(`{"id":%d,"method":"mining.ping"}`+"\n", id) }
func pong(id int) string   { return fmt.Sprintf(`{"id":%d,"result":"pong"`, id) }
func (r *sleeper) asks()   { r.t.Helper(); r.say(r.share(90, aBlock)); r.hears(yes(90)) }
func (r *sleeper) hangUp() { r.t.Helper(); noError(r.t, r.Close()) }

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// blocked is a Post of the hub that holds up who reads, for rig of that name, until
// goOn is closed: what comes meanwhile is one event.
func (g *ground) blocked(rig string, then func(*pool.Batch, Ruled) bool) (reached, goOn chan struct{}) {
	reached, goOn = make(chan struct{}), make(chan struct{})
	g.pool.post = func(b *pool.Batch, r Ruled) bool {
		if of(b) == "alpha.north."+rig {
			close(reached)
			<-goOn
		}
		return then(b, r)
	}
	return reached, goOn
}

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	d, err := os.Open("/proc/self/fd")
	noError(t, err)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	noError(t, err)
	return len(names)
}
