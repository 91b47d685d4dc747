package pool_test

import (
	"slices"
	"testing"

	"cordee/pool"
)

// The ids and limits are in coinbases and receipts for ever: this list is only
// ever appended to.
func TestClassesAreFrozen(t *testing.T) {
	want := []pool.Class{
		{1, "default", 500, false}, {2, "tiny", 255, true}, {3, "medium", 2250, false}, {4, "large", 6500, false}, {5, "huge", 16_000, false},
	}
	if !slices.Equal(pool.Classes, want) {
		t.Errorf("%+v, want %+v", pool.Classes, want)
	}
	for _, c := range pool.Classes {
		if got, ok := pool.ClassByID(c.ID); !ok || got != c {
			t.Errorf("id %d: %+v, %v", c.ID, got, ok)
		}
		if got, ok := pool.ClassByName(c.Name); !ok || got != c {
			t.Errorf("name %s: %+v, %v", c.Name, got, ok)
		}
	}
	for _, id := range []uint8{0, 6, 255} {
		if c, ok := pool.ClassByID(id); ok {
			t.Errorf("id %d: %+v", id, c)
		}
	}
	if c, ok := pool.ClassByName(""); ok {
		t.Errorf("no name: %+v", c)
	}
}

// From the largest class steps lead down to the default and end there.
func TestClassBelow(t *testing.T) {
	var steps []string
	for c, ok := pool.HugeClass, true; ok; c, ok = c.Below() {
		steps = append(steps, c.Name)
	}
	if want := []string{"huge", "large", "medium", "default"}; !slices.Equal(steps, want) {
		t.Errorf("%v, want %v", steps, want)
	}
	if c, ok := pool.TinyClass.Below(); ok {
		t.Errorf("below tiny: %+v", c)
	}
}
