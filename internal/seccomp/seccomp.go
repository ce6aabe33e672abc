// Package seccomp is the system calls that code in sandboxes may make: as a filter that the kernel reads, and as rules for
// runtimes that make their own.
package seccomp

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Where the kernel puts what a filter may look at. The low half of an argument comes first on little-endian machines.
const (
	offNumber = 0
	offArch   = 4
	offArg0   = 16
	offArg1   = 24
	offArg2   = 32
)

const (
	actAllow = unix.SECCOMP_RET_ALLOW
	actKill  = unix.SECCOMP_RET_KILL_PROCESS
)

func actErrno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// newest is the last system call that this filter has an opinion on. What is newer does not exist in the sandbox:
// programs ask for new calls carefully and have another way.
const newest = unix.SYS_MSEAL

// namespaceFlags are the bits of clone's flags that make namespaces.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// refused are the calls that no function needs and that widen what the kernel shows to it. All fail without
// capabilities too, or nearly so; their code is not entered at all this way.
var refused = append([]uint32{ //nolint:gochecknoglobals // read only
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_PERF_EVENT_OPEN, unix.SYS_BPF, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_SYSLOG, unix.SYS_FANOTIFY_INIT,
	unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_VHANGUP, unix.SYS_NFSSERVCTL,
}, refusedHere...)

// absent are the calls that programs do without when the kernel says that it does not know them.
var absent = []uint32{ //nolint:gochecknoglobals // read only
	unix.SYS_CLONE3, // its flags are behind a pointer, where a filter cannot look; the C library falls back to clone
	unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
}

// commands are the ioctls that are refused: TIOCSTI types into a terminal, TIOCLINUX pastes into a console; either
// commands whoever sits before it.
var commands = []uint32{unix.TIOCSTI, unix.TIOCLINUX} //nolint:gochecknoglobals // read only

// families are the sockets there are, beside netlink for routing, from which libraries learn the interfaces.
var families = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6} //nolint:gochecknoglobals // read only

// Filter returns the seccomp program, as the kernel reads it, or nothing on an architecture that has none here.
func Filter() ([]byte, error) {
	if auditArch == 0 {
		return nil, nil
	}
	raw, err := bpf.Assemble(program())
	if err != nil {
		return nil, fmt.Errorf("assemble seccomp filter: %w", err)
	}
	var out []byte
	for _, i := range raw {
		out = binary.NativeEndian.AppendUint16(out, i.Op)
		out = append(out, i.Jt, i.Jf)
		out = binary.NativeEndian.AppendUint32(out, i.K)
	}
	return out, nil
}

func program() []bpf.Instruction {
	ret := func(v uint32) bpf.Instruction { return bpf.RetConstant{Val: v} }
	load := func(off uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: off, Size: 4} }
	// skipUnless runs the next n instructions only when the condition holds.
	skipUnless := func(c bpf.JumpTest, v uint32, n uint8) bpf.Instruction {
		return bpf.JumpIf{Cond: c, Val: v, SkipFalse: n}
	}
	p := []bpf.Instruction{
		load(offArch),
		skipUnless(bpf.JumpNotEqual, auditArch, 1), ret(actKill),
		load(offNumber),
	}
	if foreignBit != 0 {
		p = append(p, skipUnless(bpf.JumpGreaterOrEqual, foreignBit, 1), ret(actKill))
	}
	p = append(p, skipUnless(bpf.JumpGreaterThan, newest, 1), ret(actErrno(unix.ENOSYS)))
	for _, n := range refused {
		p = append(p, skipUnless(bpf.JumpEqual, n, 1), ret(actErrno(unix.EPERM)))
	}
	for _, n := range absent {
		p = append(p, skipUnless(bpf.JumpEqual, n, 1), ret(actErrno(unix.ENOSYS)))
	}
	p = append(p,
		skipUnless(bpf.JumpEqual, unix.SYS_CLONE, 4),
		load(offArg0), skipUnless(bpf.JumpBitsSet, namespaceFlags, 1), ret(actErrno(unix.EPERM)), ret(actAllow),
		skipUnless(bpf.JumpEqual, unix.SYS_IOCTL, uint8(2+2*len(commands))), load(offArg1))
	for _, c := range commands {
		p = append(p, skipUnless(bpf.JumpEqual, c, 1), ret(actErrno(unix.EPERM)))
	}
	p = append(p, ret(actAllow),
		skipUnless(bpf.JumpNotEqual, unix.SYS_SOCKET, 1), ret(actAllow),
		load(offArg0))
	for _, f := range families {
		p = append(p, skipUnless(bpf.JumpEqual, f, 1), ret(actAllow))
	}
	p = append(p,
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.AF_NETLINK, SkipTrue: 2},
		load(offArg2),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NETLINK_ROUTE, SkipTrue: 1},
		ret(actErrno(unix.EAFNOSUPPORT)),
		ret(actAllow),
	)
	return p
}

// Known says whether there is a profile for this architecture.
func Known() bool { return auditArch != 0 }
