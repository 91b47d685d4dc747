package stratum

import "bytes"

// cutLine splits buf behind its first LF. line is without LF and CR; ok is
// false when buf holds no complete line.
func cutLine(buf []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(buf, '\n')
	if i < 0 {
		return nil, buf, false
	}
	line = buf[:i]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, buf[i+1:], true
}

// isBlank reports a line of nothing but white space, which is skipped.
func isBlank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
