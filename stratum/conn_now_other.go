//go:build !linux

package stratum

import "golang.org/x/sys/unix"

func readNow(fd uintptr, b []byte) (int, error) {
	return ignoringEINTR(func() (int, error) { return unix.Read(int(fd), b) })
}

func writeNow(fd uintptr, b []byte) (int, error) {
	return ignoringEINTR(func() (int, error) { return unix.Write(int(fd), b) })
}
