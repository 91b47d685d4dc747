package journal

import (
	"errors"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

// frameRef is a frame of a whole journal and the shares in it.
type frameRef struct {
	file        string
	off, end    int64
	synced      int64
	first, last uint64
}

// build writes a journal of a few small segments, one commit after another,
// and returns its disk. Without seal it ends as a killed process ends.
func build(t *testing.T, seal bool) *memFS {
	t.Helper()
	disk := newMemFS(1)
	j, _, err := Open(Config{Dir: "/j", Edge: 1, Prefix: 2, FS: disk, SegmentSize: 8192})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		if i%10 == 0 {
			if _, err := j.RigNumber(1, "m.s.r"+string(rune('a'+i))); err != nil {
				t.Fatal(err)
			}
			if _, err := j.Append(Job{Counter: uint32(i + 1), Tag: "x", Coinb2: []byte{1, 2, 3}}); err != nil {
				t.Fatal(err)
			}
		}
		tk, err := j.AppendShares(make3(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := tk.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if seal {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		return disk
	}
	dead := disk.restart(2, false)
	if err := j.Close(); !errors.Is(err, errCrashed) {
		t.Fatal(err)
	}
	return dead
}

func make3(i int) []Share {
	return []Share{
		{Difficulty: 1, Nonce: uint32(i), Member: 1, WorkBits: 0x207fffff},
		{Nonce: uint32(i)},
		{Difficulty: 2, Nonce: uint32(i), Member: 2, WorkBits: 0x207fffff},
	}
}

// layout lists the frames of a whole journal.
func layout(t *testing.T, disk *memFS) (files []string, frames []frameRef) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(disk.names)) {
		if _, _, ok := parseSegmentName(filepath.Base(path)); !ok {
			continue
		}
		files = append(files, path)
		data := disk.names[path].cur
		h, err := parseHeader(data)
		if err != nil {
			t.Fatal(err)
		}
		for off := int64(headerSize); ; {
			f, ok := frameAt(data, h.crc, off)
			if !ok {
				break
			}
			ref := frameRef{file: path, off: off, end: f.end, synced: f.synced}
			err := walkRecords(f.payload, func(_ int, k Kind, body []byte) error {
				if k == KindShare {
					ref.last = le.Uint64(body)
					if ref.first == 0 {
						ref.first = ref.last
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			frames = append(frames, ref)
			off = f.end
		}
	}
	return files, frames
}

func seqs(t *testing.T, disk *memFS) (found map[uint64]bool, err error) {
	t.Helper()
	found = map[uint64]bool{}
	_, err = verify(disk, "/j", func(r RecordInfo) error {
		if r.Kind == KindShare {
			found[r.Seq] = true
		}
		return nil
	})
	return found, err
}

// TestEveryFlipInASealedJournalIsNamed flips every byte (under the race
// detector every flipStep-th) of a sealed journal,
// headers, padding and zeros included.
func TestEveryFlipInASealedJournalIsNamed(t *testing.T) {
	disk := build(t, true)
	files, frames := layout(t, disk)
	if len(files) < 2 || len(frames) < 30 {
		t.Fatalf("%d files, %d frames: too small to prove anything", len(files), len(frames))
	}
	if _, err := seqs(t, disk); err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		data := disk.names[path].cur
		for at := range flips(data) {
			for _, mask := range []byte{1 << (at % 8), 0xff} {
				data[at] ^= mask
				_, err := seqs(t, disk)
				data[at] ^= mask
				d, ok := errors.AsType[*DamageError](err)
				if !ok && !(at == 7 && errors.Is(err, ErrNewer)) {
					t.Fatalf("%s byte %d mask %#x: not noticed: %v", path, at, mask, err)
				}
				if ok && (d.File != path || int64(at) < d.From || int64(at) >= d.To) {
					t.Fatalf("%s byte %d mask %#x: reported as %v", path, at, mask, d)
				}
			}
		}
	}
}

// TestEveryFlipBehindAKillIsDamageOrTheLastFrame flips every byte of a journal
// whose process was killed. Either the flip is named, or all that is lost is
// the last frame, of which no later frame says that it was durable.
func TestEveryFlipBehindAKillIsDamageOrTheLastFrame(t *testing.T) {
	disk := build(t, false)
	files, frames := layout(t, disk)
	last := frames[len(frames)-1]
	all, err := seqs(t, disk)
	if err != nil || len(all) != 120 {
		t.Fatalf("%d shares, %v", len(all), err)
	}
	quiet := 0
	for _, path := range files {
		data := disk.names[path].cur
		for at := range flips(data) {
			mask := byte(1 << (at % 8))
			data[at] ^= mask
			found, err := seqs(t, disk)
			data[at] ^= mask
			if err != nil {
				if d, ok := errors.AsType[*DamageError](err); ok && (d.File != path || int64(at) < d.From || int64(at) >= d.To) {
					t.Fatalf("%s byte %d: reported as %v", path, at, d)
				}
				continue
			}
			if path != last.file || int64(at) < last.off {
				t.Fatalf("%s byte %d: not noticed", path, at)
			}
			quiet++
			for seq := range all {
				if !found[seq] && (int64(at) >= last.end || seq < last.first) {
					t.Fatalf("%s byte %d: share %d lost in silence", path, at, seq)
				}
			}
		}
	}
	if quiet == 0 {
		t.Fatal("no flip fell into the last frame")
	}
}

// TestDamageIsRefusedAndTolerated: Open refuses a damaged middle by name and
// changes nothing; told to tolerate it, it starts a new epoch beside it, far
// from any job counter of before.
func TestDamageIsRefusedAndTolerated(t *testing.T) {
	disk := build(t, false)
	_, frames := layout(t, disk)
	mid := frames[len(frames)-3]
	disk.names[mid.file].cur[mid.off+20] ^= 4
	before := contents(disk)

	cfg := Config{Dir: "/j", Edge: 1, Prefix: 2, FS: disk, SegmentSize: 8192}
	_, _, err := Open(cfg)
	d, ok := errors.AsType[*DamageError](err)
	if !ok || !errors.Is(err, ErrDamaged) || d.File != mid.file || d.From != mid.off || d.To != mid.end {
		t.Fatalf("want damage of %+v, got %v", mid, err)
	}
	if d.FirstSeq != mid.first || d.LastSeq != mid.last {
		t.Errorf("lost shares %d to %d, named %d to %d", mid.first, mid.last, d.FirstSeq, d.LastSeq)
	}
	if !maps.Equal(before, contents(disk)) {
		t.Fatal("refusing changed a file")
	}

	cfg.TolerateDamage = true
	j, rec, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Epoch != 2 || len(rec.Damage) != 1 || rec.NextCounter < rec.LastCounter+damageGap {
		t.Errorf("%+v", rec)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := contents(disk); got[mid.file] != before[mid.file] {
		t.Error("the damaged segment was changed")
	}
	if rep, err := verify(disk, "/j", nil); len(rep.Damage) != 1 || err == nil {
		t.Errorf("verify afterwards: %v", err)
	}
}

func contents(disk *memFS) map[string]string {
	disk.mu.Lock()
	defer disk.mu.Unlock()
	m := map[string]string{}
	for n, f := range disk.names {
		m[n] = string(f.cur)
	}
	return m
}

// TestMissingSegmentIsDamage: a file that is gone is named.
func TestMissingSegmentIsDamage(t *testing.T) {
	disk := build(t, true)
	files, _ := layout(t, disk)
	if len(files) < 3 {
		t.Fatal("need a segment in the middle")
	}
	delete(disk.names, files[1])
	_, err := seqs(t, disk)
	d, ok := errors.AsType[*DamageError](err)
	if !ok || d.File != files[1] || d.FirstSeq == 0 {
		t.Fatalf("want %s named with its shares, got %v", files[1], err)
	}
}

// TestNewerBytesAreRefusedUntouched: a later version of a segment or of a
// record is named, and nothing is cut, not even behind it.
func TestNewerBytesAreRefusedUntouched(t *testing.T) {
	for name, change := range map[string]func(data []byte, last frameRef){
		"segment": func(data []byte, _ frameRef) {
			data[7] = version + 1
			le.PutUint32(data[60:], crcOf(data[:60]))
		},
		"record version": func(data []byte, last frameRef) { reframe(data, last, 1, version+1) },
		"record type":    func(data []byte, last frameRef) { reframe(data, last, 0, kinds) },
	} {
		t.Run(name, func(t *testing.T) {
			disk := build(t, false)
			_, frames := layout(t, disk)
			last := frames[len(frames)-1]
			data := disk.names[last.file].cur
			change(data, last)
			data[last.end+100] = 1 // a torn tail it could cut
			before := contents(disk)
			_, _, err := Open(Config{Dir: "/j", Edge: 1, Prefix: 2, FS: disk, TolerateDamage: true})
			if !errors.Is(err, ErrNewer) {
				t.Fatalf("want ErrNewer, got %v", err)
			}
			if !maps.Equal(before, contents(disk)) {
				t.Fatal("a file was changed")
			}
		})
	}
}

// reframe changes a byte of a frame's payload and makes its checksum true.
func reframe(data []byte, f frameRef, at int, to byte) {
	h, err := parseHeader(data)
	if err != nil {
		panic(err)
	}
	n := int64(le.Uint32(data[f.off:]))
	payload := data[f.off+frameHead : f.off+frameHead+n]
	payload[at] = to
	le.PutUint32(data[f.off+4:], frameCRC(h.crc, f.off, uint32(n), uint64(f.synced), payload))
}

// TestFrameFromElsewhere: a true frame copied to another place is not true
// there.
func TestFrameFromElsewhere(t *testing.T) {
	disk := build(t, true)
	_, frames := layout(t, disk)
	a, b := frames[3], frames[4]
	data := disk.names[a.file].cur
	if a.end-a.off != b.end-b.off {
		t.Fatal("frames differ in size")
	}
	copy(data[b.off:b.end], data[a.off:a.end])
	if _, err := seqs(t, disk); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a copied frame passed: %v", err)
	}
}

// TestForeignDirectoryIsRefused: another edge, prefix or chain.
func TestForeignDirectoryIsRefused(t *testing.T) {
	for name, cfg := range map[string]Config{
		"edge":    {Edge: 9, Prefix: 2},
		"prefix":  {Edge: 1, Prefix: 9},
		"genesis": {Edge: 1, Prefix: 2, Genesis: [32]byte{1}},
	} {
		disk := build(t, false)
		before := contents(disk)
		cfg.Dir, cfg.FS = "/j", disk
		if _, _, err := Open(cfg); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: want ErrForeign, got %v", name, err)
		}
		if !maps.Equal(before, contents(disk)) {
			t.Errorf("%s: a file was changed", name)
		}
	}
}

// flips yields every flipStep-th offset of data.
func flips(data []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		for at := 0; at < len(data) && yield(at); at += flipStep {
		}
	}
}
