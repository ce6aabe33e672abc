// Package quote tells what of a text can stand in a JSON string as it is. Heads of calls and their records are such strings,
// nearly all of them plain from end to end.
package quote

import (
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// Plain returns how many bytes s begins with that are printable ASCII, neither a quotation mark nor a backslash.
func Plain(s string) int {
	i := 0
	for b := unsafe.Slice(unsafe.StringData(s), len(s)); len(b)-i >= 8; i += 8 {
		if special(binary.LittleEndian.Uint64(b[i:])) {
			break
		}
	}
	for i < len(s) && s[i] >= ' ' && s[i] < utf8.RuneSelf && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}

const (
	each = 0x0101010101010101 // times a byte: eight of it
	high = 0x80 * each
)

// special reports whether one of eight bytes is not plain. A byte less than n borrows its highest bit when n is subtracted, and
// those that had that bit are not plain anyway.
func special(w uint64) bool {
	quotes, slashes := w^'"'*each, w^'\\'*each
	return (w|(w-' '*each)|(quotes-each)|(slashes-each))&high != 0
}
