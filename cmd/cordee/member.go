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
	Unknown string       `json:"unknown,omitempty"` // refuse or park; none in an open pool
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
	read := func(c *cli.Context) (*config.Config, memberRegister, error) {
		if err := noArgs(c); err != nil {
			return nil, nil, err
		}
		cfg, err := config.Load(c.String("config"))
		if err != nil {
			return nil, nil, err
		}
		r, err := openRegister(cfg)
		return cfg, r, err
	}
	return &cli.Command{
		Name:  "member",
		Usage: "look at the members as the pool reads them from their file; a running pool takes a new members.toml on SIGHUP",
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
					cfg, r, err := read(c)
					if err != nil {
						return err
					}
					l := newMemberList(cfg, r)
					return emit(c, l, l.print)
				},
			},
			{
				Name: "check", Usage: "say what is wrong with the file, with line; or that nothing is", Flags: flags,
				Action: func(c *cli.Context) error {
					cfg, r, err := read(c)
					if err == nil {
						err = membersRemembered(cfg, r.Members())
					}
					if err != nil {
						return err
					}
					l := newMemberList(cfg, r)
					if len(l.Members) == 0 && l.Unknown != "" {
						return fmt.Errorf("%s: no [[member]]: nobody can mine", l.File)
					}
					return emit(c, l, func(w io.Writer) {
						if l.Unknown == "" {
							fmt.Fprintf(w, "ok: %s, %d addresses\n", l.File, len(l.Members))
							return
						}
						fmt.Fprintf(w, "ok: %s, %d members, unknown rigs: %s\n", l.File, len(l.Members), l.Unknown)
					})
				},
			},
			parkedCommand(),
			rebuildAddressesCommand(),
		},
	}
}

func newMemberList(cfg *config.Config, r memberRegister) *memberList {
	l := &memberList{File: cfg.AddressesPath, Members: []memberLine{}}
	if r, ok := r.(*register.Register); ok {
		l.File, l.Unknown = r.File().Path, "refuse"
		if r.File().Park {
			l.Unknown = "park"
		}
	}
	for _, m := range r.Members() {
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
	if l.Unknown == "" {
		for _, m := range l.Members {
			rows = append(rows, fmt.Sprintf("%d\t%s", m.Index, m.ID))
		}
		table(w, "index\taddress", rows)
		return
	}
	for _, m := range l.Members {
		rows = append(rows, fmt.Sprintf("%d\t%s\t%s\t%s\t%s", m.Index, m.ID, m.Name,
			strings.Join(m.Sites, " "), strings.Join(m.Destinations, ", ")))
	}
	table(w, "index\tmember\tname\tsites\tpaid to (basis points)", rows)
}
