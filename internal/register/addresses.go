package register

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cordee/pool"
)

// addressesFile keeps which address has which index, a line each, for ever:
//
//	cordee addresses 1 regtest
//	1 1 bcrt1q... 0 5d20a1c4
//	2 7 bcrt1p... 1 09be77f0
//
// being the line's number, index, address, the number of lines that were known
// durable when it was written, and the CRC32C of what stands before it. The
// fourth is what tells a torn end from damage: a bad line is cut where no later
// one says that it was durable, and refused where one does.
type addressesFile struct {
	path    string
	network string
	file    *os.File // to append to; nil before the first append
	lines   int
	end     int64 // behind the last good line
}

const (
	addressesHead = "cordee addresses 1 "
	maxLine       = 120 // bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrAddresses reports a file of addresses that cannot be used.
var ErrAddresses = errors.New("the file of addresses cannot be used")

// binding is one line.
type binding struct {
	index   uint16
	address string
}

func (f *addressesFile) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", f.path, fmt.Sprintf(format, args...), ErrAddresses)
}

// readAddresses reads the file at path; one that is not there is empty. It
// changes nothing, also beside a running pool.
func readAddresses(path, network string) (*addressesFile, []binding, error) {
	f := &addressesFile{path: path, network: network}
	data, err := os.ReadFile(path) // #nosec G304 -- in the operator's data_dir
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	head, rest, _ := bytes.Cut(data, []byte("\n"))
	if string(head) != addressesHead+network {
		return nil, nil, f.errorf("it begins with %.60q, not with %q: it is of another network or program", head, addressesHead+network)
	}
	f.end = int64(len(head)) + 1
	var list []binding
	for len(rest) > 0 {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		b, number, _, ok := parseLine(string(line))
		if !whole || !ok || number != f.lines+1 {
			break
		}
		list = append(list, b)
		f.lines, f.end, rest = number, f.end+int64(len(line))+1, after
	}
	for line := range strings.Lines(string(rest)) {
		line = strings.TrimSuffix(line, "\n")
		for from := max(0, len(line)-maxLine); from < len(line); from++ { // what ended the line before it may be what is damaged
			if _, number, durable, ok := parseLine(line[from:]); ok && durable > f.lines {
				return nil, nil, f.errorf("line %d is damaged, and line %d says that it was good: restore it from a backup", f.lines+2, number+1)
			}
		}
	}
	return f, list, nil
}

// parseLine reads a line that its checksum proves.
func parseLine(line string) (b binding, number, durable int, ok bool) {
	at := strings.LastIndexByte(line, ' ')
	if at < 0 || fmt.Sprintf("%08x", crc32.Checksum([]byte(line[:at]), castagnoli)) != line[at+1:] {
		return b, 0, 0, false
	}
	fields := strings.Split(line[:at], " ")
	if len(fields) != 4 {
		return b, 0, 0, false
	}
	number, err1 := strconv.Atoi(fields[0])
	index, err2 := strconv.ParseUint(fields[1], 10, 16)
	durable, err3 := strconv.Atoi(fields[3])
	return binding{uint16(index), fields[2]}, number, durable, errors.Join(err1, err2, err3) == nil
}

// append writes lines behind the last good one, and returns when they are
// durable. After an error nothing is known of the file's end.
func (f *addressesFile) append(list []binding) error {
	if err := f.open(); err != nil {
		return err
	}
	var text []byte
	for i, b := range list {
		start := len(text)
		text = fmt.Appendf(text, "%d %d %s %d", f.lines+1+i, b.index, b.address, f.lines)
		text = fmt.Appendf(text, " %08x\n", crc32.Checksum(text[start:], castagnoli))
	}
	if _, err := f.file.WriteAt(text, f.end); err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	f.lines, f.end = f.lines+len(list), f.end+int64(len(text))
	return nil
}

// open makes the file where it is missing, whole or not at all, and cuts a torn
// end.
func (f *addressesFile) open() (err error) {
	if f.file != nil {
		return nil
	}
	if f.end == 0 {
		if err := f.create(); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(f.path, os.O_RDWR, 0o600) // #nosec G304 -- likewise
	if err != nil {
		return err
	}
	if err := errors.Join(file.Truncate(f.end), file.Sync()); err != nil {
		return errors.Join(err, file.Close())
	}
	f.file = file
	return nil
}

func (f *addressesFile) create() error {
	head := addressesHead + f.network + "\n"
	tmp := f.path + ".tmp"
	file, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // #nosec G304 -- likewise
	if err != nil {
		return err
	}
	_, err = file.WriteString(head)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, f.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	f.end = int64(len(head))
	return errors.Join(dir.Sync(), dir.Close())
}

// members returns the members that list names, in its order. No index and
// no address may stand twice.
func (f *addressesFile) members(list []binding, n *pool.Network) ([]Member, error) {
	out := make([]Member, 0, len(list))
	indexes, addresses := map[uint16]int{}, map[string]int{}
	for i, b := range list {
		script, err := n.Script(b.address)
		if err != nil || n.Address(script) != b.address || b.index == 0 {
			return nil, f.errorf("line %d: index %d and address %q cannot be", i+2, b.index, b.address)
		}
		if j, ok := indexes[b.index]; ok {
			return nil, f.errorf("line %d: index %d is that of line %d already", i+2, b.index, j+2)
		}
		if j, ok := addresses[b.address]; ok {
			return nil, f.errorf("line %d: the address is that of line %d already", i+2, j+2)
		}
		indexes[b.index], addresses[b.address] = i, i
		out = append(out, addressMember(b, script))
	}
	return out, nil
}
