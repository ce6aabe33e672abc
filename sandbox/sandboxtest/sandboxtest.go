// Package sandboxtest is the suite that every sandbox driver passes, and a driver whose processes are functions, for the
// tests of those who use drivers.
package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"flint/sandbox"
)

// Caps says what a driver promises on this host. What it does not promise is not tested, or tested to be refused.
type Caps struct {
	Isolation bool // another view of files, processes and users; no privileges
	Bind      bool // Bind mounts at its target; without isolation it returns the source
	Memory    bool // the memory limit holds
	Processes bool // the process limit holds
	Usage     bool // processor time is accounted for
	Network   bool // sandboxes may have a network of their own, as [Networks] configures it
	// Leftovers returns what is left on the host of a sandbox that is closed, beside mounts and control groups.
	Leftovers func(id string) []string
}

// Offers says whether one of the findings is about layer and good.
func Offers(found []sandbox.Finding, layer string) bool {
	for _, f := range found {
		if f.Layer == layer {
			return f.OK
		}
	}
	return false
}

// deadline bounds every single wait of the suite. Machines that test are busy.
const deadline = time.Minute

// Run tests the driver that open returns. The parts run one after the other, because some count what others would
// leave for a moment.
func Run(t *testing.T, open func(t *testing.T) sandbox.Driver, caps Caps) {
	s := &suite{driver: open(t), caps: caps}
	t.Run("Lifecycle", s.lifecycle)
	t.Run("Streams", s.streams)
	t.Run("View", s.view)
	t.Run("Bind", s.bind)
	t.Run("Limits", s.limits)
	t.Run("Isolation", s.isolation)
	t.Run("Network", s.network)
	t.Run("Many", s.many)
	t.Run("Leftovers", s.leftovers)
}

type suite struct {
	driver sandbox.Driver
	caps   Caps
	ids    atomic.Int64
}

// result is what a finished process left behind.
type result struct {
	exit     sandbox.Exit
	out, err string
	usage    sandbox.Usage
}

// buffer may be read while a sandbox writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// spec runs a shell script. Its arguments are $1, $2 and so on.
func (s *suite) spec(script string, args ...string) sandbox.Spec {
	return sandbox.Spec{
		ID:   fmt.Sprintf("suite-%d-%d", os.Getpid(), s.ids.Add(1)), // the suites of other drivers run at the same time
		Args: append([]string{"sh", "-c", script, "sh"}, args...),
		Env:  []string{"PATH=/usr/bin:/bin"},
	}
}

func (s *suite) start(t *testing.T, spec sandbox.Spec) sandbox.Sandbox {
	t.Helper()
	box, err := s.driver.Start(t.Context(), spec)
	if err != nil {
		t.Fatalf("Start() = %v", err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return box
}

func await(t *testing.T, box sandbox.Sandbox) {
	t.Helper()
	select {
	case <-box.Done():
	case <-time.After(deadline):
		t.Fatalf("sandbox did not end within %v", deadline)
	}
}

func (s *suite) run(t *testing.T, spec sandbox.Spec) result {
	t.Helper()
	var out, errs buffer
	spec.Stdout, spec.Stderr = &out, &errs
	box := s.start(t, spec)
	await(t, box)
	return result{exit: box.Exit(), out: out.String(), err: errs.String(), usage: box.Usage()}
}

// shell runs a script and returns what it wrote; one that fails ends the test.
func (s *suite) shell(t *testing.T, script string) string {
	t.Helper()
	r := s.run(t, s.spec(script))
	if r.exit != (sandbox.Exit{}) {
		t.Fatalf("%q ended with %v: %s%s", script, r.exit, r.out, r.err)
	}
	return strings.TrimSpace(r.out)
}

// lines is a writer that hands out lines.
type lines struct {
	r *io.PipeReader
	c chan string
}

func newLines(t *testing.T) (*lines, io.Writer) {
	t.Helper()
	r, w := io.Pipe()
	l := &lines{r: r, c: make(chan string, 100)}
	var wg sync.WaitGroup
	wg.Go(func() {
		var rest string
		b := make([]byte, 4096)
		for {
			n, err := r.Read(b)
			rest += string(b[:n])
			for {
				line, more, ok := strings.Cut(rest, "\n")
				if !ok {
					break
				}
				rest = more
				l.c <- line
			}
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = w.Close()
		wg.Wait()
	})
	return l, w
}

func (l *lines) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l.c:
		return line
	case <-time.After(deadline):
		t.Fatalf("no line within %v", deadline)
		return ""
	}
}

// gone waits until f says that nothing is left.
func gone(t *testing.T, what string, f func() []string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for {
		left := f()
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Errorf("%s left: %v", what, left)
			return
		}
	}
}

// public makes a directory that users of sandboxes can read; t.TempDir's are closed to them.
func public(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (s *suite) many(t *testing.T) {
	const n = 50
	network := sandbox.NetworkNone
	if s.caps.Network {
		network = sandbox.NetworkInternet
	}
	src := public(t, map[string]string{"hello": "hello\n"})
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = s.one(t.Context(), src, network, i) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func (s *suite) one(ctx context.Context, src string, network sandbox.Network, i int) error {
	spec := s.spec(`cat "$1"; echo $2`, "/data/hello", fmt.Sprint(i))
	spec.Mounts = []sandbox.Mount{{Source: src, Target: "/data"}}
	spec.Network = network
	var out buffer
	spec.Stdout, spec.Stderr = &out, &out
	box, err := s.driver.Start(ctx, spec)
	if err != nil {
		return err
	}
	select {
	case <-box.Done():
	case <-time.After(deadline):
		err = fmt.Errorf("sandbox %d did not end", i)
	}
	if err := errors.Join(err, box.Close()); err != nil {
		return err
	}
	if got, want := out.String(), fmt.Sprintf("hello\n%d\n", i); got != want || box.Exit() != (sandbox.Exit{}) {
		return fmt.Errorf("sandbox %d wrote %q and ended with %v, want %q", i, got, box.Exit(), want)
	}
	return nil
}

func (s *suite) leftovers(t *testing.T) {
	data := public(t, map[string]string{"hello": "hello\n"})
	work := public(t, nil)
	use := func() string {
		spec := s.spec("sleep 1000")
		spec.Mounts = []sandbox.Mount{
			{Source: data, Target: "/data"}, {Source: work, Target: "/work", Propagate: true},
		}
		box := s.start(t, spec)
		if s.caps.Bind || !s.caps.Isolation {
			if _, err := box.Bind(data, "/work/deep/down"); err != nil {
				t.Fatal(err)
			}
		}
		if err := box.Close(); err != nil {
			t.Fatalf("Close() = %v", err)
		}
		return spec.ID
	}
	use() // what the driver keeps for the next is not counted
	gone(t, "networks that are being made", networksInTheMaking)
	files, routines := descriptors(t), runtime.NumGoroutine()
	var ids []string
	for range 10 {
		ids = append(ids, use())
	}
	gone(t, "open files", func() (left []string) {
		if n := descriptors(t); n > files {
			left = append(left, fmt.Sprintf("%d more than before", n-files))
		}
		return left
	})
	gone(t, "goroutines", func() (left []string) {
		if n := runtime.NumGoroutine(); n > routines {
			left = append(left, fmt.Sprintf("%d more than before:\n%s", n-routines, stacks()))
		}
		return left
	})
	for _, id := range ids {
		left := append(mountsOf(t, id), groupsOf(id)...)
		if s.caps.Leftovers != nil {
			left = append(left, s.caps.Leftovers(id)...)
		}
		if len(left) > 0 {
			t.Errorf("sandbox %s left %v", id, left)
		}
	}
}

// networksInTheMaking tells whether a driver refills its stock of networks, whose listeners are there before what serves them. With a full
// stock the goroutine that makes them waits.
func networksInTheMaking() (left []string) {
	for routine := range strings.SplitSeq(stacks(), "\n\n") {
		state, _, _ := strings.Cut(routine, "\n")
		if strings.Contains(routine, "/network.(*Pool).run(") && !strings.Contains(state, "[select") {
			left = append(left, routine)
		}
	}
	return left
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

func descriptors(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("the host has no /proc/self/fd to count open files in")
	}
	return len(e)
}

func mountsOf(t *testing.T, id string) (found []string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, id+"/") || strings.Contains(line, id+" ") {
			found = append(found, line)
		}
	}
	return found
}

func groupsOf(id string) (found []string) {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(name string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() && e.Name() == id {
			found = append(found, name)
		}
		return nil // groups of others come and go while one looks
	})
	return found
}
