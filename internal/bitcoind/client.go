package bitcoind

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// lane is the connections of one purpose to one node. Lanes share nothing, so
// that a longpoll or a call that hangs never stands before submitblock.
type lane struct {
	url   string
	creds *credentials
	http  *http.Client
	max   int64 // largest answer, bytes
}

// newLane returns a lane of at most conns connections. The lanes of a node
// stay below 10 together: btcd serves no more.
func newLane(n *NodeConfig, conns int, maxAnswer int64) *lane {
	return &lane{
		url:   n.URL,
		creds: &credentials{cookie: n.Cookie, user: n.User, passwordFile: n.PasswordFile},
		max:   maxAnswer,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
				MaxConnsPerHost:       conns,
				MaxIdleConnsPerHost:   conns,
				IdleConnTimeout:       25 * time.Second, // bitcoind closes after 30 (-rpcservertimeout)
				DisableCompression:    true,
				ResponseHeaderTimeout: 0, // a longpoll answers when it answers; contexts bound the rest
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// close drops idle connections.
func (l *lane) close() { l.http.CloseIdleConnections() }

// request is a call in wire form, encoded once however often it is sent.
type request []byte

// newRequest encodes a call. It panics on parameters that are not JSON, which
// is a mistake of the caller.
func newRequest(method string, params ...any) request {
	if params == nil {
		params = []any{}
	}
	b, err := json.Marshal(struct {
		Version string `json:"jsonrpc"`
		ID      int    `json:"id"`
		Method  string `json:"method"`
		Params  []any  `json:"params"`
	}{"1.0", 1, method, params})
	if err != nil {
		panic("internal error: " + method + ": " + err.Error())
	}
	return b
}

// call sends req and decodes the result into out (nil: ignored). It tries once,
// or twice where the node closed an idle connection as we wrote.
func (l *lane) call(ctx context.Context, req request, out any) error {
	user, password, err := l.creds.read()
	if err != nil {
		return err
	}
	// A bytes.Reader gives the request its GetBody, and the empty header marks
	// it as safe to repeat (it is not sent): so the transport itself retries
	// on a connection the node closed while idle.
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(req))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	hr.Header["Idempotency-Key"] = []string{}
	hr.Header.Set("Content-Type", "application/json")
	hr.SetBasicAuth(user, password)
	resp, err := l.http.Do(hr)
	if err != nil {
		return netError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.ContentLength > l.max {
		return fmt.Errorf("%d bytes, limit %d: %w", resp.ContentLength, l.max, ErrTooLarge)
	}
	var body bytes.Buffer
	if resp.ContentLength > 0 {
		body.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(io.LimitReader(resp.Body, l.max+1)); err != nil {
		return netError(ctx, err)
	}
	if int64(body.Len()) > l.max {
		return fmt.Errorf("limit %d bytes: %w", l.max, ErrTooLarge)
	}
	return decodeAnswer(resp.StatusCode, body.Bytes(), out)
}

// decodeAnswer decodes a JSON-RPC answer. Core sends errors with status 500 or
// 404 and a JSON body, btcd with status 200.
func decodeAnswer(status int, body []byte, out any) error {
	var answer struct {
		Result any       `json:"result"`
		Error  *RPCError `json:"error"`
	}
	var raw struct { // a RawMessage behind an interface would not see a null
		Result json.RawMessage `json:"result"`
		Error  *RPCError       `json:"error"`
	}
	var into any = &answer
	message, isRaw := out.(*json.RawMessage)
	if out == nil || isRaw {
		into = &raw
	} else {
		answer.Result = out
	}
	if !bytes.HasPrefix(bytes.TrimLeft(body[:min(len(body), 64)], " \r\n\t"), []byte("{")) {
		if status != http.StatusOK {
			return statusError(status, body)
		}
		return fmt.Errorf("HTTP %d with %d bytes: %w", status, len(body), ErrGarbage)
	}
	if err := json.Unmarshal(body, into); err != nil {
		if status != http.StatusOK {
			return statusError(status, body)
		}
		if errors.Is(err, ErrTemplateField) {
			return fmt.Errorf("%w: %w", ErrTemplate, err)
		}
		return fmt.Errorf("%w: %w", ErrGarbage, err)
	}
	if e := cmp.Or(answer.Error, raw.Error); e != nil {
		return e
	}
	if status != http.StatusOK {
		return statusError(status, body)
	}
	if isRaw {
		*message = raw.Result
	}
	return nil
}

// netError names a failure of the connection. The text of a URL error holds
// the URL, which holds no credentials (NodeConfig.validate).
func netError(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Canceled
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// credentials are read from their files on every call: bitcoind writes a new
// cookie at each start.
type credentials struct {
	cookie, user, passwordFile string
}

// read returns user and password. Errors name the file, never its content.
func (c *credentials) read() (user, password string, err error) {
	file := c.cookie
	if file == "" {
		file = c.passwordFile
	}
	f, err := os.Open(file)
	if c.cookie != "" && errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("%w: %w", ErrNoCookie, err)
	}
	if err != nil {
		return "", "", credentialError{err}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", "", credentialError{err}
	}
	secret := strings.TrimRight(string(b), "\r\n")
	if c.cookie == "" {
		return c.user, secret, nil
	}
	user, password, ok := strings.Cut(secret, ":")
	if !ok {
		return "", "", fmt.Errorf("cookie file %s is not user:password: %w", file, ErrUnauthorized)
	}
	return user, password, nil
}
