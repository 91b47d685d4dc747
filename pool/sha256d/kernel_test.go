package sha256d_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/pool/sha256d"
)

// checkPair compares every way to hash x and y, their first cutX and cutY bytes
// remembered, and to fold them through a and b, with chainhash.
func checkPair(x, y []byte, cutX, cutY int, a, b [][32]byte) error {
	wantX, wantY := [32]byte(chainhash.DoubleHashB(x)), [32]byte(chainhash.DoubleHashB(y))
	rootX, rootY := naiveFold(wantX, a), naiveFold(wantY, b)
	var err error
	sha256d.EachKernel(func(kernel string) {
		p, q := sha256d.NewMidstate(x[:cutX]), sha256d.NewMidstate(y[:cutY])
		sums := sha256d.SumPair(&p, &q, x, y)
		roots := sha256d.FoldPair(sums, a, b)
		switch {
		case sha256d.Sum(x) != wantX || p.Sum(x) != wantX:
			err = fmt.Errorf("%s: Sum(%x) %x, from byte %d on %x", kernel, x, sha256d.Sum(x), cutX, p.Sum(x))
		case sums != [2][32]byte{wantX, wantY}:
			err = fmt.Errorf("%s: SumPair(%x, %x) %x from bytes %d and %d on", kernel, x, y, sums, cutX, cutY)
		case sha256d.Fold(wantX, a) != rootX:
			err = fmt.Errorf("%s: Fold(%x, %x) %x", kernel, wantX, a, sha256d.Fold(wantX, a))
		case roots != [2][32]byte{rootX, rootY}:
			err = fmt.Errorf("%s: FoldPair(%x, %x, %x) %x", kernel, sums, a, b, roots)
		}
	})
	return err
}

func naiveFold(leaf [32]byte, branches [][32]byte) [32]byte {
	for _, b := range branches {
		leaf = [32]byte(chainhash.DoubleHashB(append(leaf[:], b[:]...)))
	}
	return leaf
}

// Two messages, mostly of one shape as in a read of shares, through the lanes
// and alone, are what chainhash says.
func TestKernelsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.IntRange(0, 400)
		x := rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "x")
		n := len(x)
		if rapid.Bool().Draw(t, "another length") {
			n = length.Draw(t, "length")
		}
		y := rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "y")
		cutX := rapid.IntRange(0, len(x)).Draw(t, "cut of x")
		cutY := min(cutX, len(y))
		if rapid.Bool().Draw(t, "another cut") {
			cutY = rapid.IntRange(0, len(y)).Draw(t, "cut of y")
		}
		branch := rapid.Custom(func(t *rapid.T) [32]byte {
			return [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "branch"))
		})
		a := rapid.SliceOfN(branch, 0, 14).Draw(t, "branches of x")
		n = len(a)
		if rapid.IntRange(0, 3).Draw(t, "as many branches") == 0 {
			n = rapid.IntRange(0, 14).Draw(t, "branches")
		}
		b := rapid.SliceOfN(branch, n, n).Draw(t, "branches of y")
		if err := checkPair(x, y, cutX, cutY, a, b); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzKernels(f *testing.F) {
	f.Add([]byte{}, []byte{}, uint(0), uint(0), []byte{})
	f.Add(make([]byte, 80), make([]byte, 80), uint(64), uint(0), make([]byte, 32))
	f.Add(make([]byte, 250), make([]byte, 250), uint(102), uint(102), bytes.Repeat([]byte{0xff}, 12*32))
	f.Add(make([]byte, 119), make([]byte, 120), uint(63), uint(65), make([]byte, 100))
	f.Fuzz(func(t *testing.T, x, y []byte, cutX, cutY uint, tree []byte) {
		if len(x) > 1<<16 || len(y) > 1<<16 || len(tree) > 40*32 {
			return // longer ones have nothing new to say
		}
		var branches [][32]byte
		for part := range slices.Chunk(tree, 32) {
			var b [32]byte
			copy(b[:], part)
			branches = append(branches, b)
		}
		less := branches[:len(branches)-len(branches)%2] // as many, or one less
		p, q := message{x, int(cutX % uint(len(x)+1))}, message{y, int(cutY % uint(len(y)+1))}
		if err := checkPair(x, y, p.cut, q.cut, branches, less); err != nil {
			t.Fatal(err)
		}
		all := append([]message{p, q}, alter(q, int(cutX%(sha256d.MaxLanes-1)))...)
		if err := checkLanes(all, less); err != nil {
			t.Fatal(err)
		}
	})
}

// Lanes are for two messages of one shape: every pair of lengths around the
// block boundaries, alike or not.
func TestPairsOfEveryLength(t *testing.T) {
	x, y := make([]byte, 130), make([]byte, 130)
	for i := range x {
		x[i], y[i] = byte(i+1), byte(200-i)
	}
	for n := range x {
		for m := range y {
			if err := checkPair(x[:n], y[:m], 0, 0, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Long messages: the loop over whole blocks.
func TestKernelsAgreeOnLongMessages(t *testing.T) {
	x, y := make([]byte, 100_000), make([]byte, 100_000)
	for i := range x {
		x[i], y[i] = byte(i*i>>3), byte(i*7+i>>8)
	}
	for _, n := range []int{6900, 65535, 65536, 100_000} {
		if err := checkPair(x[:n], y[:n], 102, 102, nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := checkLanes([]message{{x[:n], 102}, {y[:n], 102}, {y[:n], 64}}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A name that is not to be had stops the program with a sentence that helps.
func TestChoose(t *testing.T) {
	all := sha256d.Kernels()
	if all[len(all)-1] != "crypto/sha256" {
		t.Errorf("kernels %q do not end with the standard library's", all)
	}
	if got := sha256d.Choose(""); got != all[0] {
		t.Errorf("of %q, %s was chosen", all, got)
	}
	for _, name := range all {
		if got := sha256d.Choose(name); got != name {
			t.Errorf("asked for %s, and got %s", name, got)
		}
	}
	for _, name := range []string{"none", "md5", " "} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, "CORDEE_SHA256="+name+": no such kernel") || !strings.Contains(got, "crypto/sha256") {
					t.Errorf("%q: %v", name, got)
				}
			}()
			sha256d.Choose(name)
		}()
	}
}

// The environment decides, in a process of its own.
func TestVariable(t *testing.T) {
	if want := os.Getenv("KERNEL_TEST_WANTS"); want != "" {
		if got := sha256d.Kernel(); got != want {
			t.Fatalf("kernel %s, want %s", got, want)
		}
		return
	}
	for _, name := range sha256d.Kernels() {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestVariable$")
		cmd.Env = append(os.Environ(), sha256d.Variable+"="+name, "KERNEL_TEST_WANTS="+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestVariable$")
	cmd.Env = append(os.Environ(), sha256d.Variable+"=sha3")
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("CORDEE_SHA256=sha3: no such kernel")) {
		t.Errorf("sha3: %v\n%s", err, out)
	}
}

// The assembly in the tree is what the generator writes, not what a hand made
// of it.
func TestAssemblyIsGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("builds avo")
	}
	dir := t.TempDir()
	for _, kernels := range []string{"shani", "lanes"} {
		files := []string{kernels + "_amd64.s", kernels + "_amd64.go"}
		cmd := exec.Command("go", "run", "-C", "../../tools/avo", ".", "-kernels", kernels, "-pkg", "sha256d",
			"-out", filepath.Join(dir, files[0]), "-stubs", filepath.Join(dir, files[1]))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
		for _, name := range files {
			// The first line says where it was written to.
			if ours, theirs := behindLine(t, name), behindLine(t, filepath.Join(dir, name)); !bytes.Equal(ours, theirs) {
				t.Errorf("%s is not what tools/avo writes: run go generate ./pool/sha256d", name)
			}
		}
	}
}

func behindLine(t *testing.T, path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(b, []byte("\n"))
	return rest
}
