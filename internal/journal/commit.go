package journal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// commit is the committer: it turns what is pending into durable frames until
// Close, or until the journal is poisoned.
func (j *Journal) commit() {
	defer close(j.done)
	var last time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		j.mu.Lock()
		for j.wrote == j.appended && j.safe == j.wrote && !j.closing && j.err == nil {
			j.work.Wait()
		}
		stop := j.err != nil || j.closing && j.safe == j.appended
		closing := j.closing
		j.mu.Unlock()
		if stop {
			return
		}
		waited := false
		if gap := j.cfg.MinGap - j.cfg.Now().Sub(last); j.cfg.MinGap > 0 && gap > 0 && !closing {
			j.gather(timer, min(gap, j.cfg.MinGap)) // a clock set back must not stall it
			waited = true
		}
		last = j.cfg.Now()
		j.flush()
		j.sync(waited)
	}
}

// crowdSize is how many records end the wait for the least time between two
// commits: more of them would not make a share much cheaper.
const crowdSize = 64

// gather waits d, or until so many records wait that there is nothing to wait for.
func (j *Journal) gather(timer *time.Timer, d time.Duration) {
	select {
	case <-j.crowd: // of before
	default:
	}
	j.mu.Lock()
	enough := j.appended-j.wrote >= crowdSize || j.closing || j.err != nil
	j.mu.Unlock()
	if enough {
		return
	}
	timer.Reset(d)
	select {
	case <-timer.C:
	case <-j.crowd:
	}
}

// hurry ends a gather.
func (j *Journal) hurry() {
	select {
	case j.crowd <- struct{}{}:
	default:
	}
}

// flush writes what is pending as one frame, unless another goroutine just
// did. Errors poison the journal.
func (j *Journal) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	var rotate bool
	for {
		if j.err != nil || len(j.pending) == prefixSize {
			return
		}
		// Leave 16 bytes of zeros, so that a live segment always ends in an
		// end mark.
		rotate = j.off+int64(padded(len(j.pending)-sha256.Size))+2*align > j.cfg.SegmentSize
		if !j.writing && !(rotate && j.syncing) {
			break
		}
		j.written.Wait()
	}
	j.writing = true
	buf, pos, nextSeq, off, synced := j.pending, j.appended, j.seq+1, j.off, j.synced
	j.pending, j.spare = j.spare[:prefixSize], nil
	j.room.Broadcast()
	j.mu.Unlock()

	var err error
	if rotate {
		err = j.rotate()
		off, synced = headerSize, headerSize
	}
	if err == nil {
		copy(buf, j.chain[:])
		framed := sealFrame(buf[sha256.Size:], j.head.crc, off, uint64(synced)) // in place: there is room for the padding
		buf = buf[:sha256.Size+len(framed)]
		_, err = j.seg.WriteAt(buf[sha256.Size:], off)
		j.chain = sha256.Sum256(buf)
	}

	j.mu.Lock()
	j.writing = false
	j.spare = buf[:0]
	if err != nil {
		j.poison("write "+j.segmentPath(), err)
		return
	}
	j.off = off + int64(len(buf)-sha256.Size)
	if rotate { // all before is durable
		j.synced, j.safe = headerSize, j.wrote
		j.wakeAll()
	}
	if j.off > j.askAt {
		j.ahead.ask()
		j.askAt += j.cfg.SegmentSize / 16 // again, where it failed
	}
	j.wrote, j.nextSeq = pos, nextSeq
	j.stats.Frames++
	j.stats.Bytes += uint64(len(buf) - sha256.Size)
	j.written.Broadcast()
	j.work.Signal()
}

// sync makes durable what was written before it began. Waited says that its
// records did already.
func (j *Journal) sync(waited bool) {
	j.mu.Lock()
	for j.writing && j.err == nil {
		j.written.Wait()
	}
	if j.err != nil || j.safe == j.wrote {
		j.mu.Unlock()
		return
	}
	j.syncing = true
	seg, off, pos, safe := j.seg, j.off, j.wrote, j.safe
	j.syncTo, j.turn = pos, j.turn^1 // who waited for a later one waits for this
	j.mu.Unlock()

	start := time.Now()
	err := datasync(seg, waited || pos-safe >= manyShares)
	took := time.Since(start)

	j.mu.Lock()
	defer j.mu.Unlock()
	j.syncing = false
	j.stats.addSync(took)
	if err != nil {
		j.poison("fdatasync "+j.segmentPath(), err)
		return
	}
	j.synced, j.safe = off, pos
	j.settle()
	j.durable[j.turn].Broadcast()
	j.written.Broadcast() // a rotation may wait for the end of this
}

// manyShares is from how many records on a commit is worth the way beside.
const manyShares = 16

// datasync makes a file durable; beside us, which gives up no thread for it but is
// later, where that is asked for and the file knows how.
func datasync(f File, beside bool) error {
	if b, ok := f.(interface{ DatasyncBeside() error }); ok && beside {
		return b.DatasyncBeside()
	}
	return f.Datasync()
}

// rotate finishes the segment and opens the next. The caller owns writing and
// no fdatasync runs. All frames of the old one are durable before the new one
// exists: a bad frame in an earlier segment is damage, never a torn tail.
func (j *Journal) rotate() error {
	start := time.Now()
	j.mu.Lock()
	durable := j.safe == j.wrote
	j.mu.Unlock()
	if !durable {
		if err := j.seg.Datasync(); err != nil {
			return fmt.Errorf("fdatasync: %w", err)
		}
	}
	old, end := j.seg, j.off
	head := j.head
	head.number++
	head.firstSeq = j.nextSeq
	head.chain = j.chain
	var seg File
	var err error
	next := j.ahead.take()
	if next != nil {
		seg, err = next.begin(j.cfg.FS, j.cfg.Dir, &head)
	} else {
		seg, err = createSegment(j.cfg.FS, j.cfg.Dir, &head, j.cfg.SegmentSize)
	}
	if err != nil {
		return err
	}
	j.ahead.finish(old, end)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seg, j.head = seg, head
	j.off, j.synced = headerSize, headerSize // one place with head, for Durable
	j.askAt = j.cfg.SegmentSize / 4 * 3
	j.stats.addRotation(head.number, next != nil, time.Since(start))
	return nil
}

func (j *Journal) segmentPath() string {
	return filepath.Join(j.cfg.Dir, segmentName(j.head.epoch, j.head.number))
}

// Close commits what is pending, ends the epoch with its sealed record, and
// gives up the directory. Waiting appends get ErrClosed. A poisoned journal
// returns its error and leaves no sealed record.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		<-j.done
		return ErrClosed
	}
	j.closing = true
	j.work.Broadcast()
	j.room.Broadcast()
	j.hurry()
	j.mu.Unlock()
	<-j.done
	j.stopTelling()

	err := j.seal()
	j.ahead.stop()
	j.files.close()
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(err, j.seg.Close(), j.lock.Close())
}

// seal writes the sealed record in a frame of its own and cuts the segment
// behind it. The committer has ended and nothing is pending.
func (j *Journal) seal() error {
	j.mu.Lock()
	if j.err != nil {
		defer j.mu.Unlock()
		return j.err
	}
	rec := Sealed{LastSeq: j.seq, Chain: j.chain}
	var err error
	if j.pending, err = appendRecord(j.pending, rec); err != nil {
		j.mu.Unlock()
		return err
	}
	j.appended++
	j.mu.Unlock()

	j.flush()
	j.sync(false)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	return errors.Join(j.seg.Truncate(closedSize(j.off)), j.seg.Datasync())
}
