package bubblewrap

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"flint/internal/stage"
	"flint/sandbox"
)

// finish runs a spec to its end and returns what it wrote.
func finish(t *testing.T, d *Driver, spec sandbox.Spec) (string, sandbox.Exit) {
	t.Helper()
	var out bytes.Buffer
	spec.Stdout, spec.Stderr = &out, &out
	spec.Env = append(spec.Env, "PATH=/usr/bin:/bin", "HOME=/tmp")
	s, err := d.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(2 * time.Minute):
		t.Error("the sandbox does not end")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return out.String(), s.Exit()
}

func TestSeccomp(t *testing.T) {
	d := open(t)
	if d.filter == nil {
		t.Skip("there is no seccomp filter on this host")
	}
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("perl, which makes the system calls, is not installed")
	}
	call := func(n, a, b, c int) string {
		script := "$! = 0; syscall(" + strconv.Itoa(n) + "," + strconv.Itoa(a) + "," + strconv.Itoa(b) + "," + strconv.Itoa(c) + "); print $!+0"
		out, exit := finish(t, d, sandbox.Spec{ID: "seccomp", Args: []string{"perl", "-e", script}})
		if exit != (sandbox.Exit{}) {
			return exit.String()
		}
		return out
	}
	errno := func(e unix.Errno) string { return strconv.Itoa(int(e)) }
	for _, tt := range []struct {
		name       string
		n, a, b, c int
		want       string
	}{
		{"ptrace", unix.SYS_PTRACE, 0, 0, 0, errno(unix.EPERM)},
		{"bpf", unix.SYS_BPF, 0, 0, 0, errno(unix.EPERM)},
		{"keyctl", unix.SYS_KEYCTL, 0, 0, 0, errno(unix.EPERM)},
		{"unshare", unix.SYS_UNSHARE, unix.CLONE_NEWUSER, 0, 0, errno(unix.EPERM)},
		{"clone user", unix.SYS_CLONE, unix.CLONE_NEWUSER | int(unix.SIGCHLD), 0, 0, errno(unix.EPERM)},
		{"clone3", unix.SYS_CLONE3, 0, 0, 0, errno(unix.ENOSYS)},
		{"io_uring", unix.SYS_IO_URING_SETUP, 1, 0, 0, errno(unix.ENOSYS)},
		{"userfaultfd", unix.SYS_USERFAULTFD, 0, 0, 0, errno(unix.ENOSYS)},
		{"newer than known", 500, 0, 0, 0, errno(unix.ENOSYS)},
		{"terminal input", unix.SYS_IOCTL, 0, unix.TIOCSTI, 0, errno(unix.EPERM)},
		{"other ioctl", unix.SYS_IOCTL, 0, unix.TCGETS, 0, errno(unix.ENOTTY)},
		{"inet", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0, "0"},
		{"inet6", unix.SYS_SOCKET, unix.AF_INET6, unix.SOCK_STREAM, 0, "0"},
		{"unix", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0, "0"},
		{"netlink route", unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, "0"},
		{"netlink audit", unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT, errno(unix.EAFNOSUPPORT)},
		{"crypto", unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0, errno(unix.EAFNOSUPPORT)},
		{"vsock", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0, errno(unix.EAFNOSUPPORT)},
		{"foreign", unix.SYS_GETPID | foreignBit(), 0, 0, 0, map[bool]string{true: "signal SIGSYS (bad system call)", false: "0"}[runtime.GOARCH == "amd64"]},
	} {
		if diff := cmp.Diff(tt.want, call(tt.n, tt.a, tt.b, tt.c)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestToolchains runs what builds run: the filter and the limits must let it pass.
func TestToolchains(t *testing.T) {
	d := open(t)
	goRoot, _ := exec.Command("go", "env", "GOROOT").Output()
	work, err := os.MkdirTemp("", "flint-toolchains-") //nolint:usetesting // t.TempDir's parents are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	if err := errors.Join(os.Chmod(work, 0o755), os.WriteFile(filepath.Join(work, "main.go"), []byte("package main\n\nfunc main() { println(\"hello\") }\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, program, script, want string
		mounts                      []sandbox.Mount
	}{
		{"node", "/usr/bin/node", `node -e '
			const {execSync} = require("child_process"), {Worker} = require("worker_threads")
			new Worker("require(\"worker_threads\").parentPort.postMessage(1)", {eval: true}).on("message", () =>
				require("fs").promises.writeFile("/tmp/x", "x").then(() => console.log(execSync("echo hello").toString().trim())))'`, "hello", nil},
		{"python", "/usr/bin/python3", `python3 -c '
import subprocess, multiprocessing, socket, threading
with multiprocessing.Pool(2) as p: p.map(abs, [1, 2])
threading.Thread(target=print, args=("hello",)).start()
subprocess.run(["true"], check=True); socket.getaddrinfo("localhost", 80)'`, "hello", nil},
		{
			"go", filepath.Join(strings.TrimSpace(string(goRoot)), "bin/go"),
			`cd /work && GOCACHE=/tmp/cache GOFLAGS=-mod=mod GO111MODULE=off /usr/local/go/bin/go build -o /work/main main.go && ./main`, "hello",
			[]sandbox.Mount{{Source: strings.TrimSpace(string(goRoot)), Target: "/usr/local/go"}, {Source: work, Target: "/work", Writable: true}},
		},
		{"compiler", "/usr/bin/cc", `cd /tmp && echo 'int puts(const char*); int main(void) { return puts("hello") < 0; }' >a.c && cc a.c && ./a.out`, "hello", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := os.Stat(tt.program); err != nil {
				t.Skipf("%s is not installed", tt.program)
			}
			out, exit := finish(t, d, sandbox.Spec{
				ID: "tool-" + tt.name, Args: []string{"sh", "-c", tt.script}, Mounts: tt.mounts, Network: sandbox.NetworkHost,
			})
			if exit != (sandbox.Exit{}) || strings.TrimSpace(out) != tt.want {
				t.Errorf("ended with %v and wrote:\n%s", exit, out)
			}
		})
	}
}

// TestLinks has a sandbox put a link where Bind is to mount.
func TestLinks(t *testing.T) {
	d := open(t)
	if d.rooms == nil {
		t.Skipf("this host cannot mount into a running sandbox: %s", d.noRooms)
	}
	work, victim, source := t.TempDir(), t.TempDir(), t.TempDir()
	linked := make(firstByte, 1)
	s, err := d.Start(t.Context(), sandbox.Spec{
		ID: "links", Args: []string{"sh", "-c", `ln -s "$1" /work/out; ln -s ../../.. /work/up; echo done; cat`, "sh", victim}, Env: []string{"PATH=/usr/bin:/bin"},
		Mounts: []sandbox.Mount{{Source: work, Target: "/work", Writable: true, Propagate: true}}, Stdin: true, Stdout: linked,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-linked:
	case <-time.After(time.Minute):
		t.Fatal("the sandbox does not make its links")
	}
	if _, err := os.Lstat(filepath.Join(work, "up")); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/work/out", "/work/out/x", "/work/up/tmp", "/work/up"} {
		if at, err := s.Bind(source, target); err == nil {
			t.Errorf("Bind() at %s, which leads out of its mount, = %s", target, at)
		}
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
		t.Errorf("the directory that the link leads to has %v (%v)", left, err)
	}
}

func TestDriverClose(t *testing.T) {
	d := open(t)
	s, err := d.Start(t.Context(), sandbox.Spec{ID: "open", Args: []string{"sleep", "1000"}, Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Start(t.Context(), sandbox.Spec{ID: "open", Args: []string{"true"}}); err == nil {
		t.Error("an id that is taken was accepted")
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
	select {
	case <-s.Done():
	default:
		t.Error("a sandbox outlived its driver")
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close() of a sandbox after its driver = %v", err)
	}
	if _, err := d.Start(t.Context(), sandbox.Spec{ID: "late", Args: []string{"true"}}); !errors.Is(err, stage.ErrClosed) {
		t.Errorf("Start() on a closed driver = %v", err)
	}
	if _, err := s.Bind("/usr", "/x"); err == nil {
		t.Error("Bind() on a closed sandbox succeeded")
	}
}

// BenchmarkStart measures the time from Start to the first byte of output, with the host's network and with one of its own.
func BenchmarkStart(b *testing.B) {
	d := open(b)
	for _, n := range []sandbox.Network{sandbox.NetworkHost, sandbox.NetworkInternet} {
		b.Run(n.String(), func(b *testing.B) {
			if n.Own() && d.Networks() != nil {
				b.Skip(d.Networks())
			}
			first := make(firstByte, 1)
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				s, err := d.Start(b.Context(), sandbox.Spec{
					ID: "bench", Args: []string{"echo", "hello"}, Env: []string{"PATH=/usr/bin:/bin"}, Stdout: first, Network: n,
				})
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, (<-first).Sub(begin))
				<-s.Done()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50-to-output")
		})
	}
}

// firstByte is a writer that hands out the time of a write.
type firstByte chan time.Time

func (f firstByte) Write(b []byte) (int, error) {
	f <- time.Now()
	return len(b), nil
}

// foreignBit marks the system calls of the other way to call the kernel that amd64 has.
func foreignBit() int {
	if runtime.GOARCH == "amd64" {
		return 0x40000000
	}
	return 0
}
