package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"flint/internal/cgroup"
	"flint/internal/guard"
	"flint/internal/network"
	"flint/internal/stage"
)

// Host is what drivers that run processes in namespaces of Linux have in common: what they hold of the host for all
// sandboxes, and the sandboxes that live. A driver embeds it, sets its fields and closes what is in them.
type Host struct {
	Log      *slog.Logger
	Groups   *cgroup.Manager
	Launcher *stage.Launcher
	Guard    *guard.Guard // nil when the kernel ends the sandboxes with this process
	// Overhead are the processes of a sandbox that are the driver's. They are not counted against its limit.
	Overhead int
	Nets     Networks // nil when sandboxes have no network of their own
	NoNets   string   // why

	tries  atomic.Uint64 // sandboxes that Try ran
	mu     sync.Mutex
	closed bool
	live   map[string]*Tree
	ending chan struct{}  // closed by End; nil until the first sandbox
	watch  sync.WaitGroup // look, which runs from then to then
}

const (
	lookEvery  = time.Second            // at sandboxes at their memory limit
	weighEvery = 100 * time.Millisecond // at those that compute
)

// Networks makes the networks that sandboxes have to themselves.
type Networks interface {
	Take(ctx context.Context, class network.Class) (*network.Network, error)
	Describe() (detail string, good bool)
	Close() error
}

// Networks says why sandboxes have no network of their own, or returns nil when they can have one.
func (h *Host) Networks() error {
	if h.Nets != nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNoNetwork, h.NoNets)
}

// register notes a sandbox that is being started. Its id is taken until unregister.
func (h *Host) register(t *Tree) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return stage.ErrClosed
	}
	if _, taken := h.live[t.Spec.ID]; taken {
		return fmt.Errorf("sandbox id %q is taken", t.Spec.ID)
	}
	if h.live == nil {
		h.live, h.ending = map[string]*Tree{}, make(chan struct{})
		h.watch.Go(h.look)
	}
	h.live[t.Spec.ID] = t
	return nil
}

// look ends sandboxes that thrash, and has those weigh less that compute without pause, until End.
func (h *Host) look() {
	memory, weight := time.NewTicker(lookEvery), time.NewTicker(weighEvery)
	defer memory.Stop()
	defer weight.Stop()
	for {
		select {
		case <-h.ending:
			return
		case <-memory.C:
			now := time.Now()
			for _, t := range h.trees() {
				t.endStarved(now)
			}
		case <-weight.C:
			h.weigh()
		}
	}
}

// weigh has sandboxes that compute without pause weigh less than others.
func (h *Host) weigh() {
	var groups []*cgroup.Group
	for _, t := range h.trees() {
		if t.started() {
			groups = append(groups, t.Group)
		}
	}
	if err := h.Groups.Weigh(time.Now(), runtime.NumCPU(), groups); err != nil {
		h.Log.Warn("sandboxes keep their weight among those who want processors", slog.String("err", err.Error()))
	}
}

func (h *Host) trees() []*Tree {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.live))
}

func (h *Host) unregister(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.live, id)
}

// End closes the sandboxes that still run, lets nobody start more, and ends the guard and the networks. It says whether
// that was left to do: it is so once.
func (h *Host) End() (first bool, err error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return false, nil
	}
	h.closed = true
	left := slices.Collect(maps.Values(h.live))
	if h.ending != nil {
		close(h.ending)
	}
	h.mu.Unlock()
	h.watch.Wait()
	var errs []error
	for _, t := range left {
		<-t.settled // a start that is under way ends within its deadline
		errs = append(errs, t.Close())
	}
	errs = append(errs, h.Guard.Close())
	if h.Nets != nil {
		errs = append(errs, h.Nets.Close())
	}
	return true, errors.Join(errs...)
}

// Try runs a sandbox of d, which tells more than all guesses.
func (h *Host) Try(ctx context.Context, d Driver) Finding {
	f := Finding{Layer: "sandbox"}
	s, err := d.Start(ctx, Spec{
		ID: "try-" + strconv.FormatUint(h.tries.Add(1), 10), Args: []string{"true"}, Env: []string{"PATH=/usr/bin:/bin"},
	})
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
	}
	if err := s.Close(); err != nil {
		f.Detail = err.Error()
		return f
	}
	if e := s.Exit(); e != (Exit{}) {
		f.Detail = "a sandbox that only runs true ended with " + e.String()
		return f
	}
	f.OK, f.Detail = true, "a process was started and ended in one"
	return f
}

// Limits says which limits the host's control groups keep, and what the networks are like.
func (h *Host) Limits() []Finding {
	return []Finding{
		h.limit("memory limit", cgroup.Memory),
		h.limit("process limit", cgroup.Processes),
		h.limit("processor limit", cgroup.CPU),
		h.network(),
	}
}

func (h *Host) limit(layer string, c cgroup.Controller) Finding {
	if h.Groups.Has(c) {
		return Finding{Layer: layer, OK: true, Detail: "control groups " + h.Groups.Version()}
	}
	detail := "no control group: " + h.Groups.Why(c)
	if c == cgroup.Processes {
		detail += "; the limit of processes per user stands in"
	}
	return Finding{Layer: layer, Detail: detail}
}

func (h *Host) network() Finding {
	f := Finding{Layer: "network"}
	if h.Nets != nil {
		f.Detail, f.OK = h.Nets.Describe()
		return f
	}
	f.Detail = "sandboxes have no network of their own: " + h.NoNets + ". Those with the host's reach everything that the host " +
		"reaches, its own ports and abstract sockets included; the others have a loopback of their own and nothing else"
	return f
}

// askTimeout is for a program to tell its version.
const askTimeout = 10 * time.Second

// Ask returns what a program says about its version.
func Ask(program string) (string, error) {
	cmd := exec.Command(program, "--version") //nolint:noctx // it has a deadline of its own
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	late := time.AfterFunc(askTimeout, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	return strings.TrimSpace(out.String()), nil
}
