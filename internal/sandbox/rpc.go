package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// RPCError is a refusal that the node itself gave.
type RPCError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *RPCError) Error() string { return fmt.Sprintf("%s (code %d)", e.Message, e.Code) }

// controlClient speaks to nodes that come and go: a kept connection would
// belong to a child that may have been killed since. Never through a proxy.
var controlClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// maxAnswer bounds what one answer may hold: two full blocks in hex.
const maxAnswer = 16 << 20

// Call asks the node over JSON-RPC and returns the raw result. It waits as long
// as ctx allows (a longpoll takes its time). The node's own refusal is an
// *RPCError. This client is for driving the sandbox; the pool's is
// internal/bitcoind.
func (n *Node) Call(ctx context.Context, method string, params ...any) (json.RawMessage, error) {
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(struct {
		JSONRPC string `json:"jsonrpc"`
		ID      int    `json:"id"`
		Method  string `json:"method"`
		Params  []any  `json:"params"`
	}{"1.0", 1, method, params})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	user, password, err := n.credentials()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	request.SetBasicAuth(user, password)
	request.Header.Set("Content-Type", "application/json")

	response, err := controlClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	var reply struct {
		Result json.RawMessage `json:"result"`
		Error  *RPCError       `json:"error"`
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return nil, fmt.Errorf("%s: %s: %.200q", method, response.Status, answer)
	}
	if reply.Error != nil {
		return nil, fmt.Errorf("%s: %w", method, reply.Error)
	}
	return reply.Result, nil
}

// credentials reads what the node accepts just now: Core writes a new cookie at
// every start.
func (n *Node) credentials() (user, password string, err error) {
	if n.Cookie == "" {
		b, err := os.ReadFile(n.PasswordFile)
		return n.User, string(b), err
	}
	b, err := os.ReadFile(n.Cookie)
	if err != nil {
		return "", "", err
	}
	user, password, ok := strings.Cut(strings.TrimSpace(string(b)), ":")
	if !ok {
		return "", "", fmt.Errorf("cookie %s holds no user:password", n.Cookie)
	}
	return user, password, nil
}

// ask calls and decodes the result into out.
func (n *Node) ask(ctx context.Context, out any, method string, params ...any) error {
	raw, err := n.Call(ctx, method, params...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s: %w: %.200q", method, err, raw)
	}
	return nil
}
