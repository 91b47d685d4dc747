//go:build !linux

package journal

// Allocate writes zeros.
func (f diskFile) Allocate(size int64) error { return writeZeros(f.File, size) }

// Datasync is a full sync.
func (f diskFile) Datasync() error { return f.Sync() }
