package seccomp

import (
	_ "embed"

	"golang.org/x/sys/unix"
)

const (
	auditArch  = unix.AUDIT_ARCH_AARCH64
	foreignBit = 0
)

var refusedHere []uint32

// calls are the system calls of this architecture, a name and a number in each line.
//
//go:embed calls_arm64.txt
var calls string
