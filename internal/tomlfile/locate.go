package tomlfile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxDepth bounds how deep keys are located. No file of ours goes deeper than
// four, and a key of a million dots must not cost a million paths.
const maxDepth = 8

// locator walks a document that is known to be valid and notes where each path
// stands.
type locator struct {
	file   *File
	parser unstable.Parser
	tables map[string]int // elements seen of each array of tables
	lines  []int          // offset at which each line starts
}

func (f *File) locate(data []byte) {
	l := &locator{file: f, tables: map[string]int{}, lines: []int{0}}
	for i, c := range data {
		if c == '\n' {
			l.lines = append(l.lines, i+1)
		}
	}
	l.parser.Reset(data)
	table := ""
	for l.parser.NextExpression() {
		e := l.parser.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = l.header(e)
		case unstable.KeyValue:
			l.keyValue(table, e, strings.Count(table, "."))
		default: // comments have no path
		}
	}
}

// header notes [a.b] or [[a.b]] and returns the path of what follows it, with
// the elements of arrays of tables numbered.
func (l *locator) header(e *unstable.Node) string {
	path := ""
	for depth, it := 0, e.Key(); it.Next() && depth < maxDepth; depth++ {
		path = Join(path, string(it.Node().Data))
		at := l.place(it.Node().Raw)
		l.note(path, at)
		switch n, isArray := l.tables[path]; {
		case it.IsLast() && e.Kind == unstable.ArrayTable:
			l.tables[path] = n + 1
			path = Index(path, n)
			l.note(path, at)
		case isArray:
			path = Index(path, n-1)
		}
	}
	return path
}

func (l *locator) keyValue(table string, e *unstable.Node, depth int) {
	path := table
	var at Position
	for it := e.Key(); it.Next(); depth++ {
		if depth >= maxDepth {
			return
		}
		path = Join(path, string(it.Node().Data))
		at = l.place(it.Node().Raw)
		l.note(path, at)
	}
	l.value(path, e.Value(), at, depth)
}

func (l *locator) value(path string, v *unstable.Node, at Position, depth int) {
	if depth >= maxDepth {
		return
	}
	switch v.Kind {
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); i++ {
			n := it.Node()
			if n.Kind == unstable.Comment {
				i--
				continue
			}
			// An array inside an array has no place of its own in the tree.
			if n.Raw.Length > 0 {
				at = l.place(n.Raw)
			}
			l.note(Index(path, i), at)
			l.value(Index(path, i), n, at, depth+1)
		}
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			if n := it.Node(); n.Kind == unstable.KeyValue {
				l.keyValue(path, n, depth)
			}
		}
	default: // a plain value has nothing inside
	}
}

func (l *locator) place(r unstable.Range) Position {
	// The parser's own Shape counts lines from the start of the document each
	// time, which is quadratic over a long members' file.
	line, _ := slices.BinarySearch(l.lines, int(r.Offset)+1)
	return Position{line, int(r.Offset) - l.lines[line-1] + 1}
}

// note keeps the first place of a path: for dotted keys and implied tables
// that is where a reader meets it.
func (l *locator) note(path string, at Position) {
	if _, ok := l.file.positions[path]; !ok {
		l.file.positions[path] = at
	}
}

// Join returns the path of key inside table; a key that is not bare is quoted.
func Join(table, key string) string {
	bare := key != "" && strings.IndexFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) < 0
	if !bare {
		key = strconv.Quote(key)
	}
	if table == "" {
		return key
	}
	return table + "." + key
}

// Index returns the path of element i of the array at path.
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
