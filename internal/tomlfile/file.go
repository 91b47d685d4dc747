package tomlfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// MaxSize is the largest file read, in bytes: some ten thousand members.
const MaxSize = 4 << 20

// Position is a place in a file; both count from 1, columns in bytes.
type Position struct{ Line, Column int }

// Problem is one thing that is wrong in a file.
type Problem struct {
	File string // as it was given to Read
	Position
	Path string // the key at fault, such as listener[1].address; "" for the file
	Text string // what is wrong and what to do
}

// String returns file:line:column: path: text.
func (p Problem) String() string {
	if p.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Column, p.Path, p.Text)
}

// Error is all that is wrong in a file, by line.
type Error struct{ Problems []Problem }

// Error returns one line per problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// File is a file that was read: where its keys stand and what was found wrong
// with it so far.
type File struct {
	Name string // as it was given to Read

	positions map[string]Position // by path
	problems  []Problem
	broken    bool // syntax: nothing was decoded
}

// Read reads the TOML file called name into dst, as Parse does. The error is of
// the operating system, or says that the file is larger than MaxSize; what is
// wrong inside the file is in File.Err.
func Read(name string, dst any, hints map[string]string) (*File, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, MaxSize)
	}
	return Parse(name, data, dst, hints), nil
}

// Parse decodes data, which is called name in messages, into the struct that
// dst points to. Keys are the `toml:"..."` tags of its fields; ",required"
// demands that the key stands there. What has no key in the file is left as it
// is in dst, so defaults are set before. Fields are strings, booleans, integers,
// float64, Duration, Size, structs, pointers (nil without a key) and slices.
//
// hints gives the text for keys that people are known to try, by the last part
// of their path, instead of the nearest known key.
//
// Parse does not fail: see Err. After a syntax error dst is untouched.
func Parse(name string, data []byte, dst any, hints map[string]string) *File {
	f := &File{Name: name, positions: map[string]Position{}}
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		f.broken = true
		f.syntax(data, err)
		return f
	}
	f.locate(data)
	newDecoder(f, dst, hints).decode(tree, dst)
	return f
}

// syntax reports err of go-toml.
func (f *File) syntax(data []byte, err error) {
	at := Position{1, 1}
	text := strings.TrimPrefix(err.Error(), "toml: ")
	if de, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := de.Position()
		at = Position{max(line, 1), max(column, 1)}
	}
	if lines := strings.Split(string(data), "\n"); at.Line <= len(lines) {
		text += syntaxHint(lines[at.Line-1])
	}
	f.problems = append(f.problems, Problem{File: f.Name, Position: at, Text: text})
}

// Broken reports that the file is not TOML, so that nothing was decoded and
// rules about values would only report what follows from it.
func (f *File) Broken() bool { return f.broken }

// Has reports whether path stands in the file.
func (f *File) Has(path string) bool {
	_, ok := f.positions[path]
	return ok
}

// Position returns where path stands; for a path that does not, where the
// nearest table around it does, and the first line for want of any.
func (f *File) Position(path string) Position {
	for path != "" {
		if at, ok := f.positions[path]; ok {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return Position{1, 1}
}

// Line returns the line of Position(path).
func (f *File) Line(path string) int { return f.Position(path).Line }

// Errorf records a problem with the key at path. A path that already has one is
// left alone: the first cause is the one to mend.
func (f *File) Errorf(path, format string, args ...any) {
	if f.Failed(path) {
		return
	}
	f.problems = append(f.problems, Problem{
		File: f.Name, Position: f.Position(path), Path: path, Text: fmt.Sprintf(format, args...),
	})
}

// Failed reports whether the key at path already has a problem.
func (f *File) Failed(path string) bool {
	return slices.ContainsFunc(f.problems, func(p Problem) bool { return p.Path == path && path != "" })
}

// Err returns all problems as an *Error, sorted by place, or nil.
func (f *File) Err() error {
	if len(f.problems) == 0 {
		return nil
	}
	sorted := slices.Clone(f.problems)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return &Error{sorted}
}

// Rel returns name as seen from the directory of the file, where secrets and
// other files that it names are looked for. "" stays "".
func (f *File) Rel(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(f.Name), name)
}

// Again returns f without its problems, for a later check of other rules.
func (f *File) Again() *File { return &File{Name: f.Name, positions: f.positions} }
