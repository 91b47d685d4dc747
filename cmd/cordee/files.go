package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/pool"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "write a commented cordee.toml, members.toml and the key that signs slots",
		ArgsUsage: "[directory]",
		Flags: []cli.Flag{
			jsonFlag,
			&cli.StringFlag{Name: "network", Value: "regtest", Usage: "main, testnet4, signet or regtest"},
			&cli.StringFlag{Name: "treasury", Usage: "`ADDRESS` of the consortium's treasury (needed, but on regtest)"},
		},
		Action: func(c *cli.Context) error {
			if err := oneArg(c, "init", "directory"); err != nil {
				return err
			}
			dir := "."
			if c.NArg() == 1 {
				dir = c.Args().First()
			}
			if err := config.WriteExample(dir, config.InitOptions{Network: c.String("network"), Treasury: c.String("treasury")}); err != nil {
				if _, unknown := pool.NetworkByName(c.String("network")); unknown != nil || errors.Is(err, config.ErrTreasury) {
					return misuse{err}
				}
				return err
			}
			var written []string
			for _, name := range []string{config.FileName, config.MembersFileName, config.SlotKeyFileName} {
				written = append(written, filepath.Join(dir, name))
			}
			return emit(c, map[string]any{"ok": true, "written": written}, func(w io.Writer) {
				for _, f := range written {
					fmt.Fprintf(w, "wrote %s\n", f)
				}
				fmt.Fprintf(w, "now edit them, then: cordee check-config -c %s\n", filepath.Join(dir, "cordee.toml"))
			})
		},
	}
}

// configReport is what check-config found.
type configReport struct {
	OK      bool   `json:"ok"`
	Network string `json:"network,omitempty"`
	Open    bool   `json:"open,omitempty"`
	Members int    `json:"members,omitempty"`
	Problem string `json:"problem,omitempty"` // every problem found, one a line
}

func checkConfigCommand() *cli.Command {
	return &cli.Command{
		Name:   "check-config",
		Usage:  "read cordee.toml and the files it names as serve would, and say what is wrong with file and line",
		Flags:  []cli.Flag{configFlag, jsonFlag},
		Before: noArgs,
		Action: func(c *cli.Context) error {
			report, err := checkConfig(c.String("config"))
			if err != nil {
				report.Problem = err.Error()
			}
			report.OK = err == nil
			if c.Bool("json") {
				return errors.Join(err, printLast(c, report))
			}
			switch {
			case err != nil:
			case report.Open:
				fmt.Fprintf(c.App.Writer, "ok: network %s, open to every address, so far: %d\n", report.Network, report.Members)
			default:
				fmt.Fprintf(c.App.Writer, "ok: network %s, members: %d\n", report.Network, report.Members)
			}
			return err
		},
	}
}

func checkConfig(path string) (configReport, error) {
	var report configReport
	cfg, err := config.Load(path)
	if err != nil {
		return report, err
	}
	report.Network = cfg.Network.Name
	report.Open = cfg.Open
	members, err := openRegister(cfg)
	if err != nil {
		_, ferr := loadFirmware(cfg)
		return report, errors.Join(err, ferr, cfg.Check())
	}
	report.Members = len(members.Members())
	_, err = loadFirmware(cfg)
	return report, errors.Join(membersRemembered(cfg, members.Members()), err, cfg.Check())
}
