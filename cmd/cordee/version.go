package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"cordee/pool/sha256d"
)

// version is the release; commit may be set by the linker where the build has
// no version control at hand (-ldflags "-X main.commit=...").
var (
	version = "0.1.0"
	commit  = ""
)

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Kernel  string `json:"sha256d_kernel"`
}

func readVersion() versionInfo {
	v := versionInfo{
		Version: version, Commit: commit, Go: runtime.Version(),
		OS: runtime.GOOS, Arch: runtime.GOARCH, Kernel: sha256d.Kernel(),
	}
	if info, ok := debug.ReadBuildInfo(); ok && v.Commit == "" {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				v.Commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				v.Commit += "+changes"
			}
		}
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	return v
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "print the version, the hashing kernel, Go and the commit",
		Flags:  []cli.Flag{jsonFlag},
		Before: noArgs,
		Action: func(c *cli.Context) error {
			v := readVersion()
			return emit(c, v, func(w io.Writer) {
				fmt.Fprintf(w, "cordee %s, commit %s\n%s %s/%s, sha256d kernel %s\n", v.Version, v.Commit, v.Go, v.OS, v.Arch, v.Kernel)
			})
		},
	}
}
