//go:build !race

package sysio

import (
	"syscall"
	"unsafe"
)

// Read is read(2) of a descriptor that does not block, of at most 64 KiB; again after EINTR.
func Read(fd int, p []byte) (int, error) { return call(syscall.SYS_READ, fd, p) }

// Write is write(2) to a descriptor that does not block, of at most 64 KiB; again after EINTR.
func Write(fd int, p []byte) (int, error) { return call(syscall.SYS_WRITE, fd, p) }

func call(number uintptr, fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(len(p), most)]
	for {
		n, _, errno := syscall.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}
