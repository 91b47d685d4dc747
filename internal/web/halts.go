package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Operator is what the operator's socket needs beyond the pages.
type Operator interface {
	Source
	Halts() Halts
	// Lift ends a halt for a reason that the ledger keeps. NotFound where no such
	// halt is in force.
	Lift(name, reason string) error
}

// NotFound is the error of an Operator that does not have what was named.
type NotFound struct{ Err error }

func (n NotFound) Error() string { return n.Err.Error() }

// Unwrap returns what it is about.
func (n NotFound) Unwrap() error { return n.Err }

// Halts is why payouts stop, and all that was ever said about it.
type Halts struct {
	Running bool       `json:"running"` // a pool was asked; otherwise its files were read
	Halts   []HaltLine `json:"halts"`   // in force, oldest first
	Log     []HaltLine `json:"log"`     // every halt and lift in the ledger, oldest first
}

// HaltLine is one event of the ledger about halts.
type HaltLine struct {
	Event  int    `json:"event"` // its number in the ledger
	Lifted bool   `json:"lifted"`
	Name   string `json:"name"`
	Text   string `json:"text"` // why payouts stop, or why the halt was lifted
}

// Lift is the body of POST /halts/lift.
type Lift struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Bounds of what the socket is told.
const (
	maxTold     = 4 << 10
	maxReason   = 500
	maxHaltName = 64
)

// Check returns what is wrong with l. A reason stands in the ledger for ever and
// is shown on terminals: printable characters, on one line.
func (l *Lift) Check() error {
	switch {
	case l.Name == "" || len(l.Name) > maxHaltName || strings.Trim(l.Name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "":
		return fmt.Errorf("the name of a halt is 1 to %d of a-z 0-9 . - _", maxHaltName)
	case strings.TrimSpace(l.Reason) == "":
		return errors.New("a reason is needed: it is kept in the ledger, for whoever asks later why payouts went on")
	case len(l.Reason) > maxReason:
		return fmt.Errorf("a reason has at most %d bytes, this one %d", maxReason, len(l.Reason))
	case !utf8.ValidString(l.Reason) || strings.ContainsFunc(l.Reason, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("a reason is one line of printable characters")
	}
	return nil
}

func lift(w http.ResponseWriter, r *http.Request, s Operator) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		http.Error(w, "send application/json", http.StatusUnsupportedMediaType)
		return
	}
	var l Lift
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTold))
	d.DisallowUnknownFields()
	err := d.Decode(&l)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one object")
		}
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		http.Error(w, fmt.Sprintf("at most %d bytes", maxTold), http.StatusRequestEntityTooLarge)
		return
	}
	if err == nil {
		err = l.Check()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := s.Lift(l.Name, l.Reason); err != nil {
		code := http.StatusInternalServerError
		if _, none := errors.AsType[NotFound](err); none {
			code = http.StatusNotFound
		}
		http.Error(w, err.Error(), code)
		return
	}
	reply(w, s.Halts())
}
