package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flint/sandbox"
)

func (s *suite) lifecycle(t *testing.T) {
	for _, tt := range []struct {
		script string
		want   sandbox.Exit
	}{
		{"exit 0", sandbox.Exit{}},
		{"exit 3", sandbox.Exit{Code: 3}},
		{"exit 1", sandbox.Exit{Code: 1}},
		{"kill -TERM $$", sandbox.Exit{Signal: syscall.SIGTERM}},
		{"kill -SEGV $$", sandbox.Exit{Signal: syscall.SIGSEGV}},
		{"kill -KILL $$", sandbox.Exit{Signal: syscall.SIGKILL}},
		{"sleep 1000 & exit 4", sandbox.Exit{Code: 4}}, // what is left behind does not hold the end up
	} {
		if got := s.run(t, s.spec(tt.script)).exit; got != tt.want {
			t.Errorf("%q ended with %v, want %v", tt.script, got, tt.want)
		}
	}
	t.Run("NoProgram", func(t *testing.T) {
		spec := s.spec("")
		spec.Args = []string{"no-such-program-anywhere"}
		box, err := s.driver.Start(t.Context(), spec)
		if err != nil {
			return // known at once is as good
		}
		await(t, box)
		if got, want := box.Exit(), (sandbox.Exit{Code: 127}); got != want {
			t.Errorf("a missing program ended with %v, want %v", got, want)
		}
		if err := box.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	t.Run("Cancelled", func(t *testing.T) {
		why := errors.New("not wanted any more")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		if _, err := s.driver.Start(ctx, s.spec("true")); !errors.Is(err, why) {
			t.Errorf("Start() with a cancelled context = %v, want %v", err, why)
		}
	})
	t.Run("Kill", s.kill)
	t.Run("Close", func(t *testing.T) {
		box := s.start(t, s.spec("sleep 1000"))
		for range 2 {
			if err := box.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
		}
		box.Kill()
		await(t, box)
		if got := box.Exit().Signal; got != syscall.SIGKILL {
			t.Errorf("Close() of a running sandbox ended it with %v", box.Exit())
		}
	})
	t.Run("Usage", func(t *testing.T) {
		if !s.caps.Usage {
			t.Skip("this host does not account for processor time to this driver")
		}
		r := s.run(t, s.spec("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"))
		if r.usage.CPU <= 0 || r.usage.CPU > deadline {
			t.Errorf("Usage() = %+v after counting to 300000", r.usage)
		}
	})
}

// kill has a tree of processes that all hold a named pipe open, which tells the host when the last of them is gone.
func (s *suite) kill(t *testing.T) {
	dir := public(t, nil)
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	spec := s.spec(`trap "" TERM INT HUP; exec 3>"$1"; (trap "" TERM; sleep 1000) & (sleep 1000 & sleep 1000) & echo ready >&3; wait`, "/dir/pipe")
	spec.Mounts = []sandbox.Mount{{Source: dir, Target: "/dir", Writable: true}}
	box := s.start(t, spec)
	if err := end.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, 6)
	if n, err := readSoon(end, ready); err != nil || string(ready[:n]) != "ready\n" {
		t.Fatalf("the tree said %q (%v), want ready", ready[:n], err)
	}
	select {
	case <-box.Done():
		t.Fatal("the tree is gone before it was killed")
	default:
	}
	box.Kill()
	box.Kill()
	await(t, box)
	if got, want := box.Exit(), (sandbox.Exit{Signal: syscall.SIGKILL}); got != want {
		t.Errorf("a killed sandbox ended with %v, want %v", got, want)
	}
	if n, err := end.Read(ready); !errors.Is(err, io.EOF) {
		t.Errorf("reading from the killed tree = %d, %v, want the end: a process survived", n, err)
	}
	box.Kill()
}

// readSoon reads from a pipe that perhaps nobody has opened for writing yet, which reads as ended.
func readSoon(f *os.File, b []byte) (int, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(deadline)
	for {
		n, err := f.Read(b)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		select {
		case <-tick.C:
		case <-late:
			return n, err
		}
	}
}

func (s *suite) streams(t *testing.T) {
	t.Run("Output", func(t *testing.T) {
		const n = 5 << 20
		r := s.run(t, s.spec(fmt.Sprintf("head -c %d /dev/zero & head -c %d /dev/zero >&2; wait", n, n)))
		if len(r.out) != n || len(r.err) != n {
			t.Errorf("got %d and %d bytes, want %d of each", len(r.out), len(r.err), n)
		}
	})
	t.Run("Failing", func(t *testing.T) { // a writer that fails does not hold the process up
		spec := s.spec("head -c 1000000 /dev/zero; exit 5")
		spec.Stdout = failing{}
		box := s.start(t, spec)
		await(t, box)
		if got, want := box.Exit(), (sandbox.Exit{Code: 5}); got != want {
			t.Errorf("ended with %v, want %v", got, want)
		}
	})
	t.Run("Discarded", func(t *testing.T) {
		box := s.start(t, s.spec("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2"))
		await(t, box)
		if got := box.Exit(); got != (sandbox.Exit{}) {
			t.Errorf("ended with %v", got)
		}
		if box.Stdin() != nil {
			t.Error("Stdin() is there though the spec did not ask for it")
		}
	})
	t.Run("NoInput", func(t *testing.T) {
		if got := s.shell(t, "cat; echo end"); got != "end" {
			t.Errorf("got %q, want no input", got)
		}
	})
	t.Run("Input", func(t *testing.T) {
		var out buffer
		spec := s.spec("cat")
		spec.Stdin, spec.Stdout = true, &out
		box := s.start(t, spec)
		in := box.Stdin()
		if _, err := io.WriteString(in, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		await(t, box)
		if out.String() != "hello" {
			t.Errorf("cat wrote %q, want hello", out.String())
		}
	})
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func (s *suite) view(t *testing.T) {
	t.Run("Environment", func(t *testing.T) {
		spec := s.spec("")
		spec.Args = []string{"env"}
		spec.Env = append(spec.Env, "EMPTY=", "TWO=1 2=3", "NEWS=a'\"$b\\")
		got := slices.DeleteFunc(strings.Split(strings.TrimSpace(s.run(t, spec).out), "\n"), func(e string) bool {
			return strings.HasPrefix(e, "PWD=")
		})
		slices.Sort(got)
		want := slices.Sorted(slices.Values(spec.Env))
		if !slices.Equal(got, want) {
			t.Errorf("environment = %q, want %q", got, want)
		}
	})
	t.Run("Mounts", func(t *testing.T) {
		data, work := public(t, map[string]string{"a": "1\n"}), public(t, map[string]string{"b": "2\n"})
		file := filepath.Join(public(t, map[string]string{"single": "3\n"}), "single")
		spec := s.spec(`cat a "$1" "$2" && echo new >"$3" && pwd`, "/work/deep/b", "/etc/single", "/work/deep/c")
		spec.Dir = "/data"
		spec.Mounts = []sandbox.Mount{
			{Source: work, Target: "/work/deep", Writable: true}, {Source: data, Target: "/data"}, {Source: file, Target: "/etc/single"},
		}
		r := s.run(t, spec)
		want := "1\n2\n3\n/data\n"
		if !s.caps.Isolation {
			want = "1\n2\n3\n" + data + "\n"
		}
		if r.exit != (sandbox.Exit{}) || r.out != want {
			t.Errorf("ended with %v and wrote %q, want %q; %s", r.exit, r.out, want, r.err)
		}
		if b, err := os.ReadFile(filepath.Join(work, "c")); err != nil || string(b) != "new\n" {
			t.Errorf("the host reads %q (%v) in a writable mount, want what was written", b, err)
		}
		if s.caps.Isolation {
			spec := s.spec("echo x >/data/x || touch /data/a")
			spec.Mounts = []sandbox.Mount{{Source: data, Target: "/data"}}
			if r := s.run(t, spec); r.exit.Code == 0 {
				t.Error("a mount that is not writable was written to")
			}
		}
	})
	t.Run("Missing", func(t *testing.T) {
		if !s.caps.Isolation {
			t.Skip("without isolation nothing is mounted")
		}
		spec := s.spec("true")
		spec.Mounts = []sandbox.Mount{{Source: filepath.Join(t.TempDir(), "nothing"), Target: "/data"}}
		if box, err := s.driver.Start(t.Context(), spec); err == nil {
			t.Errorf("Start() with a mount that is not there = nil, Close() = %v", box.Close())
		}
	})
}

func (s *suite) bind(t *testing.T) {
	first, second := public(t, map[string]string{"name": "first\n"}), public(t, map[string]string{"name": "second\n"})
	work := public(t, nil)
	out, w := newLines(t)
	spec := s.spec("")
	spec.Args, spec.Stdin, spec.Stdout = []string{"sh"}, true, w
	spec.Mounts = []sandbox.Mount{{Source: work, Target: "/packages", Propagate: true}}
	box := s.start(t, spec)
	say := func(script string) string {
		if _, err := io.WriteString(box.Stdin(), script+"\n"); err != nil {
			t.Fatal(err)
		}
		return out.next(t)
	}
	if got := say("echo up"); got != "up" {
		t.Fatalf("the shell said %q", got)
	}
	if _, err := box.Bind(first, "/packages/a"); s.caps.Isolation && !s.caps.Bind {
		if !errors.Is(err, sandbox.ErrNoBind) {
			t.Errorf("Bind() = %v, want an error that wraps ErrNoBind", err)
		}
		t.Skip("this host cannot mount into a running sandbox; Bind says so")
	}
	for i, source := range []string{first, second} {
		at, err := box.Bind(source, fmt.Sprintf("/packages/deep/%d", i))
		if err != nil {
			t.Fatalf("Bind() = %v", err)
		}
		want := []string{"first", "second"}[i]
		if got := say("cat " + at + "/name"); got != want {
			t.Errorf("the bound tree says %q, want %q", got, want)
		}
		if !s.caps.Isolation {
			continue
		}
		if got := say("touch " + at + "/name " + at + "/x 2>/dev/null && echo wrote || echo refused"); got != "refused" {
			t.Error("a bound tree can be written to")
		}
	}
	if s.caps.Isolation {
		for _, bad := range []string{"/elsewhere", "/packages/../elsewhere", "/packagesandmore/a"} {
			if _, err := box.Bind(first, bad); err == nil {
				t.Errorf("Bind() at %s, which no mount above propagates to, succeeded", bad)
			}
		}
	}
	if _, err := box.Bind(filepath.Join(first, "nothing"), "/packages/b"); err == nil {
		t.Error("Bind() of what is not there succeeded")
	}
}

// thrashing has a program take all memory whose own pages are charged to it. The kernel can always throw out one of those,
// which is needed at once again, and may do that for minutes.
func (s *suite) thrashing(t *testing.T) {
	if !s.caps.Memory {
		t.Skip("this host has no memory limit to offer to this driver")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: it is a program with many pages")
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // the sandbox has a user of its own
		t.Fatal(err)
	}
	uncached(t, node, filepath.Join(dir, "node"))
	spec := s.spec("exec /program/node -e 'const kept = []; for (;;) kept.push(Buffer.alloc(20e6, 1))'")
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: dir, Target: "/program"})
	spec.Limits.Memory, spec.Limits.CPUs = 256e6, 0.5
	if got := s.run(t, spec).exit; !got.OutOfMemory {
		t.Errorf("a program that takes all memory ended with %+v", got)
	}
}

// weight has a program compute without end: it is to weigh less than others soon.
func (s *suite) weight(t *testing.T) {
	spec := s.spec("while :; do :; done")
	box := s.start(t, spec)
	weights := func() (all []string) {
		for _, name := range []string{"cpu.shares", "cpu.weight"} {
			for _, below := range []string{"", "*/", "*/*/", "*/*/*/", "*/*/*/*/"} {
				found, err := filepath.Glob("/sys/fs/cgroup/" + below + "flint/*/" + spec.ID + "/" + name)
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range found {
					b, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, strings.TrimSpace(string(b)))
				}
			}
		}
		return all
	}
	if len(weights()) == 0 {
		t.Skip("this driver, or this host, gives a sandbox no weight")
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for all := weights(); !slices.Contains(all, "64") && !slices.Contains(all, "6"); all = weights() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			if used := box.Usage().CPU; used < deadline/2 {
				t.Skipf("the machine gave the program %s of %s: others want the processors", used, deadline)
			}
			t.Fatalf("a program that computes without end weighs %v", all)
		}
	}
}

// uncached copies a program and has the kernel forget what it has of the copy in memory.
func uncached(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755) // a program
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) limits(t *testing.T) {
	t.Run("Memory", func(t *testing.T) {
		if !s.caps.Memory {
			t.Skip("this host has no memory limit to offer to this driver")
		}
		spec := s.spec("tail /dev/zero")
		spec.Limits.Memory = 48 << 20
		if got := s.run(t, spec).exit; !got.OutOfMemory || got.Signal == 0 && got.Code == 0 {
			t.Errorf("a process that takes all memory ended with %+v", got)
		}
		later := s.spec("read x; tail /dev/zero")
		later.Stdin = true
		box := s.start(t, later)
		if err := box.SetLimits(sandbox.Limits{Memory: 48 << 20}); err != nil {
			t.Fatalf("SetLimits() = %v", err)
		}
		if _, err := io.WriteString(box.Stdin(), "go\n"); err != nil {
			t.Fatal(err)
		}
		await(t, box)
		if !box.Exit().OutOfMemory {
			t.Errorf("a process that takes all memory after SetLimits ended with %v", box.Exit())
		}
		within := s.spec("head -c 1000 /dev/zero | wc -c")
		within.Limits.Memory = 48 << 20
		if r := s.run(t, within); r.exit != (sandbox.Exit{}) || r.usage.PeakMemory > 48<<20 {
			t.Errorf("a process within its limit ended with %v and %+v", r.exit, r.usage)
		}
	})
	t.Run("Thrashing", func(t *testing.T) { s.thrashing(t) })
	t.Run("Weight", s.weight)
	t.Run("Processes", func(t *testing.T) {
		if !s.caps.Processes {
			t.Skip("this host has no process limit to offer to this driver")
		}
		fork := "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1000 & done; echo all"
		spec := s.spec(fork)
		spec.Limits.Processes = 10
		if r := s.run(t, spec); strings.Contains(r.out, "all") {
			t.Error("20 processes were started where 10 are allowed")
		}
		spec = s.spec(fork)
		spec.Limits.Processes = 30
		if r := s.run(t, spec); !strings.Contains(r.out, "all") {
			t.Errorf("20 processes could not be started where 30 are allowed: %s", r.err)
		}
	})
	t.Run("Files", func(t *testing.T) {
		if !s.caps.Isolation {
			t.Skip("without isolation no limit holds")
		}
		spec := s.spec("ulimit -n; ulimit -c; head -c 200000 /dev/zero >/tmp/big")
		spec.Limits.Files, spec.Limits.FileSize = 100, 100_000
		if r := s.run(t, spec); r.out != "100\n0\n" || r.exit == (sandbox.Exit{}) {
			t.Errorf("limits are %q and a file that is too big ended with %v", r.out, r.exit)
		}
		spec = s.spec("head -c 3000000 /dev/zero >/tmp/big")
		spec.Limits.Tmp = 1 << 20
		if r := s.run(t, spec); r.exit == (sandbox.Exit{}) {
			t.Error("3 MB went into a /tmp of 1 MB")
		}
	})
}
