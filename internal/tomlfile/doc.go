// Package tomlfile reads the files that people write by hand, strictly: every
// problem is reported, each with the file, line and column of the key at fault,
// and nothing is guessed.
//
//	f, err := tomlfile.Read("cordee.toml", &raw)  // syntax, unknown keys, types
//	f.Errorf("listener[1].address", "...")        // what only the room can know
//	return f.Err()                                // all of it, by line
//
// go-toml reads the values. The places come from a second pass with its parser,
// because a decoder that stops at the first wrong type, or forgets where a value
// stood, makes its user run the program once per mistake.
//
// It stands on the lowest floor and imports nothing of ours: config and
// register, which may not import each other, both read TOML (ADR 0001).
package tomlfile
