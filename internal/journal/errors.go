package journal

import (
	"errors"
	"fmt"
)

// Errors of the journal, wrapped with what was seen and what to do.
var (
	// ErrPoisoned is given for ever after a failed write or fdatasync: what
	// reached the disk is unknown, so nothing more is acknowledged. A restart
	// (a new epoch) reads back what did.
	ErrPoisoned = errors.New("journal is poisoned by an I/O error")
	// ErrDiskFull is the poison of a full disk. Free space and restart.
	ErrDiskFull = errors.New("journal disk is full")
	// ErrFull says that an append would have to wait for the disk.
	ErrFull = errors.New("journal has no room before its next commit")
	// ErrClosed is given after Close.
	ErrClosed = errors.New("journal is closed")
	// ErrTooLarge reports records that do not fit one frame, or a body above
	// 65535 bytes.
	ErrTooLarge = errors.New("journal record is too large")
	// ErrReserved reports a record that only the journal itself writes.
	ErrReserved = errors.New("journal record is written by the journal alone")
	// ErrTooManyRigs reports the bound of rig names in one epoch.
	ErrTooManyRigs = errors.New("too many rig names in this epoch")
	// ErrLocked reports a directory that another process writes to.
	ErrLocked = errors.New("journal directory is in use")
	// ErrForeign reports a directory of another edge, prefix or chain.
	ErrForeign = errors.New("journal directory belongs to another edge or chain")
	// ErrNewer reports bytes of a later version. Nothing was changed: use the
	// newer program.
	ErrNewer = errors.New("journal was written by a newer program")
	// ErrDamaged is matched by every DamageError.
	ErrDamaged = errors.New("journal is damaged")
	// ErrNoTemplate reports a template that is not stored.
	ErrNoTemplate = errors.New("template is not stored")
	// ErrBadFile reports a template or candidate file that does not hold.
	ErrBadFile = errors.New("file is damaged")
	// ErrRecord reports a record body that does not decode.
	ErrRecord = errors.New("journal record is malformed")
)

// DamageError names bytes that should be whole and are not.
type DamageError struct {
	File     string
	From, To int64  // bytes [From, To) of File
	Why      string // what does not hold
	// FirstSeq to LastSeq are the shares known to be missing, 0 where that
	// cannot be told.
	FirstSeq, LastSeq uint64
}

// Error says where and what.
func (e *DamageError) Error() string {
	s := fmt.Sprintf("%s: bytes %d to %d: %s", e.File, e.From, e.To, e.Why)
	if e.FirstSeq != 0 {
		s += fmt.Sprintf(" (shares %d to %d)", e.FirstSeq, e.LastSeq)
	}
	return s
}

// Is makes every DamageError match ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }
