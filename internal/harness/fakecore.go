package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/sandbox"
	"cordee/pool"
)

// FakeCore plays a full node over real HTTP on loopback (and ZMQ where asked):
// it gives the answers that a real one will not give on demand. It keeps a small
// tree of blocks, offers templates on its tip, and takes blocks whose header
// meets the target; nothing else of a block is checked.
//
// Every fault is scripted with Fail, every call counted. Methods may be called
// from any goroutine.
type FakeCore struct {
	tb      testing.TB
	cfg     FakeCoreConfig
	dir     string
	address string
	zmq     *zmqPublisher

	mu       sync.Mutex
	moved    *sync.Cond // on mu: moves rose
	moves    int        // calls come in, calls done, changes of tip
	server   *http.Server
	password string
	faults   map[string][]*Fault
	calls    map[string]int
	blocks   map[chainhash.Hash]*fakeBlock
	tip      *fakeBlock
	mutate   func(template map[string]any)
	peers    int
	precious []string
	polling  int // longpolls pending
}

// FakeCoreConfig says what the fake is.
type FakeCoreConfig struct {
	Network   *pool.Network // default regtest
	Height    int32         // of the tip at start
	ZMQ       bool          // publish hashblock
	Btcd      bool          // answer as btcd does where it differs
	Challenge []byte        // signet_challenge
	Chain     string        // what getblockchaininfo says, default Network.Chain
	Genesis   string        // what getblockhash 0 says, default Network's
	IBD       bool          // initialblockdownload
}

// Fault is an answer out of the ordinary. The zero Times means until Clear.
type Fault struct {
	Times   int
	Delay   time.Duration   // before the answer
	Until   <-chan struct{} // the answer waits for its closing
	Drop    bool            // close the connection without answer
	Status  int             // HTTP status, with Body
	Body    string
	Code    int // RPC error code, with Message
	Message string
	Result  json.RawMessage // instead of the fake's own
	Huge    int64           // answer of so many bytes
}

// StartFakeCore starts a fake node that ends with the test.
func StartFakeCore(tb testing.TB, cfg FakeCoreConfig) *FakeCore {
	tb.Helper()
	if cfg.Network == nil {
		n, err := pool.NetworkByName("regtest")
		if err != nil {
			tb.Fatal(err)
		}
		cfg.Network = n
	}
	if cfg.Chain == "" {
		cfg.Chain = cfg.Network.Chain
	}
	if cfg.Genesis == "" {
		cfg.Genesis = cfg.Network.Params.GenesisHash.String()
	}
	f := &FakeCore{
		tb:     tb,
		cfg:    cfg,
		dir:    tb.TempDir(),
		faults: make(map[string][]*Fault),
		calls:  make(map[string]int),
		blocks: make(map[chainhash.Hash]*fakeBlock),
		peers:  8,
	}
	f.moved = sync.NewCond(&f.mu)
	f.plant(cfg.Height)
	f.Rotate()
	if cfg.ZMQ {
		f.zmq = startZMQ(tb)
	}
	f.Up()
	tb.Cleanup(f.Down)
	return f
}

// URL returns the address of the RPC server.
func (f *FakeCore) URL() string { return "http://" + f.address }

// Cookie returns the path of the cookie file.
func (f *FakeCore) Cookie() string { return filepath.Join(f.dir, ".cookie") }

// ZMQ returns the address of the publisher.
func (f *FakeCore) ZMQ() string { return "tcp://" + f.zmq.address }

// Rotate writes a new cookie, as a restart of bitcoind does. The old one is
// refused from now on.
func (f *FakeCore) Rotate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.password = fmt.Sprintf("secret-%d", time.Now().UnixNano())
	if err := os.WriteFile(f.Cookie(), []byte("__cookie__:"+f.password), 0o600); err != nil {
		f.tb.Error(err)
	}
}

// Password returns the secret in the cookie.
func (f *FakeCore) Password() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.password
}

// Up starts the RPC server, on the address it had before.
func (f *FakeCore) Up() {
	address := f.address
	if address == "" { // not of port 0: no outgoing connection may be given it while the server is down
		var err error
		if address, err = sandbox.FreeAddress(); err != nil {
			f.tb.Error(err)
			return
		}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		f.tb.Error(err)
		return
	}
	server := &http.Server{Handler: http.HandlerFunc(f.serve), ReadHeaderTimeout: time.Minute}
	f.mu.Lock()
	f.address, f.server = l.Addr().String(), server
	f.mu.Unlock()
	go server.Serve(l)
}

// Down kills the RPC server: its port is closed, its connections are reset.
func (f *FakeCore) Down() {
	f.mu.Lock()
	server := f.server
	f.server = nil
	f.move()
	f.mu.Unlock()
	if server != nil {
		server.Close()
	}
}

// Fail makes calls of method answer with ft, after the faults already scripted
// for it.
func (f *FakeCore) Fail(method string, ft Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[method] = append(f.faults[method], &ft)
}

// Clear takes back the faults of method, of all methods for "".
func (f *FakeCore) Clear(method string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if method == "" {
		clear(f.faults)
		return
	}
	delete(f.faults, method)
}

// Mutate changes every template before it is sent; nil ends that.
func (f *FakeCore) Mutate(change func(template map[string]any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mutate = change
}

// SetPeers sets what getconnectioncount says.
func (f *FakeCore) SetPeers(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.peers = n
}

// Calls returns how often method was called. "longpoll" counts the templates
// asked for with a longpollid, which "getblocktemplate" counts too; "proposal"
// those of that mode.
func (f *FakeCore) Calls(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

// Polling returns how many longpolls are pending.
func (f *FakeCore) Polling() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.polling
}

// Precious returns the hashes that preciousblock was called with.
func (f *FakeCore) Precious() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.precious...)
}

// Wait waits until met, which is tried at every call that comes in or ends and
// every change of tip. It reports false when ctx ends first.
func (f *FakeCore) Wait(ctx context.Context, met func() bool) bool {
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.move()
	})
	defer stop()
	for {
		f.mu.Lock()
		moves := f.moves
		f.mu.Unlock()
		if met() {
			return true
		}
		f.mu.Lock()
		for f.moves == moves && ctx.Err() == nil {
			f.moved.Wait()
		}
		f.mu.Unlock()
		if ctx.Err() != nil {
			return met()
		}
	}
}

// move wakes all who wait. The caller holds mu.
func (f *FakeCore) move() {
	f.moves++
	f.moved.Broadcast()
}

// rpcRequest is a call as it comes in.
type rpcRequest struct {
	ID     json.RawMessage   `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// rpcError is an error object.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (f *FakeCore) serve(w http.ResponseWriter, r *http.Request) {
	_, password, _ := r.BasicAuth()
	if password != f.Password() {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var req rpcRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, 32<<20)).Decode(&req); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	ft := f.enter(&req)
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.move()
	}()
	if ft != nil && f.fail(w, r, &req, ft) {
		return
	}
	result, rpc := f.answer(r.Context(), &req)
	f.reply(w, &req, result, rpc)
}

// enter counts a call and takes its fault.
func (f *FakeCore) enter(req *rpcRequest) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[req.Method]++
	method := req.Method
	if kind := templateKind(req); kind != "" {
		f.calls[kind]++
		if len(f.faults[kind]) > 0 {
			method = kind
		}
	}
	f.move()
	queue := f.faults[method]
	if len(queue) == 0 {
		return nil
	}
	ft := queue[0]
	if ft.Times > 0 {
		if ft.Times--; ft.Times == 0 {
			f.faults[method] = queue[1:]
		}
	}
	copied := *ft
	return &copied
}

// fail acts out ft and reports whether that was an answer.
func (f *FakeCore) fail(w http.ResponseWriter, r *http.Request, req *rpcRequest, ft *Fault) bool {
	if ft.Delay > 0 {
		select {
		case <-time.After(ft.Delay):
		case <-r.Context().Done():
		}
	}
	if ft.Until != nil {
		select {
		case <-ft.Until:
		case <-r.Context().Done():
		}
	}
	switch {
	case ft.Drop:
		panic(http.ErrAbortHandler)
	case ft.Status != 0:
		w.WriteHeader(ft.Status)
		io.WriteString(w, ft.Body)
	case ft.Code != 0:
		f.reply(w, req, nil, &rpcError{ft.Code, ft.Message})
	case ft.Result != nil:
		f.reply(w, req, ft.Result, nil)
	case ft.Huge > 0:
		io.WriteString(w, `{"result":"`)
		chunk := strings.Repeat("0", 1<<16)
		for n := int64(0); n < ft.Huge; n += int64(len(chunk)) {
			if _, err := io.WriteString(w, chunk); err != nil {
				return true
			}
		}
		io.WriteString(w, `","error":null,"id":1}`)
	case ft.Body != "":
		io.WriteString(w, ft.Body)
	default:
		return false // only a delay
	}
	return true
}

// reply writes an answer as Core does (an error has status 500, or 404 for an
// unknown method), or as btcd does (always 200).
func (f *FakeCore) reply(w http.ResponseWriter, req *rpcRequest, result any, rpc *rpcError) {
	w.Header().Set("Content-Type", "application/json")
	if rpc != nil && !f.cfg.Btcd {
		status := http.StatusInternalServerError
		if rpc.Code == -32601 {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
	}
	json.NewEncoder(w).Encode(map[string]any{"result": result, "error": rpc, "id": req.ID})
}
