package pool

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of the parts of a consortium name, in bytes (decision 38).
const (
	MaxMemberID = 16
	MaxSiteID   = 16
	MaxRigID    = 24
)

// Worker is who stands behind an authorized name: an index of the register and
// the parts of the name. Index 0 is parked work.
type Worker struct {
	Member uint16 // index, immutable, also in the coinbase
	Name   string // canonical full name: member.site.rig, in open mode address.label
	Rig    uint32 // number of the name within this epoch's journal; 0 until the edge gives one, with the first share
}

// Name is a parsed consortium name.
type Name struct{ Member, Site, Rig string }

// String returns member.site.rig.
func (n Name) String() string { return n.Member + "." + n.Site + "." + n.Rig }

// ErrName reports a user name that is not member.site.rig.
var ErrName = errors.New("name must be member.site.rig, at most 16.16.24 of a-z 0-9 -")

// ParseName parses member.site.rig. Case is folded, since rigs' web pages
// capitalise; a missing rig becomes "default". Anything else is ErrName.
func ParseName(s string) (Name, error) {
	parts := strings.Split(strings.Map(foldASCII, s), ".")
	if len(parts) == 2 {
		parts = append(parts, "default")
	}
	if len(parts) != 3 {
		return Name{}, fmt.Errorf("%d parts: %w", len(parts), ErrName)
	}
	n := Name{parts[0], parts[1], parts[2]}
	if !ValidID(n.Member, MaxMemberID) || !ValidID(n.Site, MaxSiteID) || !ValidID(n.Rig, MaxRigID) {
		return Name{}, ErrName
	}
	return n, nil
}

// foldASCII lowers A to Z and nothing else: Unicode's folding would read the
// Kelvin sign as k, and one name would have two spellings.
func foldASCII(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		return r - 'A' + 'a'
	}
	return r
}

// ValidID reports whether s is 1 to limit bytes of [a-z0-9-].
func ValidID(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
