package probe

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// pretend has the filter answer a system call as if it were done, when all of args match.
func pretend(c *specs.Spec, call string, args ...specs.LinuxSeccompArg) {
	done := uint(0)
	answer(c, specs.LinuxSyscall{Names: []string{call}, Action: specs.ActErrno, ErrnoRet: &done, Args: args})
}

// answer puts a rule for one system call in place of those that the filter has. Where the arguments differ it is let through.
func answer(c *specs.Spec, rule specs.LinuxSyscall) {
	var rest []specs.LinuxSyscall
	for _, r := range c.Linux.Seccomp.Syscalls {
		r.Names = slices.DeleteFunc(slices.Clone(r.Names), func(name string) bool { return name == rule.Names[0] })
		if len(r.Names) > 0 {
			rest = append(rest, r)
		}
	}
	for _, a := range rule.Args {
		through := specs.LinuxSyscall{Names: rule.Names, Action: specs.ActAllow}
		if a.Op == specs.OpNotEqual {
			a.Op = specs.OpEqualTo
			through.Args = []specs.LinuxSeccompArg{a}
			rest = append(rest, through)
			continue
		}
		for v := range a.Value + 1 { // of the values under the mask
			if other := a; v != a.ValueTwo && v&a.Value == v {
				other.ValueTwo = v
				through.Args = []specs.LinuxSeccompArg{other}
				rest = append(rest, through)
			}
		}
	}
	seccomp := *c.Linux.Seccomp // the driver has one for all
	seccomp.Syscalls = append(rest, rule)
	c.Linux.Seccomp = &seccomp
}

// openAnyway has whoever opens a file for writing get a file that takes everything. The kernel asks this process.
func openAnyway(t *testing.T, file string) func(*specs.Spec) {
	t.Helper()
	l, err := net.Listen("unix", "@flint-probe-kernel-"+rand.Text()) // runtimes see no directory of this test
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(all.Wait) // the sandboxes are gone by then
	t.Cleanup(func() { _ = l.Close() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				if err := obey(c, file); err != nil {
					t.Errorf("answer for the kernel: %v", err)
				}
			})
		}
	})
	return func(c *specs.Spec) {
		answer(c, specs.LinuxSyscall{Names: []string{"openat"}, Action: specs.ActNotify, Args: []specs.LinuxSeccompArg{
			{Index: 2, Value: unix.O_ACCMODE, ValueTwo: unix.O_WRONLY, Op: specs.OpMaskedEqual},
		}})
		c.Linux.Seccomp.ListenerPath = l.Addr().String()
	}
}

// The kernel's structures of a notification: how to read one, to answer it, and to answer with a descriptor.
type (
	notice struct {
		id         uint64
		pid, flags uint32
		number     int32
		arch       uint32
		at         uint64
		args       [6]uint64
	}
	reply struct {
		id    uint64
		val   int64
		err   int32
		flags uint32
	}
	gift struct {
		id                          uint64
		flags, source, to, newFlags uint32
	}
)

// obey takes the descriptor of a sandbox's notifications from the runtime and answers until the sandbox is gone.
func obey(c net.Conn, file string) error {
	fd, err := received(c)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			if poll[0].Revents != 0 {
				return nil
			}
			continue
		}
		var n notice
		if ask(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)) != 0 {
			continue // who asked is gone
		}
		if opensFile(n, file) {
			g := gift{id: n.id, flags: unix.SECCOMP_ADDFD_FLAG_SEND, source: uint32(null.Fd()), newFlags: unix.O_CLOEXEC}
			_ = ask(fd, unix.SECCOMP_IOCTL_NOTIF_ADDFD, unsafe.Pointer(&g))
			continue
		}
		r := reply{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		_ = ask(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)) // as above
	}
}

func ask(fd int, request uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return errno
}

// received returns the descriptor that the runtime passes.
func received(c net.Conn) (int, error) {
	defer c.Close()
	b, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.(*net.UnixConn).ReadMsgUnix(b, oob) //nolint:forcetypeassert // it listens on such
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return 0, errors.Join(err, io.ErrUnexpectedEOF)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return fds[0], nil
}

func opensFile(n notice, file string) bool {
	memory, err := os.Open(filepath.Join("/proc", strconv.Itoa(int(n.pid)), "mem"))
	if err != nil {
		return false
	}
	defer memory.Close()
	b := make([]byte, len(file)+1)
	got, _ := memory.ReadAt(b, int64(n.args[1]))
	return strings.TrimRight(string(b[:got]), "\x00") == file && b[len(b)-1] == 0
}
