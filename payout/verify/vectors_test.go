package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"cordee/payout/verify"
)

func vectorFile(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("../testdata/pplns-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestVectors(t *testing.T) {
	r, err := verify.Check(vectorFile(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range r.Differences {
		t.Error(d)
	}
	if r.Vectors != 22 || r.Negative != 4 || r.Blocks != 40 || r.Values != 1401 {
		t.Errorf("%d vectors, %d negative, %d blocks, %d values", r.Vectors, r.Negative, r.Blocks, r.Values)
	}
}

func TestDifferenceNamesItsPlace(t *testing.T) {
	bad := bytes.Replace(vectorFile(t), []byte(`"B": 117375002`), []byte(`"B": 117375001`), 1)
	r, err := verify.Check(bad)
	if err != nil || len(r.Differences) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
	const want = "V06-two-blocks-same-window, block 2, credits.B: expected 117375001, naive 117375002"
	if got := r.Differences[0].String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	good := string(vectorFile(t))
	for what, text := range map[string]string{
		"an unknown field":     strings.Replace(good, `"height": 900001,`, `"height": 900001, "colour": 3,`, 1),
		"another rule":         strings.Replace(good, `"unit-pplns-v1"`, `"pps"`, 1),
		"a share of 5 fields":  strings.Replace(good, `[1,"A",1,0],`, `[1,"A",1,0,9],`, 1),
		"a share of 3 fields":  strings.Replace(good, `[1,"A",1,0],`, `[1,"A",1],`, 1),
		"a fractional share":   strings.Replace(good, `[1,"A",1,0],`, `[1,"A",1.5,0],`, 1),
		"a share without seq":  strings.Replace(good, `[1,"A",1,0],`, `[null,"A",1,0],`, 1),
		"sats as a fraction":   strings.Replace(good, `"B": 117375002`, `"B": 117375002.5`, 1),
		"a word behind":        good + "x",
		"an end in the middle": good[:len(good)/2],
		"nothing":              "",
		"no vectors":           `{"rule":"unit-pplns-v1"}`,
	} {
		if text == good {
			t.Fatalf("%s: nothing was changed", what)
		}
		if r, err := verify.Check([]byte(text)); !errors.Is(err, verify.ErrFile) {
			t.Errorf("%s: %v, %v", what, r, err)
		}
	}
}

// A vector that cannot be computed is a difference with its reason, not a pass.
func TestInputsAreChecked(t *testing.T) {
	for name, c := range map[string][2]string{
		"seq twice":           {`[2,"B",1,0],`, `[1,"B",1,0],`},
		"no difficulty":       {`[2,"B",1,0],`, `[2,"B",0,0],`},
		"an unknown epoch":    {`[2,"B",1,0],`, `[2,"B",1,7],`},
		"a nameless member":   {`[2,"B",1,0],`, `[2,"",1,0],`},
		"a hidden member":     {`[2,"B",1,0],`, `[2,"\u0000reserve",1,0],`},
		"negative nBits":      {`"1c3fffc0"`, `"1cbfffc0"`},
		"nBits of 7 digits":   {`"1c3fffc0"`, `"1c3fffc"`},
		"a window of nothing": {`"x_milli": 1000,`, `"x_milli": 0,`},
		"another window rule": {`"window_rule": "unit"`, `"window_rule": "units"`},
		"an underfill":        {`"underfill": "normalize"`, `"underfill": "keep"`},
		"a hash":              {`"prevhash": "1177`, `"prevhash": "x177`},
		"a negative value":    {`"coinbase_value": 312500000`, `"coinbase_value": -1`},
		"fees above all":      {`"bp": 150`, `"bp": 9990`},
		"a payout of nobody":  {`"A": 100000000`, `"Z": 100000000`},
		"a payout too large":  {`"A": 100000000`, `"A": 156250001`},
		"an event":            {`"type": "orphan"`, `"type": "orphans"`},
		"legs of 9999":        {`"bp": 2999`, `"bp": 2998`},
		"a type":              {`"type": "p2wsh"`, `"type": "p2x"`},
		"a dust threshold":    {`"p2wpkh": 294`, `"p2wpkh": 295`},
		"N01 that passes":     {`[2,"A",1,0],[2,"B",1,0]`, `[2,"A",1,0],[3,"B",1,0]`},
		"N01 of another name": {`"error": "seq"`, `"error": "diff"`},
	} {
		data := vectorFile(t)
		bad := bytes.Replace(data, []byte(c[0]), []byte(c[1]), 1)
		if bytes.Equal(bad, data) {
			bad = bytes.Replace(squeeze(data), []byte(c[0]), []byte(c[1]), 1)
			if bytes.Equal(bad, squeeze(data)) {
				t.Errorf("%s: nothing was changed", name)
				continue
			}
		}
		r, err := verify.Check(bad)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if len(r.Differences) == 0 {
			t.Errorf("%s is not seen", name)
		}
	}
}

func squeeze(data []byte) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		panic(fmt.Sprint(err))
	}
	return b.Bytes()
}
