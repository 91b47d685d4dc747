package firmware

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"cordee/internal/tomlfile"
	"cordee/pool"
	"cordee/stratum"
)

//go:embed default.toml
var defaultRows []byte

// DefaultName is what the table that the program brings along is called where a
// row says where it stands.
const DefaultName = "default.toml"

const (
	maxText       = 128     // bytes of an agent that are looked at
	maxRows       = 1000    // each new connection is compared with all
	maxDifficulty = 1 << 62 // units; keeps rounding up to a power of two within 64 bits
)

type rawFile struct {
	Rows []rawRow `toml:"firmware"`
}

type rawRow struct {
	Prefix          *string  `toml:"prefix"`
	Contains        *string  `toml:"contains"`
	Exact           *string  `toml:"exact"`
	Class           string   `toml:"class,required"`
	MinDifficulty   *float64 `toml:"min_difficulty"`
	StartDifficulty *float64 `toml:"start_difficulty"`
	Notes           string   `toml:"notes"`
}

// hints answer keys that people are known to try.
var hints = map[string]string{
	"agent":        "write prefix, contains or exact",
	"match":        "write prefix, contains or exact",
	"regex":        "write prefix, contains or exact",
	"bytes":        "write class: " + classNames(),
	"max_coinbase": "write class: " + classNames(),
	"difficulty":   "write start_difficulty, or min_difficulty for a floor",
	"sends_ping":   "nothing depends on it: an idle rig is sent work every 30 s",
	"power_of_two": "every difficulty is a power of two, for all rigs",
}

func classNames() string {
	names := make([]string, 0, len(pool.Classes))
	for _, c := range pool.Classes {
		names = append(names, fmt.Sprintf("%s (%d bytes)", c.Name, c.MaxCoinbase))
	}
	return strings.Join(names, ", ")
}

// Default returns the table that the program brings along, for network.
func Default(network *pool.Network) *stratum.Firmware {
	rows, err := parse(DefaultName, defaultRows, network)
	if err != nil {
		panic(err) // it is part of the program, and tested for every network
	}
	return stratum.NewFirmware(rows)
}

// Load returns the table with the rows of the file at path, where path is not
// "", before those that the program brings along. Difficulties are meant for
// network. An error of the file's content is a *tomlfile.Error and lists all
// problems, one per line.
func Load(path string, network *pool.Network) (*stratum.Firmware, error) {
	if path == "" {
		return Default(network), nil
	}
	var raw rawFile
	f, err := tomlfile.Read(path, &raw, hints)
	if err != nil {
		return nil, err
	}
	rows, err := check(f, &raw, network)
	if err != nil {
		return nil, err
	}
	return stratum.NewFirmware(append(rows, Default(network).Rows()...)), nil
}

// parse returns the rows of data, which is called name.
func parse(name string, data []byte, network *pool.Network) ([]stratum.FirmwareRow, error) {
	var raw rawFile
	return check(tomlfile.Parse(name, data, &raw, hints), &raw, network)
}

func check(f *tomlfile.File, raw *rawFile, network *pool.Network) ([]stratum.FirmwareRow, error) {
	if len(raw.Rows) > maxRows {
		f.Errorf("firmware", "has %d rows: at most %d", len(raw.Rows), maxRows)
		return nil, f.Err()
	}
	var rows []stratum.FirmwareRow
	for i := range raw.Rows {
		r := row(f, tomlfile.Index("firmware", i), &raw.Rows[i], network)
		// Where one compares like another the second never counts.
		if j := slices.IndexFunc(rows, func(o stratum.FirmwareRow) bool {
			return o.Match == r.Match && strings.EqualFold(o.Text, r.Text)
		}); j >= 0 && r.Text != "" {
			f.Errorf(tomlfile.Index("firmware", i)+"."+r.Match.String(), "%q stands in line %d already", r.Text,
				f.Line(tomlfile.Index("firmware", j)+"."+r.Match.String()))
		}
		rows = append(rows, r)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return rows, nil
}

func row(f *tomlfile.File, at string, r *rawRow, network *pool.Network) stratum.FirmwareRow {
	out := stratum.FirmwareRow{Notes: r.Notes, Source: fmt.Sprintf("%s:%d", f.Name, f.Line(at))}
	given := 0
	for m, text := range [...]*string{stratum.MatchPrefix: r.Prefix, stratum.MatchContains: r.Contains, stratum.MatchExact: r.Exact} {
		if text == nil {
			continue
		}
		given++
		out.Match, out.Text = stratum.Match(m), *text
		key := at + "." + out.Match.String()
		switch {
		case *text == "":
			f.Errorf(key, "must not be empty: it would be every rig's")
		case len(*text) > maxText:
			f.Errorf(key, "has %d bytes: at most %d of an agent are looked at", len(*text), maxText)
		case strings.TrimSpace(*text) != *text || strings.IndexFunc(*text, func(c rune) bool { return c < 0x20 || c > 0x7e }) >= 0:
			f.Errorf(key, "%q must be printable ASCII without a space at its ends", *text)
		}
	}
	if given != 1 {
		f.Errorf(at, "has %d of prefix, contains and exact: write one", given)
	}
	var ok bool
	if out.Class, ok = pool.ClassByName(r.Class); !ok && r.Class != "" {
		f.Errorf(at+".class", "%q is no class: write one of %s", r.Class, classNames())
	} else if r.Class == "" && f.Has(at+".class") {
		f.Errorf(at+".class", "must not be empty: write one of %s", classNames())
	}
	units := func(key string, v *float64) pool.Difficulty {
		if v == nil {
			return 0
		}
		d, err := pool.DifficultyFromFloat(*v, network.Scale)
		switch {
		case err != nil:
			f.Errorf(at+key, "%v", err)
		case d > maxDifficulty:
			f.Errorf(at+key, "%v is above every rig there is: at most %v", *v, pool.Difficulty(maxDifficulty).Float(network.Scale))
		}
		return max(d, 1)
	}
	out.MinDifficulty = units(".min_difficulty", r.MinDifficulty)
	out.StartDifficulty = units(".start_difficulty", r.StartDifficulty)
	if r.MinDifficulty != nil && r.StartDifficulty != nil && *r.StartDifficulty < *r.MinDifficulty {
		f.Errorf(at+".start_difficulty", "%v is below min_difficulty %v (line %d)", *r.StartDifficulty, *r.MinDifficulty, f.Line(at+".min_difficulty"))
	}
	return out
}

// Classes returns the classes that rigs can be in by table f, the default's
// first.
func Classes(f *stratum.Firmware) []pool.Class {
	out := []pool.Class{pool.DefaultClass}
	for i := range f.Rows() {
		if c := f.Rows()[i].Class; !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}
