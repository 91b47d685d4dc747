package web_test

import (
	"maps"
	"slices"
)

// fields lists the paths of the fields in v, sorted, those of lists once.
func fields(v any) []string {
	set := map[string]bool{}
	var walk func(prefix string, v any)
	walk = func(prefix string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, x := range v {
				set[prefix+name] = true
				walk(prefix+name+".", x)
			}
		case []any:
			for _, x := range v {
				walk(prefix, x)
			}
		}
	}
	walk("", v)
	return slices.Sorted(maps.Keys(set))
}
