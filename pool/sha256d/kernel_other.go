//go:build purego || !(amd64 || arm64)

package sha256d

// There is no kernel of our own here: nothing below is ever called.
const pairs = false

var start [8]uint32

func kernels() []kernel { return []kernel{stdlib} }

func blocks(*[8]uint32, []byte)                                                   {}
func sum(*[Size]byte, *[8]uint32, []byte, []byte)                                 {}
func sum2(*[2][Size]byte, *[8]uint32, *[8]uint32, []byte, []byte, []byte, []byte) {}
func fold(*[Size]byte, [][Size]byte)                                              {}
func fold2(*[2][Size]byte, [][Size]byte, [][Size]byte)                            {}
func foldLanes(code, *Lanes, [][Size]byte)                                        {}
