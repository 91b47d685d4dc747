package stratum

import (
	"encoding/hex"
	"slices"
	"strconv"
	"sync"

	"cordee/pool"
)

// maxViews bounds the renderings kept for one job. Beyond it they are made
// again each time.
const maxViews = 1 << 13

// sheet is a job rendered for all rigs: what they share once, what differs by
// member and variant once for each.
type sheet struct {
	job     *pool.Job
	size    int             // bytes of its coinbase, without witness
	network pool.Difficulty // power of two at or below the job's network difficulty
	tail    [2][]byte       // from coinb2 on; [1] says clean

	mu    sync.Mutex
	views map[viewKey]*view
}

type viewKey struct {
	member  uint16
	variant uint8
}

// view is what one member's rigs see of a job under one variant.
type view struct {
	work *pool.Work
	head []byte // up to and with coinb1
}

// published is a JobSet with its renderings.
type published struct {
	set    JobSet
	number uint64 // of the Publish
	sheets []*sheet
}

// own returns the job of class, nil where there is none.
func (p *published) own(class pool.Class) *sheet {
	for _, s := range p.sheets {
		if s.job.Class.ID == class.ID {
			return s
		}
	}
	return nil
}

// sheetFor returns the job for rigs of class: their own, or the default's where
// it is not larger than they can hash. Nil is none: they wait for their own.
func (p *published) sheetFor(class pool.Class) *sheet {
	if s := p.own(class); s != nil {
		return s
	}
	if s := p.sheets[0]; s.size <= class.MaxCoinbase {
		return s
	}
	return nil
}

func newSheet(j *pool.Job, scale pool.Scale) *sheet {
	t := j.Template
	b := []byte(`","`)
	b = hex.AppendEncode(b, j.Work(0, 0).Coinb2)
	b = append(b, `",[`...)
	for i := range t.Branches {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = hex.AppendEncode(b, t.Branches[i][:])
		b = append(b, '"')
	}
	b = append(b, `],"`...)
	b = appendHex32(b, t.Version)
	b = append(b, `","`...)
	b = appendHex32(b, t.Bits)
	b = append(b, `","`...)
	b = appendHex32(b, t.CurTime)
	b = append(b, `",`...)
	s := &sheet{job: j, size: j.CoinbaseSize(), views: make(map[viewKey]*view)}
	s.network = pool.NetworkDifficulty(t.BlockTarget, scale).PowerOfTwo()
	s.tail[0] = append(slices.Clip(b), "false]}\n"...)
	s.tail[1] = append(slices.Clip(b), "true]}\n"...)
	return s
}

// view returns the rendering for (member, variant), made once.
func (s *sheet) view(member uint16, variant uint8) *view {
	k := viewKey{member, variant}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.views[k]
	if v == nil {
		v = newView(s.job, member, variant)
		if len(s.views) < maxViews {
			s.views[k] = v
		}
	}
	return v
}

func newView(j *pool.Job, member uint16, variant uint8) *view {
	w := j.Work(member, variant)
	b := make([]byte, 0, 128+64+2*len(w.Coinb1))
	b = append(b, `{"id":null,"method":"mining.notify","params":["`...)
	b = appendWireID(b, j.Counter, variant)
	b = append(b, `","`...)
	b = appendPrevHash(b, j.Template.PrevHash[:])
	b = append(b, `","`...)
	b = hex.AppendEncode(b, w.Coinb1)
	return &view{work: w, head: b}
}

func appendWireID(b []byte, counter uint32, variant uint8) []byte {
	b = appendHex32(b, counter)
	return append(b, hexDigits[variant>>4], hexDigits[variant&15])
}

// appendPrevHash appends the header's bytes with each of the eight words
// reversed, as the field has always sent them.
func appendPrevHash(b, hash []byte) []byte {
	for i := 0; i < 32; i += 4 {
		for k := 3; k >= 0; k-- {
			b = append(b, hexDigits[hash[i+k]>>4], hexDigits[hash[i+k]&15])
		}
	}
	return b
}

const hexDigits = "0123456789abcdef"

// appendHex32 appends v as 8 digits.
func appendHex32(b []byte, v uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

func appendSetDifficulty(b []byte, d pool.Difficulty, scale pool.Scale) []byte {
	b = append(b, `{"id":null,"method":"mining.set_difficulty","params":[`...)
	b = d.AppendText(b, scale)
	return append(b, "]}\n"...)
}

func appendSetMask(b []byte, mask uint32) []byte {
	b = append(b, `{"id":null,"method":"mining.set_version_mask","params":["`...)
	b = appendHex32(b, mask)
	return append(b, "\"]}\n"...)
}

const reconnectLine = `{"id":null,"method":"client.reconnect","params":[]}` + "\n"

// appendResult appends an answer; result is JSON. All three members are always
// there: NerdQAxe and cgminer insist.
func appendResult(b, id []byte, result string) []byte {
	b = append(b, `{"id":`...)
	b = append(b, id...)
	b = append(b, `,"result":`...)
	b = append(b, result...)
	return append(b, `,"error":null}`+"\n"...)
}

// appendError appends a refusal. The third element is null or a string for
// bosminer; text has no quotes.
func appendError(b, id []byte, code int, text string) []byte {
	b = append(b, `{"id":`...)
	b = append(b, id...)
	b = append(b, `,"result":null,"error":[`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"`...)
	b = append(b, text...)
	return append(b, "\",null]}\n"...)
}

func appendReject(b, id []byte, r pool.Reject) []byte {
	return appendError(b, id, r.Code(), r.Text())
}
