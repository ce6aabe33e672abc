package probe

import (
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reach makes system calls with arguments that the kernel refuses for what they are. Whoever gets that refusal has
// reached the kernel's code; whoever was stopped before gets another. It returns the first that got through.
func reach(stops []string, calls ...try) string {
	got := ""
	for _, c := range calls {
		if got = call(c.number, c.args...); !slices.Contains(stops, got) {
			return c.name + ": " + got
		}
	}
	return got
}

// try is one system call.
type try struct {
	name   string
	number uintptr
	args   []uintptr
}

func with(name string, number uintptr, args ...uintptr) try { return try{name, number, args} }

func callChecks() []Check {
	const nowhere = 1 // an address where nothing is
	none := ^uintptr(0)
	stops := append(refusals(), "ENOSYS")
	attempt := func(calls ...try) func(*attacker) string {
		return func(*attacker) string { return reach(stops, calls...) }
	}
	checks := []Check{
		{
			Name: "mount", Tries: "mount, umount2, chroot and pivot_root", Why: "mounts decide what a process sees", Grave: Serious,
			attempt: attempt(with("mount", unix.SYS_MOUNT, nowhere, nowhere, nowhere), with("umount2", unix.SYS_UMOUNT2, nowhere),
				with("chroot", unix.SYS_CHROOT, nowhere), with("pivot_root", unix.SYS_PIVOT_ROOT, nowhere, nowhere)),
		},
		{
			Name: "mount-new", Tries: "open_tree, move_mount, fsopen, mount_setattr", Why: "the newer ways to mount", Grave: Serious,
			attempt: attempt(with("open_tree", unix.SYS_OPEN_TREE, none, nowhere, 1<<30), with("move_mount", unix.SYS_MOVE_MOUNT, none, nowhere, none, nowhere, 1<<30),
				with("fsopen", unix.SYS_FSOPEN, nowhere, 1<<30), with("mount_setattr", unix.SYS_MOUNT_SETATTR, none, nowhere, 1<<30)),
		},
		{
			Name: "new-namespaces", Tries: "unshare, clone and setns", Why: "in a namespace of its own it has all capabilities, and much more of the kernel to attack", Grave: Serious,
			attempt: attempt(with("unshare", unix.SYS_UNSHARE, unix.CLONE_NEWUSER|1), with("clone", unix.SYS_CLONE, unix.CLONE_NEWUSER|unix.CLONE_FS),
				with("setns", unix.SYS_SETNS, none)),
		},
		{
			Name: "clone3", Tries: "clone3, whose flags a filter cannot see", Why: "the way around the filter of clone", Grave: Serious,
			attempt: attempt(with("clone3", unix.SYS_CLONE3, 0, 0)),
		},
		{
			Name: "debug", Tries: "ptrace, process_vm_readv, process_vm_writev, pidfd_getfd and kcmp", Why: "they read, change and compare other processes", Grave: Serious,
			attempt: attempt(with("ptrace", unix.SYS_PTRACE, unix.PTRACE_PEEKDATA, 0), with("process_vm_readv", unix.SYS_PROCESS_VM_READV, 0, 0, 0, 0, 0, 1),
				with("process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, 0, 0, 0, 0, 0, 1), with("pidfd_getfd", unix.SYS_PIDFD_GETFD, none), with("kcmp", unix.SYS_KCMP, 0, 0, 1<<20)),
		},
		{
			Name: "kernel-programs", Tries: "bpf", Why: "its programs run in the kernel", Grave: Serious,
			attempt: attempt(with("bpf", unix.SYS_BPF, 1<<20, 0, 0)),
		},
		{
			Name: "measure", Tries: "perf_event_open", Why: "it measures others, and had many holes", Grave: Serious,
			attempt: attempt(with("perf_event_open", unix.SYS_PERF_EVENT_OPEN, nowhere, 0, none, none, 1<<20)),
		},
		{
			Name: "rings", Tries: "io_uring_setup, io_uring_enter and io_uring_register", Why: "system calls through it pass no filter", Grave: Serious,
			attempt: attempt(with("io_uring_setup", unix.SYS_IO_URING_SETUP, 0, nowhere), with("io_uring_enter", unix.SYS_IO_URING_ENTER, none),
				with("io_uring_register", unix.SYS_IO_URING_REGISTER, none)),
		},
		{
			Name: "page-faults", Tries: "userfaultfd", Why: "it stops the kernel in the middle of what it does, which attacks need", Grave: Minor,
			attempt: attempt(with("userfaultfd", unix.SYS_USERFAULTFD, 1|1<<20)),
		},
		{
			Name: "keys", Tries: "add_key, request_key and keyctl", Why: "the kernel's keys belong to users, not to sandboxes", Grave: Serious,
			attempt: attempt(with("add_key", unix.SYS_ADD_KEY, nowhere, nowhere), with("request_key", unix.SYS_REQUEST_KEY, nowhere, nowhere),
				with("keyctl", unix.SYS_KEYCTL, 0, none-2)), // asks for the number of its session's keyring
		},
		{
			Name: "file-handles", Tries: "name_to_handle_at and open_by_handle_at", Why: "files open by number, wherever they are", Grave: Serious,
			attempt: attempt(with("name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, none, nowhere, nowhere, nowhere, 1<<30),
				with("open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, none, nowhere)),
		},
		{
			Name: "kernel-code", Tries: "kexec_load and init_module", Why: "they replace the kernel, or add to it", Grave: Grave,
			attempt: attempt(with("kexec_load", unix.SYS_KEXEC_LOAD, 0, 0, 0, 1<<20), with("init_module", unix.SYS_INIT_MODULE, nowhere, 0, nowhere)),
		},
		{
			Name: "reboot", Tries: "reboot", Why: "it ends the host", Grave: Grave,
			attempt: attempt(with("reboot", unix.SYS_REBOOT, 0, 0, 0)), // without the numbers that make the kernel listen
		},
		{
			Name: "swap", Tries: "swapon, swapoff and acct", Why: "they change the memory of the host and what it writes down", Grave: Serious,
			attempt: attempt(with("swapon", unix.SYS_SWAPON, nowhere, 0), with("swapoff", unix.SYS_SWAPOFF, nowhere), with("acct", unix.SYS_ACCT, nowhere)),
		},
		{
			Name: "clock", Tries: "settimeofday, clock_settime and clock_adjtime", Why: "the host has one clock", Grave: Grave,
			attempt: attempt(with("settimeofday", unix.SYS_SETTIMEOFDAY, 0, 0), with("clock_settime", unix.SYS_CLOCK_SETTIME, 0, nowhere),
				with("clock_adjtime", unix.SYS_CLOCK_ADJTIME, 0, nowhere)),
		},
		{
			Name: "kernel-log", Tries: "syslog", Why: "the kernel's log tells addresses and what others do", Grave: Serious,
			attempt: attempt(with("syslog", unix.SYS_SYSLOG, 10)), // asks for its size
		},
		{
			Name: "terminal", Tries: "the ioctl TIOCSTI", Why: "it types into the terminal that the node was started from", Grave: Grave,
			attempt: func(*attacker) string {
				var b [1]byte
				return reach(stops, with("ioctl", unix.SYS_IOCTL, none, unix.TIOCSTI, uintptr(unsafe.Pointer(&b[0]))),
					with("ioctl", unix.SYS_IOCTL, none, uintptr(unix.TIOCSTI)|high(), uintptr(unsafe.Pointer(&b[0]))))
			},
		},
		{
			Name: "odd-sockets", Tries: "sockets of the crypto, virtual machine, packet and kernel control families", Why: "rarely used code of the kernel, some of it with every capability", Grave: Minor,
			attempt: func(*attacker) string {
				return reach(append(stops, "EAFNOSUPPORT"), with("AF_ALG", unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET), with("AF_VSOCK", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM),
					with("AF_KEY", unix.SYS_SOCKET, unix.AF_KEY, unix.SOCK_RAW, 2),
					with("NETLINK_GENERIC", unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC),
					with("NETLINK_GENERIC", unix.SYS_SOCKET, unix.AF_NETLINK|high(), unix.SOCK_RAW, unix.NETLINK_GENERIC|high()))
			},
		},
	}
	for i := range checks {
		checks[i].judge = func(_ *host, got string) bool { return got != "" && !strings.ContainsRune(got, ' ') }
	}
	return in(areaCalls, checks)
}

// high is a bit that the kernel ignores in arguments of half the width; a filter that looks at it is fooled.
func high() uintptr {
	bit := uint64(1) << 40
	return uintptr(bit)
}
