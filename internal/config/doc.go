// Package config reads cordee.toml, strictly: every mistake is reported with
// file, line and column, all of them at once, and nothing is guessed (decision
// 40). The commented example that WriteExample makes is the manual of the file.
//
// Load looks at the file and at the secrets it names. What depends on the state
// of the machine, such as a data directory that cannot be written, is Check's.
package config
