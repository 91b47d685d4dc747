//go:build !linux

package stratum

// Only Linux has a watch: elsewhere each connection keeps its goroutine.
type (
	watch  struct{}
	socket struct{}
)

func newWatch() (*watch, error) { return nil, nil }

func (*watch) run()  {}
func (*watch) stop() {}

func (*session) rest() bool   { return false }
func (*session) goOn(*socket) {}
