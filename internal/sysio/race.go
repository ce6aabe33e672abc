//go:build race

package sysio

import "syscall"

// With the race detector ordinary calls are made: it learns from them what happens before what.

// Read is read(2) of a descriptor that does not block, of at most 64 KiB; again after EINTR.
func Read(fd int, p []byte) (int, error) { return again(syscall.Read, fd, p) }

// Write is write(2) to a descriptor that does not block, of at most 64 KiB; again after EINTR.
func Write(fd int, p []byte) (int, error) { return again(syscall.Write, fd, p) }

func again(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	p = p[:min(len(p), most)]
	for {
		n, err := call(fd, p)
		if err == syscall.EINTR { //nolint:errorlint // as the kernel says it
			continue
		}
		return max(n, 0), err
	}
}
