package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a child may take to end after SIGTERM. btcd waits for
// its peers' handlers, bitcoind flushes its chain state.
const stopGrace = 15 * time.Second

// process is a running child. Its exit is collected by a goroutine of its own,
// so no method has to be called for the child not to become a zombie.
type process struct {
	cmd  *exec.Cmd
	tail *tail
	done chan struct{} // closed after the exit was collected
	err  error         // what Wait said; read it only after done
}

// spawn starts cmd with both outputs going to log and to a short memory of the
// last lines.
func spawn(cmd *exec.Cmd, log io.Writer) (*process, error) {
	p := &process{cmd: cmd, tail: &tail{to: log}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.tail, p.tail
	cmd.SysProcAttr = attributes()
	// A grandchild that inherited our pipe must not keep Wait from returning.
	cmd.WaitDelay = time.Second

	started := make(chan error)
	forker() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// forker returns the queue of the one goroutine that starts children. The
// kernel delivers a child's Pdeathsig when the thread that forked it ends, not
// when the process does, and Go ends a thread whenever a goroutine that locked
// it returns. This goroutine locks its thread and never returns.
var forker = sync.OnceValue(func() chan<- func() {
	queue := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range queue {
			start()
		}
	}()
	return queue
})

// alive reports whether the exit has not been collected yet.
func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill sends SIGKILL and waits until the child is gone. A dead child is no error.
func (p *process) kill() error {
	if p.alive() {
		if err := p.cmd.Process.Kill(); err != nil && p.alive() {
			return fmt.Errorf("kill %s: %w", p.cmd.Path, err)
		}
	}
	<-p.done
	return nil
}

// errKilled says that a child had to be killed.
var errKilled = errors.New("it did not end after SIGTERM and was killed")

// stop sends SIGTERM, waits for the end, and kills the child when ctx is done
// or the grace is over.
func (p *process) stop(ctx context.Context) error {
	if !p.alive() {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has just ended
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	case <-grace.C:
	}
	if err := p.kill(); err != nil {
		return err
	}
	return fmt.Errorf("stop %s: %w", p.cmd.Path, errKilled)
}

// await calls ready every few milliseconds until it returns nil. It gives up
// when the child ends, when ctx is done or after the timeout; the error then
// holds ready's last complaint and the tail of the child's log.
func (p *process) await(ctx context.Context, timeout time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for {
		last := ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended %v after its start (%v); its last words:\n%s",
				p.cmd.Path, time.Since(began).Round(time.Millisecond), p.cmd.ProcessState, p.tail)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %w (%w); its last words:\n%s",
				p.cmd.Path, time.Since(began).Round(time.Millisecond), last, ctx.Err(), p.tail)
		case <-tick.C:
		}
	}
}

// tail passes bytes on and remembers the last of them. Safe for concurrent use.
type tail struct {
	to io.Writer

	mu   sync.Mutex
	last []byte
}

// tailBytes is how much of a child's log an error message shows.
const tailBytes = 3000

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	t.last = append(t.last, b...)
	if over := len(t.last) - tailBytes; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	t.mu.Unlock()
	// A log that cannot be written must not stop the child, which an error
	// would do by closing the pipe under it.
	_, _ = t.to.Write(b)
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) == 0 {
		return "(it wrote nothing)"
	}
	return string(t.last)
}
