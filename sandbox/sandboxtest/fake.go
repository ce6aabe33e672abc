package sandboxtest

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"flint/sandbox"
)

// Fake is a driver whose processes are functions. Set its fields before it is used.
type Fake struct {
	// Run is the process. It returns how the process ended; one that is killed ends with SIGKILL, whatever Run returns,
	// and ctx is what tells it. stdin ends at once when the spec asked for none.
	Run func(ctx context.Context, spec sandbox.Spec, stdin io.Reader) sandbox.Exit
	// StartDelay is how long Start takes.
	StartDelay time.Duration
	// StartError, when set, decides which starts fail.
	StartError func(spec sandbox.Spec) error
	// NoBind makes Bind fail as on a host that cannot mount into a running sandbox.
	NoBind bool

	mu      sync.Mutex
	started []sandbox.Spec
	live    int
}

var _ sandbox.Driver = (*Fake)(nil)

// Start starts Run.
func (f *Fake) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	delay := time.NewTimer(f.StartDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if f.StartError != nil {
		if err := f.StartError(spec); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	f.started = append(f.started, spec)
	f.live++
	f.mu.Unlock()
	s := &fakeSandbox{fake: f, done: make(chan struct{})}
	var life context.Context
	life, s.end = context.WithCancelCause(context.WithoutCancel(ctx))
	var stdin io.Reader = eof{}
	if spec.Stdin {
		r, w := io.Pipe()
		stdin, s.stdin = r, w
		s.hangUp = func() { _ = r.CloseWithError(syscall.EPIPE) }
	}
	go s.run(life, spec, stdin)
	return s, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// Findings says what this is.
func (*Fake) Findings(context.Context) []sandbox.Finding {
	return []sandbox.Finding{{Layer: "sandbox", OK: true, Detail: "functions of a test"}}
}

// Started returns the specs of all sandboxes that were started, in order.
func (f *Fake) Started() []sandbox.Spec {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.started)
}

// Live returns how many sandboxes are not closed.
func (f *Fake) Live() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live
}

var errKilled = errors.New("killed")

type fakeSandbox struct {
	fake   *Fake
	end    context.CancelCauseFunc
	done   chan struct{}
	exit   sandbox.Exit // final when done is closed
	stdin  *io.PipeWriter
	hangUp func()
	once   sync.Once
}

func (s *fakeSandbox) run(ctx context.Context, spec sandbox.Spec, stdin io.Reader) {
	defer close(s.done)
	s.exit = s.fake.Run(ctx, spec, stdin)
	if errors.Is(context.Cause(ctx), errKilled) {
		s.exit = sandbox.Exit{Signal: syscall.SIGKILL, OutOfMemory: s.exit.OutOfMemory}
	}
	s.end(nil)
	if s.hangUp != nil {
		s.hangUp()
	}
}

// Bind returns source: the function sees the host as it is.
func (s *fakeSandbox) Bind(source, _ string) (string, error) {
	if s.fake.NoBind {
		return "", sandbox.ErrNoBind
	}
	return source, nil
}

// SetLimits does nothing.
func (s *fakeSandbox) SetLimits(sandbox.Limits) error { return nil }

// Stdin returns what the function reads, or nil.
func (s *fakeSandbox) Stdin() io.WriteCloser {
	if s.stdin == nil {
		return nil
	}
	return s.stdin
}

// Done is closed when the function has returned.
func (s *fakeSandbox) Done() <-chan struct{} { return s.done }

// Exit says how the function ended.
func (s *fakeSandbox) Exit() sandbox.Exit {
	<-s.done
	return s.exit
}

// Kill cancels the function's context and closes its input.
func (s *fakeSandbox) Kill() {
	s.end(errKilled)
	if s.hangUp != nil {
		s.hangUp()
	}
}

// Usage is unknown.
func (s *fakeSandbox) Usage() sandbox.Usage { return sandbox.Usage{} }

// Close kills the function and waits for it.
func (s *fakeSandbox) Close() error {
	s.Kill()
	<-s.done
	s.once.Do(func() {
		s.fake.mu.Lock()
		s.fake.live--
		s.fake.mu.Unlock()
	})
	return nil
}
