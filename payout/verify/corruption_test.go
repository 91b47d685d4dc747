package verify

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// leaves calls each with every value below v that is no container, its path,
// and a way to replace it.
func leaves(v any, path []string, each func(path []string, old any, set func(any))) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			below(x, append(slices.Clip(path), k), each, func(y any) { v[k] = y })
		}
	case []any:
		for i, x := range v {
			below(x, append(slices.Clip(path), strconv.Itoa(i)), each, func(y any) { v[i] = y })
		}
	}
}

func below(v any, path []string, each func([]string, any, func(any)), set func(any)) {
	switch v.(type) {
	case map[string]any, []any:
		leaves(v, path, each)
	default:
		each(path, v, set)
	}
}

// Every single value that the file expects is looked at: each is changed alone,
// and each is removed alone.
func TestEveryExpectedValueCounts(t *testing.T) {
	data, err := os.ReadFile("../testdata/pplns-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i := range f.Vectors {
		v := &f.Vectors[i]
		raw := file["vectors"].([]any)[i].(map[string]any)
		naive, ours, err := outcomes(v, f.Dust)
		if err != nil {
			t.Fatal(err)
		}
		seen := func() bool {
			r := new(Result)
			r.compareVector(v.Name, raw, naive, ours)
			return len(r.Differences) > 0
		}
		if seen() {
			t.Fatalf("%s differs before anything is changed", v.Name)
		}
		leaves(raw, nil, func(path []string, old any, set func(any)) {
			if !strings.HasPrefix(path[0], "expected") {
				return
			}
			changed++
			for _, bad := range []any{plusOne(old), nothing{}} {
				set(bad)
				if !seen() {
					t.Errorf("%s: %v may become %v unseen", v.Name, path, bad)
				}
			}
			// Through the whole program too, now and then: it takes longer.
			if set(plusOne(old)); changed%97 == 0 {
				again, err := json.Marshal(file)
				if err != nil {
					t.Fatal(err)
				}
				if r, err := Check(again); err == nil && len(r.Differences) != 1 {
					t.Errorf("%s: %v changed gives %v", v.Name, path, r.Differences)
				}
			}
			set(old)
		})
	}
	if changed != 1392 {
		t.Errorf("only %d values were changed", changed)
	}
}

// What is expected may not be left out either.
func TestExpectationsMayNotBeMissing(t *testing.T) {
	data, err := os.ReadFile("../testdata/pplns-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"expected", "expected_settlement", "expected_ledger", "expected_split"} {
		for _, empty := range []any{nil, []any{}, map[string]any{}} {
			var file map[string]any
			d := json.NewDecoder(bytes.NewReader(data))
			d.UseNumber()
			if err := d.Decode(&file); err != nil {
				t.Fatal(err)
			}
			for _, x := range file["vectors"].([]any) {
				v := x.(map[string]any)
				if _, has := v[key]; !has {
					continue
				}
				if v[key] = empty; empty == nil {
					delete(v, key)
				}
				break
			}
			bad, err := json.Marshal(file)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := Check(bad); err == nil && len(r.Differences) == 0 {
				t.Errorf("%s may be %v", key, empty)
			}
		}
	}
}

// plusOne changes a leaf as little as its type allows.
func plusOne(v any) any {
	switch v := v.(type) {
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil {
			panic(err)
		}
		return json.Number(strconv.FormatInt(n+1, 10))
	case string:
		last := v[len(v)-1]
		if last == '9' {
			return v[:len(v)-1] + "8"
		}
		return v[:len(v)-1] + string(last+1)
	default: // null
		return json.Number("1")
	}
}
