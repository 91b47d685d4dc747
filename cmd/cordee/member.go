package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/internal/register"
)

// memberList is what member list and member check print.
type memberList struct {
	File    string       `json:"file"`
	Unknown string       `json:"unknown"` // refuse or park
	Members []memberLine `json:"members"`
}

type memberLine struct {
	ID           string   `json:"id"`
	Index        uint16   `json:"index"`
	Name         string   `json:"name"`
	Sites        []string `json:"sites"`
	Destinations []string `json:"destinations"` // address and basis points
}

func memberCommand() *cli.Command {
	flags := []cli.Flag{configFlag, jsonFlag}
	read := func(c *cli.Context) (*config.Config, *register.File, error) {
		if err := noArgs(c); err != nil {
			return nil, nil, err
		}
		cfg, err := config.Load(c.String("config"))
		if err != nil {
			return nil, nil, err
		}
		f, err := register.Load(cfg.MembersPath, cfg.Network)
		return cfg, f, membersAdvice(cfg, err)
	}
	return &cli.Command{
		Name:  "member",
		Usage: "look at the members' file as the pool reads it; a running pool takes a new one on SIGHUP",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return noCommand(c.Command.Subcommands, c.Args().First(), "cordee member --help")
			}
			return cli.ShowSubcommandHelp(c)
		},
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "every member with index, sites and destinations", Flags: flags,
				Action: func(c *cli.Context) error {
					_, f, err := read(c)
					if err != nil {
						return err
					}
					l := newMemberList(f)
					return emit(c, l, l.print)
				},
			},
			{
				Name: "check", Usage: "say what is wrong with the file, with line; or that nothing is", Flags: flags,
				Action: func(c *cli.Context) error {
					cfg, f, err := read(c)
					if err == nil {
						err = membersRemembered(cfg, f)
					}
					if err != nil {
						return err
					}
					l := newMemberList(f)
					if len(l.Members) == 0 {
						return fmt.Errorf("%s: no [[member]]: nobody can mine", l.File)
					}
					return emit(c, l, func(w io.Writer) {
						fmt.Fprintf(w, "ok: %s, %d members, unknown rigs: %s\n", l.File, len(l.Members), l.Unknown)
					})
				},
			},
			parkedCommand(),
		},
	}
}

func newMemberList(f *register.File) *memberList {
	l := &memberList{File: f.Path, Unknown: "refuse", Members: []memberLine{}}
	if f.Park {
		l.Unknown = "park"
	}
	for _, m := range f.Members {
		line := memberLine{ID: m.ID, Index: m.Index, Name: m.Name, Sites: []string{}, Destinations: []string{}}
		for _, s := range m.Sites {
			line.Sites = append(line.Sites, s.ID)
		}
		for _, d := range m.Destinations {
			line.Destinations = append(line.Destinations, fmt.Sprintf("%s %d", d.Address, d.BP))
		}
		l.Members = append(l.Members, line)
	}
	return l
}

func (l *memberList) print(w io.Writer) {
	rows := make([]string, 0, len(l.Members))
	for _, m := range l.Members {
		rows = append(rows, fmt.Sprintf("%d\t%s\t%s\t%s\t%s", m.Index, m.ID, m.Name,
			strings.Join(m.Sites, " "), strings.Join(m.Destinations, ", ")))
	}
	table(w, "index\tmember\tname\tsites\tpaid to (basis points)", rows)
}
