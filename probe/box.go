package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"flint/sandbox"
)

// What a sandbox of the probe does.
const (
	modeVictim    = "victim"
	modeAttack    = "attack"
	modeMemory    = "memory"
	modeProcesses = "processes"
	modeProcessor = "processor"
	modeOrphan    = "orphan"  // what an attacker leaves behind
	modeSleeper   = "sleeper" // one of many processes
)

const (
	maxLine    = 64 << 10         // bytes of a line of the attacker
	maxErrors  = 4 << 10          // bytes that are kept of its complaints
	endTimeout = 20 * time.Second // for a sandbox that has said its last
)

// box is one sandbox of the probe. It is used by one goroutine, beside the one that waits for its end.
type box struct {
	box    sandbox.Sandbox
	out    *io.PipeReader
	lines  chan string
	errs   tail
	wait   sync.WaitGroup
	closed sync.Once
}

// start starts the program in a sandbox like a worker's.
func (p *probe) start(ctx context.Context, mode, exchange string) (*box, error) {
	r, w := io.Pipe()
	b := &box{out: r, lines: make(chan string, 1)}
	spec := sandbox.Spec{
		ID:    "probe-" + mode + "-" + strings.ToLower(p.token),
		Args:  append(append([]string{programTarget}, p.config.Args...), mode, p.token, exchangeTarget),
		Env:   []string{"PATH=/usr/bin:/bin", "HOME=/tmp"},
		Dir:   "/tmp",
		Stdin: true, Stdout: w, Stderr: &b.errs,
		Mounts: []sandbox.Mount{
			{Source: filepath.Join(p.dir, exchange), Target: exchangeTarget, Propagate: true},
			{Source: p.config.Program, Target: programTarget},
		},
		Limits:  sandbox.Limits{Memory: memoryLimit, Processes: processLimit, Files: fileLimit, Tmp: tmpLimit},
		Network: p.config.Network,
	}
	switch mode {
	case modeVictim:
		spec.Env = append(spec.Env, "SECRET="+secretMark+p.token)
	case modeProcessor:
		spec.Limits.CPUs = processorLimit
	}
	var err error
	if b.box, err = p.config.Driver.Start(ctx, spec); err != nil {
		return nil, err
	}
	b.wait.Go(func() { // the output ends with the sandbox
		<-b.box.Done()
		_ = w.Close()
	})
	b.wait.Go(b.read)
	return b, nil
}

// read hands out lines until the output ends or nobody wants them.
func (b *box) read() {
	defer close(b.lines)
	for s := bufio.NewScanner(io.Reader(b.out)); s.Scan(); {
		b.lines <- s.Text()
	}
	_, _ = io.Copy(io.Discard, b.out)
}

var errOver = errors.New("the attacker says nothing more")

// line returns the next line of the program.
func (b *box) line(ctx context.Context) (string, error) {
	select {
	case line, ok := <-b.lines:
		if !ok {
			return "", errOver
		}
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// observe returns the attacker's next observation. One without a name is its last.
func (b *box) observe(ctx context.Context) (o observation, err error) {
	line, err := b.line(ctx)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal([]byte(line), &o); err != nil {
		return o, fmt.Errorf("the attacker wrote %q: %w", line, err)
	}
	return o, nil
}

// tell gives the attacker its plan.
func (b *box) tell(p plan) error {
	line, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = b.box.Stdin().Write(append(line, '\n'))
	return err
}

// answer asks the victim whether it still lives.
func (b *box) answer(ctx context.Context) string {
	if _, err := b.box.Stdin().Write([]byte("\n")); err != nil {
		return "dead"
	}
	o, err := b.observe(ctx)
	if err != nil {
		return "dead"
	}
	return o.Got
}

// ended waits for the end of a sandbox that should come to one.
func (b *box) ended(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	select {
	case <-b.box.Done():
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *box) close() error {
	var err error
	b.closed.Do(func() {
		err = b.box.Close()
		_ = b.out.Close()
		for range b.lines { // so that the reader ends
		}
		b.wait.Wait()
	})
	return err
}

// tail keeps the beginning of what is written to it. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[:min(len(b), maxErrors-len(t.text))]...)
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
