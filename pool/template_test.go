package pool_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"cordee/pool"
)

func goodTemplate() *pool.Template {
	_, tx := wireTx(1, true)
	_, other := wireTx(2, false)
	return &pool.Template{
		Height: 101, Version: 0x20000000, PrevHash: randomHash(1), Bits: 0x207fffff, WorkBits: 0x1f7fffff,
		MinTime: 1000, CurTime: 1001, Value: 50e8, Txs: []pool.Tx{tx, other},
	}
}

func TestTemplateRefusals(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(*pool.Template)
		want  error
	}{
		"height 0":              {func(t *pool.Template) { t.Height = 0 }, pool.ErrTemplateHeight},
		"negative height":       {func(t *pool.Template) { t.Height = -1 }, pool.ErrTemplateHeight},
		"negative value":        {func(t *pool.Template) { t.Value = -1 }, pool.ErrTemplateValue},
		"more than all money":   {func(t *pool.Template) { t.Value = 21e14 + 1 }, pool.ErrTemplateValue},
		"no mintime":            {func(t *pool.Template) { t.MinTime = 0 }, pool.ErrTemplateTime},
		"curtime below mintime": {func(t *pool.Template) { t.CurTime = 999 }, pool.ErrTemplateTime},
		"no bits":               {func(t *pool.Template) { t.Bits = 0 }, pool.ErrBadBits},
		"negative bits":         {func(t *pool.Template) { t.Bits = 0x1d80ffff }, pool.ErrBadBits},
		"bad work bits":         {func(t *pool.Template) { t.WorkBits = 0x2300ffff }, pool.ErrBadBits},
		"easier work bits":      {func(t *pool.Template) { t.Bits, t.WorkBits = 0x1f7fffff, 0x207fffff }, pool.ErrTemplateWorkBits},
		"a short transaction":   {func(t *pool.Template) { t.Txs[0].Raw = t.Txs[0].Raw[:59] }, pool.ErrTemplateTx},
		"a weightless one":      {func(t *pool.Template) { t.Txs[0].Weight = 0 }, pool.ErrTemplateTx},
		"a sum that wraps":      {func(t *pool.Template) { t.Txs[0].Weight, t.Txs[1].Weight = math.MaxInt64, math.MaxInt64 }, pool.ErrTemplateTx},
		"too much weight":       {func(t *pool.Template) { t.Txs[0].Weight, t.Txs[1].Weight = 2e6, 2e6 }, pool.ErrTemplateWeight},
	} {
		tpl := goodTemplate()
		c.spoil(tpl)
		if got, err := pool.NewTemplate(tpl, nil); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
}

func TestTemplateDerives(t *testing.T) {
	tpl := goodTemplate()
	tpl.Version, tpl.WorkBits = 0xffffffff, 0
	tpl, err := pool.NewTemplate(tpl, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tpl.Version != 0xe0001fff || tpl.WorkBits != tpl.Bits || len(tpl.Branches) != 2 || len(tpl.Commitment) != 38 {
		t.Errorf("%+v", tpl)
	}
	if _, err := pool.NewTemplate(goodTemplate(), tpl.Commitment); err != nil {
		t.Errorf("its own commitment: %v", err)
	}
	wrong := bytes.Clone(tpl.Commitment)
	wrong[37] ^= 1
	for _, c := range [][]byte{wrong, wrong[:37], {}} {
		if _, err := pool.NewTemplate(goodTemplate(), c); !errors.Is(err, pool.ErrTemplateCommitment) {
			t.Errorf("commitment %x: %v", c, err)
		}
	}
	// A value of nothing and an ntime at the end of time are legal.
	last := goodTemplate()
	last.Value, last.CurTime = 0, math.MaxUint32
	if _, err := pool.NewTemplate(last, nil); err != nil {
		t.Error(err)
	}
}

// The id changes with whatever a block takes from the template, and with
// nothing else.
func TestTemplateID(t *testing.T) {
	base, err := pool.NewTemplate(goodTemplate(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ids := [][32]byte{base.ID()}
	for what, change := range map[string]func(*pool.Template){
		"version":  func(t *pool.Template) { t.Version = 1 },
		"prevhash": func(t *pool.Template) { t.PrevHash[31]++ },
		"bits":     func(t *pool.Template) { t.Bits = 0x207ffffe },
		"workbits": func(t *pool.Template) { t.WorkBits = 0x1f7ffffe },
		"height":   func(t *pool.Template) { t.Height++ },
		"value":    func(t *pool.Template) { t.Value++ },
		"mintime":  func(t *pool.Template) { t.MinTime-- },
		"curtime":  func(t *pool.Template) { t.CurTime++ },
		"txs":      func(t *pool.Template) { t.Txs = t.Txs[:1] },
		"no txs":   func(t *pool.Template) { t.Txs = nil },
		"order":    func(t *pool.Template) { slices.Reverse(t.Txs) },
	} {
		tpl := goodTemplate()
		change(tpl)
		tpl, err := pool.NewTemplate(tpl, nil)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if id := [32]byte(tpl.ID()); slices.Contains(ids, id) {
			t.Errorf("%s does not change the id", what)
		} else {
			ids = append(ids, id)
		}
	}
	same := goodTemplate()
	same.Node, same.LongPoll, same.Empty = "other", "x", true
	if same, err = pool.NewTemplate(same, nil); err != nil || same.ID() != base.ID() {
		t.Errorf("the id changes with what no block takes: %v", err)
	}
}
