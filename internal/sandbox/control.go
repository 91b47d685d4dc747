package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Generate mines blocks on the node's tip and returns their hashes, oldest
// first. Core pays address, or MiningAddress when that is empty; btcd pays
// MiningAddress and nothing else.
func (n *Node) Generate(ctx context.Context, blocks int, address string) ([]string, error) {
	var hashes []string
	own := n.options.MiningAddress
	switch {
	case n.Kind == Core && address == "" && own == "",
		n.Kind == Btcd && own == "":
		return nil, errors.New("generate: no address to pay: set NodeOptions.MiningAddress")
	case n.Kind == Btcd && address != "" && address != own:
		return nil, fmt.Errorf("generate: btcd pays only the address it was started with, %s, not %s", own, address)
	case n.Kind == Btcd:
		err := n.ask(ctx, &hashes, "generate", blocks)
		return hashes, err
	case address == "":
		address = own
	}
	err := n.ask(ctx, &hashes, "generatetoaddress", blocks, address)
	return hashes, err
}

// Tip returns hash and height of the node's best block.
func (n *Node) Tip(ctx context.Context) (hash string, height int, err error) {
	if err = n.ask(ctx, &hash, "getbestblockhash"); err != nil {
		return "", 0, err
	}
	var header struct{ Height int }
	if err = n.ask(ctx, &header, "getblockheader", hash); err != nil {
		return "", 0, err
	}
	return hash, header.Height, nil
}

// WaitTip waits until the node's best block is hash.
func (n *Node) WaitTip(ctx context.Context, hash string) error {
	return poll(ctx, func() error {
		var tip string
		if err := n.ask(ctx, &tip, "getbestblockhash"); err != nil {
			return err
		}
		if tip != hash {
			return fmt.Errorf("%s has tip %s, not %s", n.URL, tip, hash)
		}
		return nil
	})
}

// ConnectTo dials other once and returns when the two are peers. The
// connection is not made again after either of them restarts; peers for life
// are NodeOptions.Connect.
func (n *Node) ConnectTo(ctx context.Context, other *Node) error {
	if _, err := n.Call(ctx, "addnode", other.P2P, "onetry"); err != nil {
		return fmt.Errorf("connect to %s: %w", other.P2P, err)
	}
	return poll(ctx, func() error {
		var peers []struct {
			Addr    string
			Version int // 0 until the handshake is done
		}
		if err := n.ask(ctx, &peers, "getpeerinfo"); err != nil {
			return err
		}
		for _, p := range peers {
			if p.Addr == other.P2P && p.Version != 0 {
				return nil
			}
		}
		return fmt.Errorf("%s is not connected to %s", n.P2P, other.P2P)
	})
}

// Flush makes Core write its chain to disk, so that a Kill loses nothing of it:
// Core keeps its block index in memory for up to an hour. The btcd of BuildBtcd
// writes every block before it answers.
func (n *Node) Flush(ctx context.Context) error {
	if n.Kind == Btcd {
		return nil
	}
	// gettxoutsetinfo flushes before it counts, and a private chain is small.
	_, err := n.Call(ctx, "gettxoutsetinfo", "none")
	return err
}

// poll calls f until it returns nil or ctx is done; the error then is f's last.
func poll(ctx context.Context, f func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err // not the complaint of a call that ctx cut short
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), last)
		case <-tick.C:
		}
	}
}
