//go:build !amd64 && !arm64

package bubblewrap

const (
	auditArch  = 0
	foreignBit = 0
)

var refusedHere []uint32
