package journal

import (
	"errors"
	"slices"
	"testing"
)

// Open tells whose the rigs' names are, and a name that is refused refuses the
// directory, as it was.
func TestOpenTellsOfRigs(t *testing.T) {
	disk := newMemFS(1)
	cfg := Config{Dir: "/j", SegmentSize: 8192, FS: disk}
	for _, name := range []string{"a.b.c", "d.e.f"} { // an epoch each
		j, _ := open4(t, cfg)
		for range 2 {
			if _, err := j.RigNumber(uint16(name[0]), name); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	refuse := errors.New("not ours")
	cfg.Rig = func(member uint16, name string) error {
		if told = append(told, name); member != uint16(name[0]) {
			t.Errorf("member %d is called %s", member, name)
		}
		if len(told) == 2 {
			return refuse
		}
		return nil
	}
	before, err := disk.ReadDir("/j")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(cfg); !errors.Is(err, refuse) || !slices.Equal(told, []string{"a.b.c", "d.e.f"}) {
		t.Errorf("%v, told %v", err, told)
	}
	if after, err := disk.ReadDir("/j"); err != nil || !slices.Equal(before, after) {
		t.Errorf("%v was %v, %v", after, before, err)
	}
	told = nil
	cfg.Rig = nil
	j, _ := open4(t, cfg)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
