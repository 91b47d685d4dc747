package journal

import (
	"io"
	"path/filepath"
)

// Hold keeps every process from writing to the journal in dir until the closer
// is closed, or this process ends: for who changes what belongs to it. ErrLocked
// where one writes already.
func Hold(dir string) (io.Closer, error) { return diskFS{}.Lock(filepath.Join(dir, lockName)) }
