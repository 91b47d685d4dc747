package main

import (
	"cmp"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/internal/journal"
	"cordee/pool"
)

// parkedReport is what member parked prints: the work of rigs whose member or
// site is unknown, by their full names (decision 38).
type parkedReport struct {
	Directory string       `json:"directory"`
	Names     []parkedName `json:"names"` // most work first
}

type parkedName struct {
	Name   string    `json:"name"`
	Shares uint64    `json:"shares"` // credited
	Units  uint64    `json:"work_units"`
	Work   string    `json:"work"` // as set_difficulty counts
	Last   time.Time `json:"last"`
}

func parkedCommand() *cli.Command {
	return &cli.Command{
		Name:  "parked",
		Usage: "the work that waits for its member (« à rattacher »), by the full names of its rigs; reads the journal",
		Flags: []cli.Flag{configFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			cfg, err := config.Load(c.String("config"))
			if err != nil {
				return err
			}
			if _, err := os.Stat(cfg.Journal.Dir); err != nil {
				return fmt.Errorf("journal: %w (a pool that never ran has none)", err)
			}
			r, err := readParked(cfg.Journal.Dir, cfg.Network.Scale)
			if err != nil {
				return err
			}
			return emit(c, r, r.print)
		},
	}
}

// readParked sums the journal in dir. A sum that would overflow stays at the
// maximum.
func readParked(dir string, scale pool.Scale) (*parkedReport, error) {
	rigs := map[uint32]string{} // of the epoch being read
	sums := map[string]*parkedName{}
	err := journal.Read(dir, func(_ journal.RecordInfo, r journal.Record) error {
		switch r := r.(type) {
		case journal.Epoch:
			clear(rigs)
		case journal.Rig:
			rigs[r.Number] = r.Name
		case journal.Share:
			if r.Member != 0 || r.Difficulty == 0 {
				return nil
			}
			name := rigs[r.Rig]
			sum := sums[name]
			if sum == nil {
				sum = &parkedName{Name: name}
				sums[name] = sum
			}
			sum.Shares++
			total, carry := bits.Add64(sum.Units, uint64(r.Difficulty), 0)
			sum.Units = total | -carry
			sum.Last = time.UnixMilli(max(r.When, sum.Last.UnixMilli()))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &parkedReport{Directory: dir, Names: []parkedName{}}
	for _, sum := range sums {
		sum.Work = pool.Difficulty(sum.Units).Text(scale)
		out.Names = append(out.Names, *sum)
	}
	slices.SortFunc(out.Names, func(a, b parkedName) int {
		return cmp.Or(cmp.Compare(b.Units, a.Units), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

func (r *parkedReport) print(w io.Writer) {
	if len(r.Names) == 0 {
		fmt.Fprintln(w, "no work waits for a member")
		return
	}
	rows := make([]string, 0, len(r.Names))
	for _, n := range r.Names {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%s\t%s", n.Name, n.Shares, n.Work, clock(n.Last)))
	}
	table(w, "rig\tshares\twork (difficulty)\tlast share", rows)
}
