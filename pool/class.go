package pool

import "slices"

// Class is a family of firmware by how large a coinbase it can hash.
type Class struct {
	ID   uint8
	Name string // short, ASCII
	// MaxCoinbase is the limit of the coinbase without witness, in bytes.
	MaxCoinbase int
	// KeepFees leaves fees in the treasury's output: there is no room to spend
	// on them (decision 18).
	KeepFees bool
}

// The classes. Their ids stand in coinbases and receipts, so a row is never
// changed or removed, and a new one takes a new id (ADR 0011).
var (
	DefaultClass = Class{ID: 1, Name: "default", MaxCoinbase: 500} // of every agent that no table names
	TinyClass    = Class{ID: 2, Name: "tiny", MaxCoinbase: 255, KeepFees: true}
	MediumClass  = Class{ID: 3, Name: "medium", MaxCoinbase: 2250}
	LargeClass   = Class{ID: 4, Name: "large", MaxCoinbase: 6500}
	HugeClass    = Class{ID: 5, Name: "huge", MaxCoinbase: 16_000}
)

// Classes are all classes, by id.
var Classes = []Class{DefaultClass, TinyClass, MediumClass, LargeClass, HugeClass}

// ClassByID returns the class that a coinbase or a receipt names. ok is false
// for an id that this program does not know.
func ClassByID(id uint8) (c Class, ok bool) {
	i := slices.IndexFunc(Classes, func(c Class) bool { return c.ID == id })
	if i < 0 {
		return Class{}, false
	}
	return Classes[i], true
}

// ClassByName returns the class that a table of firmware names.
func ClassByName(name string) (c Class, ok bool) {
	i := slices.IndexFunc(Classes, func(c Class) bool { return c.Name == name })
	if i < 0 {
		return Class{}, false
	}
	return Classes[i], true
}

// Below returns the largest class of fewer bytes than c, and false where c is
// the default or smaller: nothing steps down from there, for what an unknown
// firmware gets is the least that one is taken to hold.
func (c Class) Below() (Class, bool) {
	var below Class
	for _, o := range Classes {
		if o.MaxCoinbase < c.MaxCoinbase && o.MaxCoinbase >= DefaultClass.MaxCoinbase && o.MaxCoinbase > below.MaxCoinbase {
			below = o
		}
	}
	return below, below.ID != 0
}
