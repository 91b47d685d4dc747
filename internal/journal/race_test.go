//go:build race

package journal

const (
	raceEnabled = true
	flipStep    = 13 // bytes between two flips of a sweep
)
