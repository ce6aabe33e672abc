package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"flint"
	"flint/internal/archive"
	"flint/runtimes"
	"flint/store"
)

// job is one build on its way.
type job struct {
	builder    *Builder
	deployment *flint.Deployment
	attempt    int64
	function   *flint.Function
	runtime    *runtimes.Runtime
	log        *liveLog
	dir        string // scratch
}

// run takes a claimed build to its end. stopping ends when the node does.
func (b *Builder) run(stopping context.Context, d *flint.Deployment, attempt int64) {
	begun := time.Now()
	write := context.WithoutCancel(stopping)
	ctx, stop := context.WithCancelCause(stopping)
	ctx, cancel := context.WithTimeoutCause(ctx, b.config.Timeout, fmt.Errorf("it took longer than %s", b.config.Timeout))
	defer cancel()
	defer stop(nil)
	b.mu.Lock()
	b.running[d.ID] = stop
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.running, d.ID)
		b.mu.Unlock()
	}()

	j := &job{builder: b, deployment: d, attempt: attempt, dir: filepath.Join(b.config.WorkDir, fmt.Sprintf("%s-%d", d.ID, attempt))}
	j.log = newLiveLog(func(text string) error { return b.config.Store.AppendBuildLog(write, d.ID, attempt, text) }, func() { b.grown(d) })
	b.grown(d) // it is building now
	var helpers sync.WaitGroup
	helpers.Go(func() { b.keepLease(ctx, stop, d.ID, attempt) })
	digest, size, err := j.build(ctx)
	cause := context.Cause(ctx)
	stop(nil)
	helpers.Wait()
	logErr := j.log.close()
	if rmErr := os.RemoveAll(j.dir); rmErr != nil {
		b.config.Logger.WarnContext(ctx, "build left something behind", errAttr(rmErr))
	}
	if errors.Is(cause, errCanceled) || errors.Is(cause, errLost) {
		return // the row is settled, or somebody else's
	}
	if err != nil && stopping.Err() != nil {
		if err := b.config.Store.ReleaseBuild(write, d.ID, attempt); err != nil {
			b.config.Logger.ErrorContext(ctx, "build not handed back", slog.String("deployment_id", string(d.ID)), errAttr(err))
		}
		return
	}
	b.finish(write, j, begun, digest, size, errors.Join(err, logErr), cause)
}

func (b *Builder) grown(d *flint.Deployment) {
	if b.config.Grown != nil {
		b.config.Grown(d)
	}
}

// finish writes how a build ended into its row.
func (b *Builder) finish(ctx context.Context, j *job, begun time.Time, digest string, size int64, err, cause error) {
	took := time.Since(begun)
	outcome := store.BuildOutcome{Status: flint.DeploymentReady, Digest: digest, Size: size, Duration: max(1, int((took+time.Second-1)/time.Second))}
	switch {
	case err == nil:
		outcome.Log = trailer("Deployment finished.")
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cause):
		outcome.Status, outcome.Log = flint.DeploymentFailed, trailer("Build failed: "+cause.Error()+".")
	default:
		outcome.Status, outcome.Log = flint.DeploymentFailed, trailer(sentence(err))
	}
	current, storeErr := b.config.Store.FinishBuild(ctx, j.deployment.ID, j.attempt, outcome)
	if storeErr != nil {
		b.config.Logger.ErrorContext(ctx, "build not recorded", slog.String("deployment_id", string(j.deployment.ID)), errAttr(storeErr))
		return
	}
	if !current && digest != "" {
		if err := b.Collect(ctx, digest); err != nil {
			b.config.Logger.WarnContext(ctx, "package of a lost build stays", errAttr(err))
		}
	}
	b.metrics.builds.WithLabelValues(j.deployment.Runtime, string(outcome.Status)).Inc()
	b.config.Logger.InfoContext(ctx, "build", slog.String("project_id", string(j.deployment.Project)), slog.String("function_id", string(j.deployment.Function)),
		slog.String("deployment_id", string(j.deployment.ID)), slog.String("runtime", j.deployment.Runtime),
		slog.String("status", string(outcome.Status)), slog.Duration("dur", took))
	if outcome.Status == flint.DeploymentReady && b.config.Built != nil {
		b.config.Built(j.runtime)
	}
}

// sentence words a failure for the author of the function. What is not meant for them is the operator's.
func sentence(err error) string {
	if failure, ok := errors.AsType[*failure](err); ok {
		return failure.text
	}
	if refused, ok := errors.AsType[*archive.Refused](err); ok {
		return "The archive was refused: " + refused.Error() + "."
	}
	if errors.Is(err, archive.ErrMalformed) {
		return "The uploaded file is not a gzip-compressed tar archive. Upload a code.tar.gz with the function's files at its root."
	}
	return "Build failed because of an error of the platform: " + err.Error() + "."
}

// failure is an end of a build that its author can do something about.
type failure struct{ text string }

func (f *failure) Error() string { return f.text }

// keepLease says at intervals that the build still runs, and stops it when it was canceled or taken over.
func (b *Builder) keepLease(ctx context.Context, stop context.CancelCauseFunc, id flint.DeploymentID, attempt int64) {
	tick := time.NewTicker(min(b.config.Lease/3, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			canceled, err := b.config.Store.ExtendBuild(ctx, id, attempt, b.config.Lease)
			if err != nil && ctx.Err() == nil {
				b.config.Logger.ErrorContext(ctx, "lease not extended", slog.String("deployment_id", string(id)), errAttr(err))
			}
			if canceled {
				stop(errLost)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// build stages, runs and packs.
func (j *job) build(ctx context.Context) (digest string, size int64, err error) {
	b := j.builder
	if j.function, err = b.config.Store.Function(ctx, j.deployment.Project, j.deployment.Function); err != nil {
		return "", 0, err
	}
	rt, ok, err := b.config.Runtimes.Lookup(ctx, j.deployment.Runtime)
	if err != nil {
		return "", 0, err
	}
	if !ok || rt.Toolchain == nil {
		hint := "it is not in this server's table"
		if ok {
			hint = rt.Hint
		}
		return "", 0, &failure{fmt.Sprintf("The runtime %q is not available on this node: %s.", j.deployment.Runtime, hint)}
	}
	j.runtime = rt
	work := filepath.Join(j.dir, "work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", 0, err
	}
	if err := j.stage(ctx, work); err != nil {
		return "", 0, err
	}
	variables, err := b.config.Store.AllVariables(ctx, j.deployment.Project, j.deployment.Function)
	if err != nil {
		return "", 0, err
	}
	env := j.environment(variables)
	if err := j.execute(ctx, work, env); err != nil {
		return "", 0, err
	}
	return j.pack(ctx, work, env["OPEN_RUNTIMES_OUTPUT_DIRECTORY"])
}

// stage unpacks the source.
func (j *job) stage(ctx context.Context, work string) error {
	r, _, err := j.builder.config.Blobs.Get(ctx, j.deployment.SourceDigest)
	if err != nil {
		return fmt.Errorf("source %s: %w", j.deployment.SourceDigest, err)
	}
	defer r.Close()
	_, err = archive.Unpack(ctx, r, work, j.builder.sourceLimits())
	return err
}

// pack stores what the build left.
func (j *job) pack(ctx context.Context, work, output string) (digest string, size int64, err error) {
	if output != "" {
		root, err := os.OpenRoot(work)
		if err != nil {
			return "", 0, err
		}
		defer root.Close()
		if s, err := root.Stat(output); err != nil || !s.IsDir() {
			return "", 0, &failure{"Error: No build output found. Ensure your output directory isn't empty."}
		}
		if work, err = filepath.EvalSymlinks(filepath.Join(work, output)); err != nil {
			return "", 0, err
		}
	}
	b := j.builder
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() { // ends when the pipe is closed, below
		_, err := archive.Pack(ctx, w, work)
		w.CloseWithError(err)
		packed <- err
	}()
	limited := &io.LimitedReader{R: r, N: b.config.MaxOutput + 1}
	digest, size, err = b.config.Blobs.Put(ctx, limited)
	r.CloseWithError(io.ErrClosedPipe)
	packErr := <-packed
	if err != nil {
		return "", 0, err
	}
	if size > b.config.MaxOutput {
		err = &failure{fmt.Sprintf("Build size should be less than %.2f MBs.", float64(b.config.MaxOutput)/1e6)}
		return "", 0, errors.Join(err, b.Collect(context.WithoutCancel(ctx), digest))
	}
	return digest, size, packErr
}

// liveLog passes a log on while it is written: at most a few times a second, so that a chatty build does not become a
// transaction per line.
type liveLog struct {
	mu      sync.Mutex
	pending bytes.Buffer
	err     error
	save    func(string) error
	saved   func()        // called after a tick in which something was saved
	full    chan struct{} // capacity 1: do not wait for the tick
	stop    chan struct{}
	done    sync.WaitGroup
}

const (
	logInterval = 250 * time.Millisecond
	logPiece    = 64 << 10
)

func newLiveLog(save func(string) error, saved func()) *liveLog {
	l := &liveLog{save: save, saved: saved, full: make(chan struct{}, 1), stop: make(chan struct{})}
	l.done.Go(l.run)
	return l
}

func (l *liveLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending.Write(p)
	if over := l.pending.Len() - flint.MaxBuildLog; over > 0 {
		l.pending.Next(over) // nobody will see it
	}
	if l.pending.Len() > logPiece {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

func (l *liveLog) run() {
	tick := time.NewTicker(logInterval)
	defer tick.Stop()
	grown := false
	for {
		ticked := false
		select {
		case <-tick.C:
			ticked = true
		case <-l.full:
		case <-l.stop:
			l.flush()
			return
		}
		grown = l.flush() || grown
		if ticked && grown { // not after every piece of a log that pours
			l.saved()
			grown = false
		}
	}
}

// flush saves what is there and reports whether there was anything.
func (l *liveLog) flush() bool {
	l.mu.Lock()
	text := l.pending.String()
	l.pending.Reset()
	l.mu.Unlock()
	if text == "" {
		return false
	}
	if err := l.save(text); err != nil {
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
	}
	return true
}

// close writes what is left and returns the last error, if any.
func (l *liveLog) close() error {
	close(l.stop)
	l.done.Wait()
	return l.err
}
