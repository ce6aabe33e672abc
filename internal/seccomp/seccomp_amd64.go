package seccomp

import (
	_ "embed"

	"golang.org/x/sys/unix"
)

const (
	auditArch  = unix.AUDIT_ARCH_X86_64
	foreignBit = 0x40000000 // set in the numbers of the x32 calls
)

var refusedHere = []uint32{ //nolint:gochecknoglobals // read only
	unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_USELIB, unix.SYS_CREATE_MODULE,
	unix.SYS_GET_KERNEL_SYMS, unix.SYS_QUERY_MODULE, unix.SYS__SYSCTL, unix.SYS_USTAT, unix.SYS_SYSFS, unix.SYS_VSERVER,
}

// calls are the system calls of this architecture, a name and a number in each line.
//
//go:embed calls_amd64.txt
var calls string
