// Package wire holds the JSON of the public API: its models with their fields in the reference's order, its way of
// writing dates, and what older clients get to see instead.
package wire

import (
	"strconv"
	"strings"
	"time"
)

// FormatHeader names the header by which a client says which version's shapes it expects.
const FormatHeader = "X-Appwrite-Response-Format"

// Format is the version whose shapes a client expects. The zero value is a client that did not say.
type Format struct{ major, minor, patch int }

// ParseFormat reads a version like 1.9.5. Anything else is a client that did not say.
func ParseFormat(s string) Format {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return Format{}
	}
	var n [3]int
	for i, p := range parts {
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 {
			return Format{}
		}
		n[i] = v
	}
	return Format{n[0], n[1], n[2]}
}

// Stated reports whether the client named a version.
func (f Format) Stated() bool { return f != Format{} }

// Before reports whether the client expects shapes older than those of a version.
func (f Format) Before(major, minor, patch int) bool {
	if !f.Stated() {
		return false
	}
	if f.major != major {
		return f.major < major
	}
	if f.minor != minor {
		return f.minor < minor
	}
	return f.patch < patch
}

// Date writes a time the way every model does. The zero time is an empty text.
func Date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000+00:00")
}

// texts makes an array out of a list that may be nil.
func texts[T ~string](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
