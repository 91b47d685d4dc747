package tomlfile

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// setter is a type that takes a decoded TOML value itself.
type setter interface{ set(v any) error }

// decoder moves a decoded document into a struct and reports what does not fit.
type decoder struct {
	file  *File
	hints map[string]string
	homes map[string][]string // tables of the whole schema that know a key
}

func newDecoder(f *File, dst any, hints map[string]string) *decoder {
	d := &decoder{file: f, hints: hints, homes: map[string][]string{}}
	d.learn("", reflect.TypeOf(dst).Elem())
	return d
}

// learn notes where each key of the schema lives, for the hints about keys
// that stand in the wrong table.
func (d *decoder) learn(table string, t reflect.Type) {
	for _, k := range keysOf(t) {
		d.homes[k.name] = append(d.homes[k.name], table)
		ft := k.typ
		form := "[%s]"
		for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Slice {
			if ft.Kind() == reflect.Slice {
				form = "[[%s]]"
			}
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct {
			inner := strings.Trim(table, "[]")
			if inner != "" {
				inner += "."
			}
			d.learn(fmt.Sprintf(form, inner+k.name), ft)
		}
	}
}

// key is one field of a struct as the file knows it.
type key struct {
	name     string
	required bool
	index    int
	typ      reflect.Type
}

func keysOf(t reflect.Type) []key {
	var keys []key
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("toml")
		if !ok {
			continue
		}
		name, rest, _ := strings.Cut(tag, ",")
		keys = append(keys, key{name, rest == "required", i, t.Field(i).Type})
	}
	return keys
}

func (d *decoder) decode(tree map[string]any, dst any) {
	d.table("", tree, reflect.ValueOf(dst).Elem())
}

func (d *decoder) table(path string, tree map[string]any, dst reflect.Value) {
	keys := keysOf(dst.Type())
	known, meant := map[string]bool{}, map[string]bool{}
	for _, k := range keys {
		known[k.name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if !known[name] {
			meant[d.unknown(path, name, keys)] = true
		}
	}
	for _, k := range keys {
		v, ok := tree[k.name]
		switch {
		case ok:
			d.value(Join(path, k.name), v, dst.Field(k.index))
		case k.required && !meant[k.name]: // a misspelt key is not missing too
			d.missing(path, k)
		}
	}
}

func (d *decoder) missing(path string, k key) {
	full := Join(path, k.name)
	if k.typ.Kind() == reflect.Struct {
		d.file.Errorf(full, "is missing: the file needs a table [%s]", full)
		return
	}
	d.file.Errorf(full, "is missing")
}

// unknown reports a key that the schema does not have and returns the one that
// it takes it for, or "".
func (d *decoder) unknown(path, name string, keys []key) (meant string) {
	full := Join(path, name)
	if hint, ok := d.hints[name]; ok {
		d.file.Errorf(full, "unknown key: %s", hint)
		return ""
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	if near := nearest(name, names); near != "" {
		d.file.Errorf(full, "unknown key: did you mean %s?", near)
		return near
	}
	if near := nearest(name, slices.Sorted(maps.Keys(d.hints))); near != "" {
		d.file.Errorf(full, "unknown key: %s", d.hints[near])
		return ""
	}
	if homes := d.homes[name]; len(homes) > 0 {
		if homes[0] == "" {
			d.file.Errorf(full, "unknown key here: %s belongs at the top of the file, above the first [table]", name)
		} else {
			d.file.Errorf(full, "unknown key here: %s belongs in %s", name, strings.Join(homes, " or "))
		}
		return ""
	}
	slices.Sort(names)
	d.file.Errorf(full, "unknown key: known here are %s", strings.Join(names, ", "))
	return ""
}

func (d *decoder) value(path string, v any, dst reflect.Value) {
	if s, ok := reflect.TypeAssert[setter](dst.Addr()); ok {
		if err := s.set(v); err != nil {
			d.file.Errorf(path, "%v", err)
		}
		return
	}
	switch dst.Kind() {
	case reflect.Pointer:
		p := reflect.New(dst.Type().Elem())
		d.value(path, v, p.Elem())
		dst.Set(p)
	case reflect.Struct:
		tree, ok := v.(map[string]any)
		if !ok {
			if _, list := v.([]any); list {
				d.file.Errorf(path, "there is only one: write [%s], not [[%s]]", path, path)
			} else {
				d.wrong(path, v, "a table")
			}
			return
		}
		d.table(path, tree, dst)
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			if _, table := v.(map[string]any); table {
				d.file.Errorf(path, "there may be several: each begins with [[%s]], not with [%s]", path, path)
			} else {
				d.wrong(path, v, "a list in [ ]")
			}
			return
		}
		out := reflect.MakeSlice(dst.Type(), len(list), len(list))
		for i := range list {
			d.value(Index(path, i), list[i], out.Index(i))
		}
		dst.Set(out)
	case reflect.String:
		if s, ok := v.(string); ok {
			dst.SetString(s)
			return
		}
		d.wrong(path, v, "text in quotes")
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			dst.SetBool(b)
			return
		}
		d.wrong(path, v, "true or false, without quotes")
	case reflect.Float64:
		switch n := v.(type) {
		case float64:
			dst.SetFloat(n)
		case int64:
			dst.SetFloat(float64(n))
		default:
			d.wrong(path, v, "a number")
		}
	case reflect.Int, reflect.Int64:
		n, ok := v.(int64)
		if !ok {
			d.wrong(path, v, "a whole number")
			return
		}
		if dst.OverflowInt(n) {
			d.file.Errorf(path, "%d is out of range", n)
			return
		}
		dst.SetInt(n)
	default:
		panic(fmt.Sprintf("tomlfile: internal error: %s has type %s, which this package does not decode", path, dst.Type()))
	}
}

func (d *decoder) wrong(path string, v any, want string) {
	d.file.Errorf(path, "must be %s, not %s", want, show(v))
}

// show names a value of the file in a message.
func show(v any) string {
	switch v := v.(type) {
	case string:
		if len(v) > 40 {
			v = v[:40] + "..."
		}
		return "the text " + strconv.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".eIN") {
			s += ".0" // or it would be taken for a whole number
		}
		return s
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case time.Time:
		return "a date"
	default:
		return "a date or time"
	}
}

// nearest returns the name closest to s, or "" where none is close.
func nearest(s string, names []string) string {
	best, limit := "", 1+min(len(s), 12)/4
	for _, n := range names {
		if dist := distance(strings.ToLower(s), n); dist <= limit {
			best, limit = n, dist-1
		}
	}
	return best
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost = 1 + min(diag, row[j], row[j+1])
			}
			diag, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
