package flint

import (
	"crypto/rand"
	"encoding/binary"
	"regexp"
	"slices"
	"time"
)

// The identifiers of the nouns are distinct types so that two of them cannot be swapped.

// ProjectID names a project.
type ProjectID string

// FunctionID names a function of a project.
type FunctionID string

// DeploymentID names a deployment.
type DeploymentID string

// ExecutionID names an execution.
type ExecutionID string

// VariableID names a variable.
type VariableID string

// RuleID names a proxy rule.
type RuleID string

// WebhookID names a webhook of a project.
type WebhookID string

// NewID returns a new identifier of 20 lower-case hexadecimal characters: 8 of Unix seconds, 5 of microseconds and 7
// random ones. Identifiers made later on one machine sort after earlier ones, to the microsecond.
func NewID() string {
	now := time.Now()
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails since Go 1.24
	var id [20]byte
	putHex(id[:8], uint64(now.Unix()))
	putHex(id[8:13], uint64(now.Nanosecond()/1000))
	putHex(id[13:], uint64(binary.NativeEndian.Uint32(random[:])))
	return string(id[:])
}

// putHex fills b with the last hexadecimal digits of n.
func putHex(b []byte, n uint64) {
	const digits = "0123456789abcdef"
	for i := range slices.Backward(b) {
		b[i] = digits[n&15]
		n >>= 4
	}
}

// MaxIDLength is the longest identifier, in characters.
const MaxIDLength = 36

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`) // compiled once

// ValidID reports whether s can name a thing: letters, digits, period, hyphen and underscore, not starting with a
// special character, at most 36 characters.
func ValidID(s string) bool { return len(s) <= MaxIDLength && idPattern.MatchString(s) }
