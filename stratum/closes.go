package stratum

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// CloseReason names why a connection ended. Every close has one.
type CloseReason uint8

// The reasons. If you add one, give it a name in closeNames below; the metric,
// the log field and the list of last closes follow from there.
const (
	CloseNone         CloseReason = iota
	CloseHangup                   // the rig closed, or reset
	CloseReadError                // any other read error
	CloseWriteError               // the rig vanished under a write
	CloseBadLine                  // not JSON, or not a request we can even refuse
	CloseLongLine                 // above the limit of the state
	CloseHalfLine                 // an unfinished line became too old
	CloseLate                     // not authorized in time
	CloseDenied                   // too many refused names
	CloseRejects                  // a thousand refused shares in a row
	CloseIdle                     // no line for an hour
	CloseSlowReader               // a full socket that took nothing for 10 s
	CloseOutboxFull               // more waits for the rig than it may
	CloseNoTemplate               // the node gives no work: the rig should fail over
	CloseNotDurable               // shares cannot be stored: the rig should fail over
	CloseDraining                 // the server stops
	CloseServerFull               // MaxConns, or no free extranonce1
	CloseNotPublished             // refused between Withdraw and the next Publish, or no job could be made
	ClosePanic                    // our defect, contained
	CloseBadProxy                 // no PROXY header, where the network must send one
	CloseNotTLS                   // something else than TLS on a port of TLS
	CloseTLSHandshake             // the handshake failed
	CloseTLSTimeout               // the handshake took too long
	CloseStrangers                // refused: too many of this address have no work yet
	CloseAddressFull              // refused: too many of this address
	CloseNetworkFull              // refused: too many of this network
	CloseLoop                     // refused for the moment: connections of this address or network keep ending without work
	closeCount
)

var closeNames = [closeCount]string{
	CloseNone:         "none",
	CloseHangup:       "hangup",
	CloseReadError:    "read_error",
	CloseWriteError:   "write_error",
	CloseBadLine:      "bad_line",
	CloseLongLine:     "long_line",
	CloseHalfLine:     "half_line",
	CloseLate:         "authorize_timeout",
	CloseDenied:       "denied",
	CloseRejects:      "rejects",
	CloseIdle:         "idle",
	CloseSlowReader:   "slow_reader",
	CloseOutboxFull:   "outbox_full",
	CloseNoTemplate:   "no_template",
	CloseNotDurable:   "not_durable",
	CloseDraining:     "draining",
	CloseServerFull:   "server_full",
	CloseNotPublished: "no_work",
	ClosePanic:        "panic",
	CloseBadProxy:     "bad_proxy_header",
	CloseNotTLS:       "not_tls",
	CloseTLSHandshake: "tls_handshake",
	CloseTLSTimeout:   "tls_timeout",
	CloseStrangers:    "too_many_strangers",
	CloseAddressFull:  "address_full",
	CloseNetworkFull:  "network_full",
	CloseLoop:         "reconnect_loop",
}

// String returns the stable name, for metrics, logs and lists.
func (r CloseReason) String() string {
	if r >= closeCount {
		return closeNames[CloseNone]
	}
	return closeNames[r]
}

// CloseInfo is one ended connection.
type CloseInfo struct {
	Time     time.Time
	Reason   CloseReason
	Remote   string
	Name     string // first authorized name, "" without
	Agent    string // sanitised
	Duration time.Duration
	Shares   uint64 // accepted

	// Refused is the last name that it asked for in vain, sanitised.
	Refused string
	// Silent is one that said nothing: refused at the door, a port check. Those of
	// one address and reason are one entry, the newest, and Times counts them.
	Silent bool
	Times  uint64
}

// keepCloses is how many ended connections are remembered.
const keepCloses = 100

// closeRing remembers the last closes. What said nothing takes one place for each
// address and reason: a balancer that looks whether we live, or a flood that is
// refused, leaves room for what an operator looks for.
type closeRing struct {
	mu   sync.Mutex
	ring [keepCloses]CloseInfo
	n    int // ever
}

func (c *closeRing) add(i CloseInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i.Times = 1
	if i.Silent {
		for k := range c.ring {
			e := &c.ring[k]
			if e.Silent && e.Reason == i.Reason && hostOf(e.Remote) == hostOf(i.Remote) {
				i.Times += e.Times
				*e = i
				return
			}
		}
	}
	c.ring[c.n%keepCloses] = i
	c.n++
}

// hostOf is an address without its port.
func hostOf(remote string) string {
	return remote[:max(strings.LastIndexByte(remote, ':'), 0)]
}

// list returns the remembered closes, newest first.
func (c *closeRing) list() []CloseInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]CloseInfo, 0, min(c.n, keepCloses))
	for i := c.n - 1; i >= 0 && i >= c.n-keepCloses; i-- {
		out = append(out, c.ring[i%keepCloses])
	}
	slices.SortStableFunc(out, func(a, b CloseInfo) int { return b.Time.Compare(a.Time) })
	return out
}
