package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/internal/journal"
)

func journalCommand() *cli.Command {
	return &cli.Command{
		Name:   "journal",
		Usage:  "look at the journal's files; no running pool is needed or disturbed",
		Action: subcommands,
		Subcommands: []*cli.Command{{
			Name:      "verify",
			Usage:     "read every record, check every sum, and say what is damaged with file and offset",
			ArgsUsage: "[directory]",
			Flags:     []cli.Flag{configFlag, jsonFlag},
			Action: func(c *cli.Context) error {
				if err := oneArg(c, "journal verify", "directory"); err != nil {
					return err
				}
				dir := c.Args().First()
				if dir == "" {
					cfg, err := config.Load(c.String("config"))
					if err != nil {
						return err
					}
					dir = cfg.Journal.Dir
				}
				if _, err := os.Stat(dir); err != nil {
					return fmt.Errorf("journal: %w (name the directory that holds seg-*.cj files, or the configuration with -c)", err)
				}
				found, err := journal.Verify(dir, nil)
				if err == nil && len(found.Epochs) == 0 {
					return fmt.Errorf("journal: %s holds no journal: name the directory that has seg-*.cj files, or the configuration with -c", dir)
				}
				report := newJournalReport(dir, &found, err)
				return errors.Join(err, emit(c, report, report.print))
			},
		}},
	}
}

// journalReport is what journal verify prints.
type journalReport struct {
	OK        bool           `json:"ok"`
	Directory string         `json:"directory"`
	Shares    int            `json:"shares"`       // credited
	Answers   int            `json:"uncredited"`   // answered true, credited nothing
	Later     bool           `json:"begins_later"` // its oldest files are gone
	Epochs    []journalEpoch `json:"epochs"`
	Damage    []string       `json:"damage,omitempty"`
	TailBytes int64          `json:"tail_bytes"` // unfinished behind the last commit
}

type journalEpoch struct {
	Epoch    uint32         `json:"epoch"`
	Edge     uint16         `json:"edge"`
	Segments int            `json:"segments"`
	Segment  uint32         `json:"first_segment"`
	FirstSeq uint64         `json:"first_seq"`
	LastSeq  uint64         `json:"last_seq"`
	Records  map[string]int `json:"records"` // by type
	End      string         `json:"end"`     // sealed, live, open or damaged
}

func newJournalReport(dir string, r *journal.Report, err error) *journalReport {
	out := &journalReport{
		OK: err == nil, Directory: dir, TailBytes: r.TailBytes, Epochs: []journalEpoch{},
		Shares: r.Count(journal.KindShare), Answers: r.Count(journal.KindAnswer),
	}
	out.Later = len(r.Epochs) > 0 && (r.Epochs[0].Epoch > 1 || r.Epochs[0].FirstSegment > 0)
	for i := range r.Epochs {
		e := &r.Epochs[i]
		v := journalEpoch{
			Epoch: e.Epoch, Edge: e.Edge, Segments: e.Segments, Segment: e.FirstSegment, FirstSeq: e.FirstSeq, LastSeq: e.LastSeq,
			Records: map[string]int{}, End: "open",
		}
		switch {
		case e.Damaged:
			v.End = "damaged"
		case e.Sealed:
			v.End = "sealed"
		case e.Live:
			v.End = "live"
		}
		for k, n := range e.Counts {
			if n > 0 {
				v.Records[journal.Kind(k).String()] = n
			}
		}
		out.Epochs = append(out.Epochs, v)
	}
	for _, d := range r.Damage {
		out.Damage = append(out.Damage, d.Error())
	}
	return out
}

func (r *journalReport) print(w io.Writer) {
	rows := make([]string, 0, len(r.Epochs))
	for _, e := range r.Epochs {
		shares := "none"
		if e.LastSeq >= e.FirstSeq {
			shares = fmt.Sprintf("%d to %d", e.FirstSeq, e.LastSeq)
		}
		rows = append(rows, fmt.Sprintf("%d\t%d\t%d\t%s\t%d\t%d\t%s", e.Epoch, e.Edge, e.Segments, shares,
			e.Records[journal.KindJob.String()], e.Records[journal.KindBlock.String()], e.End))
	}
	table(w, "epoch\tedge\tsegments\tshares\tjobs\tblock events\tend", rows)
	if r.Later {
		fmt.Fprintf(w, "it begins with epoch %d, segment %d: older files are gone, and nothing in them can be verified\n", r.Epochs[0].Epoch, r.Epochs[0].Segment)
	}
	fmt.Fprintf(w, "%d credited shares, %d answered true without credit\n", r.Shares, r.Answers)
	if r.OK {
		fmt.Fprintln(w, "every checksum holds")
	}
}
