package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"flint/internal/cgroup"
	"flint/internal/guard"
	"flint/internal/network"
	"flint/internal/stage"
	"flint/internal/stdio"
)

const (
	outputTimeout   = 5 * time.Second  // for output after the end; only a descriptor that left the sandbox needs it
	launcherTimeout = 10 * time.Second // for a turn on the launcher's thread
)

// Tree is the life of a process tree in a sandbox, from its first process to its last resource: all of [Sandbox], and
// [PeakResetter]. How it is isolated is the driver's concern, which embeds it in what it has for each sandbox. Two goroutines
// copy its output and one waits for its end; done is closed after all three.
type Tree struct {
	Host *Host
	Spec Spec

	// Set by the driver's start, in this order, as far as it comes.
	Network *network.Network // nil when the sandbox has none of its own
	Group   *cgroup.Group
	Stage   *stage.Stage                             // nil when the host has none
	NoBind  string                                   // why nothing can be mounted into the sandbox, if so
	Open    func(source string) (*stage.Tree, error) // copies what is to be mounted into it
	IO      stdio.Pipes
	First   *guard.Process // inside; its end is the end of all

	parts   Parts
	settled chan struct{} // closed when the start has ended
	done    chan struct{} // closed by wait
	waited  bool          // wait runs, or has run

	starved atomic.Bool // it was ended because it had no memory left

	exit  Exit // final when done is closed
	usage Usage

	mu     sync.Mutex
	bounds []*stage.Bound
	closed bool
	over   sync.Once
	errEnd error
}

// Parts is what a driver has of a sandbox beside its Tree.
type Parts interface {
	// Wait waits for the end of the program.
	Wait()
	// Verdict says how it ended, when all processes are gone and the output is read.
	Verdict() Exit
	// Abort ends what runs of a start that failed.
	Abort()
	// Remove takes away what only the driver knows of. No process is left, but what is mounted still is.
	Remove() error
	// Release gives back what other sandboxes may have from now on.
	Release()
}

// NewTree returns the tree of a spec that has passed [Check] and takes its id. The driver calls Settle when its start has
// ended, and Close if that has failed.
func NewTree(h *Host, spec Spec, p Parts) (*Tree, error) {
	t := &Tree{Host: h, Spec: spec, parts: p, settled: make(chan struct{}), done: make(chan struct{})}
	if err := h.register(t); err != nil {
		return nil, err
	}
	return t, nil
}

// Settle says that the start has ended.
func (t *Tree) Settle() { close(t.settled) }

// Join gets the sandbox its network, if it is to have one.
func (t *Tree) Join(ctx context.Context) (err error) {
	if !t.Spec.Network.Own() {
		return nil
	}
	if err := t.Host.Networks(); err != nil {
		return err
	}
	class := map[Network]network.Class{NetworkNode: network.Node, NetworkInternet: network.Internet, NetworkBuild: network.Build}
	t.Network, err = t.Host.Nets.Take(ctx, class[t.Spec.Network])
	return err
}

// GroupLimits are limits as the control group has them.
func (t *Tree) GroupLimits(l Limits) cgroup.Limits {
	return cgroup.Limits{Memory: l.Memory, Processes: l.Processes + t.Host.Overhead, CPUs: l.CPUs}
}

// Follow starts the goroutines that accompany the sandbox to its end.
func (t *Tree) Follow() {
	t.IO.Copy(t.Spec.Stdout, t.Spec.Stderr)
	t.waited = true
	go t.wait()
}

func (t *Tree) wait() {
	defer close(t.done)
	t.parts.Wait()
	t.end()
	t.IO.Wait(time.Now().Add(outputTimeout))
	t.usage = t.measure()
	t.exit = t.parts.Verdict()
	t.exit.OutOfMemory = t.Group.OutOfMemory() > 0 || t.starved.Load()
}

// end makes sure that all processes are gone.
func (t *Tree) end() {
	if !t.First.End() {
		t.Host.Log.Error("a sandbox does not end", slog.String("sandbox", t.Spec.ID), slog.Int("pid", t.First.Pid))
	}
}

func (t *Tree) measure() Usage {
	return Usage{CPU: t.Group.CPUTime(), PeakMemory: t.Group.PeakMemory()}
}

// Bind mounts source read-only at target, which lies below a mount with Propagate set.
func (t *Tree) Bind(source, target string) (string, error) {
	target = path.Clean(target)
	at := -1
	for i, m := range t.Spec.Mounts {
		if m.Propagate && stage.Within(target, m.Target) {
			at = i // parents come first: the last one is the nearest
		}
	}
	if at < 0 {
		return "", fmt.Errorf("bind %s: no mount of sandbox %s above it propagates", target, t.Spec.ID)
	}
	if t.NoBind != "" {
		return "", fmt.Errorf("bind %s: %w: %s", target, ErrNoBind, t.NoBind)
	}
	tree, err := t.Open(source)
	if err != nil {
		return "", fmt.Errorf("bind %s: %w", target, err)
	}
	rel := "." + strings.TrimPrefix(target, t.Spec.Mounts[at].Target)
	t.mu.Lock()
	defer t.mu.Unlock()
	err = stage.ErrClosed
	if !t.closed {
		err = t.OnLauncher(func() error {
			b, err := t.Stage.Bind(at, path.Clean(rel), tree)
			if err == nil {
				t.bounds = append(t.bounds, b)
			}
			return err
		})
	}
	if err != nil {
		return "", fmt.Errorf("bind %s: %w", target, errors.Join(err, tree.Close()))
	}
	return target, nil
}

// SetLimits changes the limits that the host's control groups hold the tree to.
func (t *Tree) SetLimits(l Limits) error {
	l.Processes = cmp.Or(l.Processes, DefaultProcesses)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return stage.ErrClosed
	}
	if err := t.Group.SetLimits(t.GroupLimits(l)); err != nil {
		return fmt.Errorf("limit sandbox %s: %w", t.Spec.ID, err)
	}
	return nil
}

// OnLauncher runs f on the launcher's thread, whose turn has to come soon.
func (t *Tree) OnLauncher(f func() error) error {
	late := make(chan struct{})
	timer := time.AfterFunc(launcherTimeout, func() { close(late) })
	defer timer.Stop()
	return t.Host.Launcher.Until(late, f)
}

// Stdin returns the program's standard input, or nil.
func (t *Tree) Stdin() io.WriteCloser { return t.IO.Stdin() }

// Done is closed when the tree is gone and its output has been read.
func (t *Tree) Done() <-chan struct{} { return t.done }

// Exit says how the program ended.
func (t *Tree) Exit() Exit {
	<-t.done
	return t.exit
}

// Kill ends the tree.
func (t *Tree) Kill() { t.First.Kill() }

// endStarved ends a tree that thrashes at its memory limit.
func (t *Tree) endStarved(now time.Time) {
	if !t.started() {
		return
	}
	t.mu.Lock()
	starved := !t.closed && t.Group.Thrashing(now)
	t.mu.Unlock()
	if starved && t.starved.CompareAndSwap(false, true) {
		t.Host.Log.Info("a sandbox that thrashed at its memory limit is ended", slog.String("sandbox", t.Spec.ID))
		t.Kill()
	}
}

// started reports whether the start has ended well: what it sets is not to be read before.
func (t *Tree) started() bool {
	select {
	case <-t.settled:
		return t.waited
	default:
		return false
	}
}

// Delay implements [Delayer].
func (t *Tree) Delay() time.Duration { return t.Group.Delay() }

// Usage returns what the tree has used so far.
func (t *Tree) Usage() Usage {
	select {
	case <-t.done:
		return t.usage
	default:
		return t.measure()
	}
}

// ResetPeak lets Usage tell the most memory since now, where control groups can.
func (t *Tree) ResetPeak() bool { return t.Group.ResetPeak() }

// Close ends the tree and gives back what it held.
func (t *Tree) Close() error {
	t.over.Do(func() { t.errEnd = t.release() })
	return t.errEnd
}

func (t *Tree) release() error {
	if t.waited {
		t.Kill()
		<-t.done
	} else { // the start failed
		t.parts.Abort()
		if t.First != nil {
			t.end()
		}
	}
	t.mu.Lock()
	t.closed = true
	bounds := t.bounds
	t.mu.Unlock()
	errs := []error{t.parts.Remove()}
	if t.Stage != nil {
		errs = append(errs, t.OnLauncher(func() error {
			return errors.Join(t.Stage.Unbind(bounds), t.Stage.Clear())
		}))
	}
	t.IO.Close()
	if t.First != nil {
		errs = append(errs, t.First.Close())
	}
	if t.Group != nil {
		t.Group.Kill() // nothing is there, unless a start failed half-way
		errs = append(errs, t.Group.Remove())
	}
	t.parts.Release()
	if t.Network != nil {
		t.Network.Close()
	}
	t.Host.unregister(t.Spec.ID)
	return errors.Join(errs...)
}
