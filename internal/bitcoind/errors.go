package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Named states of a node. Every error of this package that comes from a node
// matches one of these, an *RPCError, or one of pool's template errors.
var (
	ErrUnauthorized = errors.New("node's credentials cannot be read, or it refuses them (HTTP 401): check cookie, or user and password_file")
	// ErrNoCookie is what a node that does not run looks like: Core writes the
	// file at its start and removes it at its end.
	ErrNoCookie    = errors.New("node's cookie file is not there: the node does not run, or cookie names another directory")
	ErrForbidden   = errors.New("node refuses this machine or method (HTTP 403): check rpcallowip and rpcwhitelist")
	ErrBusy        = errors.New("node is busy (HTTP 503, work queue depth exceeded): raise rpcworkqueue and rpcthreads")
	ErrWarmup      = errors.New("node is warming up (RPC -28): it answers when its start is done")
	ErrSyncing     = errors.New("node is still downloading the chain (RPC -10): wait until it is in sync")
	ErrNoPeers     = errors.New("node has no peers (RPC -9): connect it to the network")
	ErrUnreachable = errors.New("node does not answer: check url and that it runs")
	ErrTimeout     = errors.New("node did not answer in time")
	ErrTooLarge    = errors.New("node's answer is larger than allowed")
	ErrGarbage     = errors.New("node's answer is not JSON-RPC: check that url is its RPC port")
	ErrHTTP        = errors.New("node answers with an unexpected HTTP status")

	ErrWrongChain      = errors.New("node is on another chain")
	ErrSignetChallenge = errors.New("node's signet has another challenge than configured")
	ErrUnknownBlock    = errors.New("node does not know this block")
	ErrBehind          = errors.New("node's chain has less work than another node's")
	ErrTemplateLate    = errors.New("node gives no template")
	ErrNoNode          = errors.New("no node is usable")
)

// Errors of a template, beside those of pool.NewTemplate.
var (
	ErrTemplate        = errors.New("node's template is refused") // wraps every one of them
	ErrTemplateField   = errors.New("template field is missing or malformed")
	ErrUnknownRule     = errors.New("template demands a rule this program does not know: upgrade it")
	ErrMinDifficulty   = errors.New("template is a min-difficulty one (20-minute rule), which is not served")
	ErrTemplateVersion = errors.New("template demands version bits that rigs may roll")
)

// credentialError is credentials that cannot be read. It matches
// ErrUnauthorized: the node would answer nothing else.
type credentialError struct{ cause error }

// Error says which file, and the two likely reasons.
func (e credentialError) Error() string {
	return fmt.Sprintf("credentials cannot be read: %v (is the node running, and is this its cookie, or the password_file?)", e.cause)
}

// Is makes it ErrUnauthorized.
func (credentialError) Is(target error) bool { return target == ErrUnauthorized }

// Unwrap returns what the file system said.
func (e credentialError) Unwrap() error { return e.cause }

// RPCError is an error object of JSON-RPC, from the node.
type RPCError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Error returns code and text.
func (e *RPCError) Error() string { return fmt.Sprintf("node says %d: %s", e.Code, e.Message) }

// Codes of Bitcoin Core's src/rpc/protocol.h that are acted upon.
const (
	codeWarmup         = -28
	codeSyncing        = -10
	codeNoPeers        = -9
	codeNotFound       = -5
	codeMethodNotFound = -32601
	codeUnimplemented  = -1 // btcd: "Command unimplemented"
)

// Is makes errors.Is name the codes that have a name.
func (e *RPCError) Is(target error) bool {
	switch e.Code {
	case codeWarmup:
		return target == ErrWarmup
	case codeSyncing:
		return target == ErrSyncing
	case codeNoPeers:
		return target == ErrNoPeers
	}
	return false
}

// statusError names an HTTP status that carries no JSON-RPC answer. The body
// is looked at, not repeated: an unknown server may say anything in it.
func statusError(status int, body []byte) error {
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusServiceUnavailable,
		strings.Contains(string(body[:min(len(body), 200)]), "Work queue depth exceeded"):
		return ErrBusy
	}
	return fmt.Errorf("HTTP %d: %w", status, ErrHTTP)
}

// transient reports whether trying again can help: the node, not the call, is
// the trouble.
func transient(err error) bool {
	for _, e := range []error{ErrBusy, ErrWarmup, ErrUnreachable, ErrTimeout, ErrUnauthorized, ErrNoCookie, ErrGarbage, ErrHTTP, ErrTooLarge} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// stateName returns the short stable name of err for Status, logs and metrics.
func stateName(err error) string {
	if err == nil {
		return "ok"
	}
	for _, n := range []struct {
		err  error
		name string
	}{
		{ErrUnauthorized, "unauthorized"},
		{ErrNoCookie, "no-cookie"},
		{ErrForbidden, "forbidden"},
		{ErrBusy, "busy"},
		{ErrWarmup, "warmup"},
		{ErrSyncing, "syncing"},
		{ErrNoPeers, "no-peers"},
		{ErrWrongChain, "wrong-chain"},
		{ErrSignetChallenge, "wrong-challenge"},
		{ErrBehind, "behind"},
		{ErrTemplateLate, "template-late"},
		{ErrUnknownRule, "unknown-rule"},
		{ErrMinDifficulty, "min-difficulty"},
		{ErrTemplate, "bad-template"},
		{ErrTooLarge, "answer-too-large"},
		{ErrGarbage, "garbage"},
		{ErrTimeout, "timeout"},
		{ErrUnreachable, "unreachable"},
		{context.Canceled, "stopping"},
	} {
		if errors.Is(err, n.err) {
			return n.name
		}
	}
	return "error"
}
