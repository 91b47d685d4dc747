package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// btcdPackage is the command that tools/btcd pins.
const btcdPackage = "github.com/btcsuite/btcd"

// edits are what we change in btcd's source before the build; the daemon is
// otherwise as released. No flag does the same. A version whose source does not
// hold each old text exactly once is refused.
var edits = []struct{ file, old, new string }{
	// On regtest btcd throws its block database away at every start, which its
	// own tests want and ours do not: a restarted node has to have its chain.
	{"btcd.go", "\tremoveRegressionDB(dbPath)\n", "\t_ = removeRegressionDB\n"},
	// The database keeps what it was told in memory for 5 minutes. A node that
	// is killed must come back with the blocks it had acknowledged.
	{"database/ffldb/dbcache.go", "defaultFlushSecs = 300 ", "defaultFlushSecs = 0 "},
}

// BuildBtcd builds the btcd that the module in directory src pins (tools/btcd)
// and returns the path of the binary. out is the directory that keeps it; ""
// means cordee/ in the user's cache directory, or .cache beside src's
// repository where there is no such directory. What is built once is found
// again: the file's name holds a digest of src's go.mod and go.sum, of the Go
// version and of the platform. A file lock makes parallel callers, such as the
// test binaries of one `go test ./...`, build once.
//
// The binary differs from the release in one respect: on regtest it keeps its
// chain, over a restart and over a kill (see edits).
func BuildBtcd(ctx context.Context, src, out string) (string, error) {
	src, err := filepath.Abs(src)
	if err != nil {
		return "", fmt.Errorf("build btcd: %w", err)
	}
	name, err := btcdName(src)
	if err != nil {
		return "", fmt.Errorf("build btcd: %w: %s must be the repository's tools/btcd", err, src)
	}
	if out == "" {
		out = cacheDir(src)
	}
	if out, err = filepath.Abs(out); err != nil {
		return "", fmt.Errorf("build btcd: %w", err)
	}
	path := filepath.Join(out, name)
	if isFile(path) {
		return path, nil
	}
	if err := os.MkdirAll(out, 0o750); err != nil {
		return "", fmt.Errorf("build btcd: %w", err)
	}
	unlock, err := lockFile(ctx, path+".lock")
	if err != nil {
		return "", fmt.Errorf("build btcd: %w", err)
	}
	defer unlock()
	if isFile(path) {
		return path, nil // somebody built it while we waited
	}

	work := path + ".build" // ours alone under the lock; a killed build may have left it
	if err := os.RemoveAll(work); err != nil {
		return "", fmt.Errorf("build btcd: %w", err)
	}
	if err := os.Mkdir(work, 0o750); err != nil {
		return "", fmt.Errorf("build btcd: %w", err)
	}
	defer os.RemoveAll(work)
	if err := prepareBtcd(ctx, src, work); err != nil {
		return "", fmt.Errorf("build btcd: %w", err)
	}
	// No -trimpath: the standard library then is the one go test compiles anyway.
	// Built elsewhere and moved, so that a build that is killed leaves no half
	// binary under the name that is looked for.
	fresh := filepath.Join(work, name)
	if _, err := goTool(ctx, work, "build", "-buildvcs=false", "-o", fresh, btcdPackage); err != nil {
		return "", fmt.Errorf("build btcd: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return "", fmt.Errorf("build btcd: %w", err)
	}
	return path, nil
}

// prepareBtcd makes work a module like src, with btcd replaced by an edited copy
// of the source that src pins.
func prepareBtcd(ctx context.Context, src, work string) error {
	said, err := goTool(ctx, src, "mod", "download", "-json", btcdPackage)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(said, &module); err != nil {
		return fmt.Errorf("go mod download: %w: %.200q", err, said)
	}
	copied := filepath.Join(work, "btcd")
	if err := os.CopyFS(copied, os.DirFS(module.Dir)); err != nil {
		return err
	}
	for _, e := range edits {
		file := filepath.Join(copied, e.file)
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			return fmt.Errorf("%s of %s holds %q %d times, not once: this version needs another edit",
				e.file, module.Dir, e.old, n)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600); err != nil {
			return err
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(src, name))
		if err != nil {
			return err
		}
		if name == "go.mod" {
			text = append(text, "\nreplace "+btcdPackage+" => ./btcd\n"...)
		}
		if err := os.WriteFile(filepath.Join(work, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// goTool runs the go command in dir and returns its standard output.
func goTool(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "PWD="+dir)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	said, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s in %s: %w\n%s", args[0], dir, err, bytes.TrimSpace(complaint.Bytes()))
	}
	return said, nil
}

// btcdName is the file name of the binary that src would give here.
func btcdName(src string) (string, error) {
	digest := sha256.New()
	for _, file := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(src, file))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(digest, "%s %d\n%s", file, len(b), b)
	}
	fmt.Fprint(digest, runtime.Version(), runtime.GOOS, runtime.GOARCH, edits)
	return "btcd-" + hex.EncodeToString(digest.Sum(nil)[:6]), nil
}

func cacheDir(src string) string {
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "cordee")
	}
	return filepath.Join(filepath.Dir(filepath.Dir(src)), ".cache")
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// lockFile takes an exclusive lock on path, which the kernel frees when the
// holder dies. It waits as long as ctx allows.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
		case <-tick.C:
		}
	}
}

// findBtcdSource walks up from the working directory to the module cordee and
// returns its tools/btcd.
func findBtcdSource() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(b), "module cordee\n") {
			return filepath.Join(dir, "tools", "btcd"), nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no module cordee at or above %s: run inside a checkout, "+
				"or name a node's binary (CORDEE_BITCOIND)", start)
		}
	}
}
