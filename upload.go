package flint

import (
	"regexp"
	"strconv"
)

// ChunkSize is the size in bytes of every part of an upload but the last one. Clients and server agree on it.
const ChunkSize = 5 << 20

// ContentRange is what a Content-Range header says: the bytes of a file that a request carries.
type ContentRange struct{ Start, End, Total int64 } // End is the last byte's place; the reference tolerates one too many

var contentRange = regexp.MustCompile(`^bytes (\d{1,15})-(\d{1,15})/(\d{1,15})$`)

// ParseContentRange reads a Content-Range header or returns ErrInvalidContentRange.
func ParseContentRange(header string) (ContentRange, error) {
	match := contentRange.FindStringSubmatch(header)
	if match == nil {
		return ContentRange{}, ErrInvalidContentRange
	}
	var n [3]int64
	for i := range n {
		n[i], _ = strconv.ParseInt(match[i+1], 10, 64) // fifteen digits always fit
	}
	r := ContentRange{Start: n[0], End: n[1], Total: n[2]}
	if r.Total == 0 || r.Start >= r.Total || r.Start > r.End || r.End > r.Total {
		return ContentRange{}, ErrInvalidContentRange
	}
	return r, nil
}

// Whole reports whether the range is the whole file.
func (r ContentRange) Whole() bool { return r.Start == 0 && r.End >= r.Total-1 }

// Chunks returns how many parts the file has.
func (r ContentRange) Chunks() int { return int((r.Total + ChunkSize - 1) / ChunkSize) }

// Chunk returns which part of the file begins where the range does, counted from 0, and how many bytes it has:
// ErrInvalidContentRange when none begins there.
func (r ContentRange) Chunk() (index int, size int64, err error) {
	if r.Start%ChunkSize != 0 {
		return 0, 0, ErrInvalidContentRange.Saying("The range must start at a multiple of %d bytes.", ChunkSize)
	}
	return int(r.Start / ChunkSize), min(ChunkSize, r.Total-r.Start), nil
}
