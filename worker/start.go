package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"

	"flint"
	"flint/internal/frame"
	"flint/runtimes"
	"flint/sandbox"
)

func errAttr(err error) slog.Attr    { return slog.String("err", err.Error()) }
func workerAttr(id string) slog.Attr { return slog.String("worker_id", id) }

// open makes the exchange directory of a new worker and the socket in it. The directory is all that the sandbox and the
// node share: the socket is in it, and the package is mounted into it.
func (p *Pool) open() (w *worker, listener *net.UnixListener, err error) {
	w = &worker{
		pool: p, id: flint.NewID(), calls: map[uint32]*call{}, output: tail{max: maxWorkerOutput},
		blocked: make(chan struct{}, 1), control: make(chan controlFrame, 2), dead: make(chan struct{}),
	}
	w.dir = filepath.Join(p.config.RunDir, w.id)
	if err := os.MkdirAll(filepath.Join(w.dir, path.Base(runtimes.CodeDir)), 0o755); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			removeExchange(w.dir, p.config.Logger)
		}
	}()
	// The length of a socket's path is limited to about a hundred characters; that of the data directory is not.
	dir, err := os.Open(w.dir)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), runtimes.SocketName), Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	listener.SetUnlinkOnClose(false) // by then the path means another directory
	if err := os.Chmod(filepath.Join(w.dir, runtimes.SocketName), 0o666); err != nil {
		listener.Close()
		return nil, nil, err
	}
	return w, listener, nil
}

func removeExchange(dir string, logger *slog.Logger) {
	// Never recursive: should the package still be mounted below, its files stay.
	for _, name := range []string{filepath.Join(dir, runtimes.SocketName), filepath.Join(dir, path.Base(runtimes.CodeDir)), dir} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			logger.Warn("exchange directory stays", errAttr(err))
		}
	}
}

// spec describes the sandbox of a worker of a language.
func (p *Pool) spec(w *worker, rt *runtimes.Runtime, size flint.Specification) sandbox.Spec {
	adapter := p.config.Files.Adapter(rt.Language)
	s := sandbox.Spec{
		ID:  w.id,
		Dir: runtimes.ServerDir,
		Env: []string{
			"PATH=" + strings.Join(append(append([]string(nil), rt.Toolchain.Path...), "/usr/local/bin", "/usr/bin", "/bin"), ":"),
			"HOME=/tmp", "LANG=C.UTF-8",
			"FLINT_SOCKET=" + runtimes.ExchangeDir + "/" + runtimes.SocketName,
		},
		Mounts: []sandbox.Mount{
			{Source: w.dir, Target: runtimes.ExchangeDir, Propagate: true},
			{Source: adapter, Target: runtimes.AdapterDir},
		},
		Stdout: w, Stderr: w,
		Limits:  limits(size),
		Network: p.config.Network,
	}
	if rt.Language.Worker.Exec != "" {
		s.Args, s.Stdin = []string{"/bin/sh"}, true
		return s
	}
	for _, t := range rt.Toolchain.Trees {
		s.Mounts = append(s.Mounts, sandbox.Mount{Source: t.Source, Target: t.Target})
	}
	expand := strings.NewReplacer("{executable}", rt.Toolchain.Executable, "{adapter}", runtimes.AdapterDir)
	for _, arg := range rt.Language.Worker.Command {
		s.Args = append(s.Args, expand.Replace(arg))
	}
	return s
}

func limits(size flint.Specification) sandbox.Limits {
	if size.CPUs >= float64(runtime.NumCPU()) {
		size.CPUs = 0 // a quota that can hold nobody back only costs
	}
	return sandbox.Limits{CPUs: size.CPUs, Memory: int64(size.Memory) << 20, Processes: 512, Tmp: 512 << 20}
}

// stem starts a worker without code. For compiled languages it is a shell that waits; its listener is returned too,
// because the program that it becomes has not connected yet.
func (p *Pool) stem(ctx context.Context, rt *runtimes.Runtime, size flint.Specification) (*stem, error) {
	w, listener, err := p.open()
	if err != nil {
		return nil, err
	}
	s, err := p.launch(ctx, w, listener, rt, p.spec(w, rt, size))
	if err != nil {
		return nil, err
	}
	s.size = size
	return s, nil
}

// launch starts the sandbox and, for languages with an adapter of their own, waits for its hello.
func (p *Pool) launch(ctx context.Context, w *worker, listener *net.UnixListener, rt *runtimes.Runtime, spec sandbox.Spec) (*stem, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.StartTimeout)
	defer cancel()
	var err error
	if w.box, err = p.config.Driver.Start(ctx, spec); err != nil {
		listener.Close()
		removeExchange(w.dir, p.config.Logger)
		return nil, err
	}
	s := &stem{worker: w, listener: listener}
	if rt.Language.Worker.Exec != "" {
		return s, nil
	}
	if err := s.connect(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// stem is a worker that may get any function of its runtime.
type stem struct {
	worker   *worker
	listener *net.UnixListener // nil once the adapter has connected
	size     flint.Specification
}

// connect waits for the adapter to connect and to say hello.
func (s *stem) connect(ctx context.Context) error {
	w, listener := s.worker, s.listener
	giveUp := func() { _ = listener.SetDeadline(time.Unix(1, 0)) }
	defer context.AfterFunc(ctx, giveUp)()
	gone, connected := context.WithCancel(ctx)
	defer connected()
	go func() { // ends with this call
		select {
		case <-w.box.Done():
			giveUp()
		case <-gone.Done():
		}
	}()
	conn, err := listener.AcceptUnix()
	listener.Close()
	s.listener = nil
	if err != nil {
		select {
		case <-w.box.Done():
			return &EndedError{Exit: w.box.Exit(), Output: string(w.lastOutput())}
		default:
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the adapter did not connect: %w", context.Cause(ctx))
		}
		return err
	}
	_ = os.Remove(filepath.Join(w.dir, runtimes.SocketName)) // user code has no business with it
	if err := w.attach(conn); err != nil {
		conn.Close()
		return err
	}
	payload, err := w.expect(ctx, frame.Hello)
	if err != nil {
		return err
	}
	var hello struct {
		Protocol int `json:"protocol"`
	}
	if err := json.Unmarshal(payload, &hello); err != nil || hello.Protocol != 1 {
		return fmt.Errorf("the adapter speaks protocol %d, not 1 (%w)", hello.Protocol, errors.Join(err, frame.ErrMalformed))
	}
	return nil
}

func (w *worker) lastOutput() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]byte(nil), w.output.bytes()...)
}

// expect waits for a control frame of the worker.
func (w *worker) expect(ctx context.Context, want frame.Type) ([]byte, error) {
	select {
	case f := <-w.control:
		switch f.typ { //nolint:exhaustive // the others are not expected
		case want:
			return f.payload, nil
		case frame.Failed:
			var failed struct {
				Message string `json:"message"`
			}
			_ = json.Unmarshal(f.payload, &failed) // an unreadable reason is no reason
			return nil, fmt.Errorf("the adapter failed: %s", failed.Message)
		}
		return nil, fmt.Errorf("%w: type %d instead of %d", frame.ErrMalformed, f.typ, want)
	case <-w.dead:
		return nil, w.ended
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// close ends a stem, whether its adapter has connected or not.
func (s *stem) close() {
	if s.listener != nil {
		s.listener.Close()
	}
	if s.worker.conn == nil {
		s.worker.box.Kill()
		<-s.worker.box.Done()
	}
	s.worker.close()
}

func (s *stem) alive() bool {
	select {
	case <-s.worker.box.Done():
		return false
	default:
		return true
	}
}

// start makes a ready worker for a target: a stem that gets its code, or a sandbox of its own where a stem will not do.
func (p *Pool) start(ctx context.Context, t *Target) (w *worker, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.config.StartTimeout, fmt.Errorf("it was not ready within %s", p.config.StartTimeout))
	defer cancel()
	dir, release, err := p.packages.use(ctx, t.Digest)
	if err != nil {
		return nil, fmt.Errorf("package of deployment %s: %w", t.Deployment, err)
	}
	var s *stem
	defer func() {
		if err != nil {
			if s != nil {
				s.close()
			}
			release()
		}
	}()
	env, code := t.Env, runtimes.CodeDir
	dedicated := t.Runtime.Language.Worker.NeedsDedicated(t.Env)
	if !dedicated {
		if s, err = p.stems.take(ctx, t.Runtime, t.Size); err != nil {
			return nil, err
		}
		code, err = s.worker.box.Bind(dir, runtimes.CodeDir)
		if errors.Is(err, sandbox.ErrNoBind) {
			s.close()
			s, dedicated = nil, true
		} else if err != nil {
			return nil, err
		}
	}
	if dedicated {
		if s, err = p.dedicated(ctx, t, dir); err != nil {
			return nil, err
		}
		env, code = nil, runtimes.CodeDir
	} else if s.size != t.Size {
		if err := s.worker.box.SetLimits(limits(t.Size)); err != nil {
			return nil, err
		}
	}
	w = s.worker
	if t.Runtime.Language.Worker.Exec != "" {
		if err := s.exec(ctx, t, code); err != nil {
			return nil, err
		}
		env = nil
	}
	if err := w.load(ctx, t, code, env); err != nil {
		return nil, err
	}
	w.onEnd = release
	return w, nil
}

// dedicated starts a sandbox that has the package and the variables from its first moment.
func (p *Pool) dedicated(ctx context.Context, t *Target, dir string) (*stem, error) {
	w, listener, err := p.open()
	if err != nil {
		return nil, err
	}
	spec := p.spec(w, t.Runtime, t.Size)
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: dir, Target: runtimes.CodeDir})
	for name, value := range t.Env {
		spec.Env = append(spec.Env, name+"="+value)
	}
	return p.launch(ctx, w, listener, t.Runtime, spec)
}

// exec turns the shell of a compiled language's stem into the built program.
func (s *stem) exec(ctx context.Context, t *Target, code string) error {
	stdin := s.worker.box.Stdin()
	script := execScript(t.Env, path.Join(code, t.Runtime.Language.Worker.Exec))
	if _, err := stdin.Write([]byte(script)); err != nil {
		return fmt.Errorf("start the program: %w", err)
	}
	return s.connect(ctx)
}

// execScript exports the environment and becomes the program. Names that a shell cannot export go through env(1).
func execScript(env map[string]string, program string) string {
	var b, odd strings.Builder
	names := make([]string, 0, len(env))
	for name := range env {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if shellName(name) {
			fmt.Fprintf(&b, "export %s=%s\n", name, shellQuote(env[name]))
		} else if name != "" && !strings.ContainsAny(name, "=\x00") {
			fmt.Fprintf(&odd, " %s", shellQuote(name+"="+env[name]))
		}
	}
	if odd.Len() > 0 {
		fmt.Fprintf(&b, "exec env%s %s </dev/null\n", odd.String(), shellQuote(program))
	} else {
		fmt.Fprintf(&b, "exec %s </dev/null\n", shellQuote(program))
	}
	return b.String()
}

func shellName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || i > 0 && '0' <= c && c <= '9') {
			return false
		}
	}
	return s != ""
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), "'", `'\''`) + "'"
}

// load gives the adapter its function and waits until it is ready.
func (w *worker) load(ctx context.Context, t *Target, code string, env map[string]string) error {
	if env == nil {
		env = map[string]string{}
	}
	payload, err := json.Marshal(map[string]any{"code": code, "entrypoint": t.Entrypoint, "env": env})
	if err != nil {
		return err
	}
	if len(payload) > frame.MaxPayload {
		return fmt.Errorf("the variables of the function are %d bytes long together; %d are possible", len(payload), frame.MaxPayload)
	}
	w.send(func(b []byte) []byte { return frame.Append(b, frame.Load, 0, 0, payload) })
	answer, err := w.expect(ctx, frame.Ready)
	if err != nil {
		return err
	}
	var ready struct {
		Concurrency int `json:"concurrency"`
	}
	if err := json.Unmarshal(answer, &ready); err != nil {
		return fmt.Errorf("%w: ready: %w", frame.ErrMalformed, err)
	}
	if w.concurrency = ready.Concurrency; w.concurrency < 1 {
		w.concurrency = t.Runtime.Language.Worker.Concurrency
	}
	return nil
}
