package config

import "reflect"

// Differ reports whether a and b differ in what they mean.
func Differ(a, b *Config) bool {
	x, y := *a, *b
	x.file, y.file = nil, nil
	return !reflect.DeepEqual(x, y)
}
