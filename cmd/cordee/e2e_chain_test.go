package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"cordee/internal/sandbox"
)

// TestMinesOnTheNode: simulated rigs find blocks, and the node's own chain has
// them.
func TestMinesOnTheNode(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 200_000})
	_, stop := p.mine(4, 100_000, nil)
	eventually(t, 60*time.Second, "two blocks on the chain", func() error {
		active := 0
		for _, b := range p.blocks() {
			at, err := hashAt(t.Context(), n, b.Height)
			if err != nil {
				return err
			}
			if at == b.Hash {
				active++
			}
		}
		if active < 2 {
			return fmt.Errorf("%d blocks: %w", active, errors.New("too few"))
		}
		return nil
	})
	stop()
	p.stop()
	p.verify()
}
