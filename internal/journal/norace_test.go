//go:build !race

package journal

const (
	raceEnabled = false
	flipStep    = 1 // bytes between two flips of a sweep
)
