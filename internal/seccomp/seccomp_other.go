//go:build !amd64 && !arm64

package seccomp

const (
	auditArch  = 0
	foreignBit = 0
)

var refusedHere []uint32

const calls = ""
