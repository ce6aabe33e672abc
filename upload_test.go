package flint_test

import (
	"errors"
	"testing"

	"flint"
)

func TestParseContentRange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header string
		whole  bool
		index  int // -1: no part begins there
		size   int64
		chunks int
	}{
		{"bytes 0-9/10", true, 0, 10, 1},
		{"bytes 0-10/10", true, 0, 10, 1},
		{"bytes 0-5242879/12000000", false, 0, 5 << 20, 3},
		{"bytes 5242880-10485759/12000000", false, 1, 5 << 20, 3},
		{"bytes 10485760-11999999/12000000", false, 2, 12_000_000 - 10<<20, 3},
		{"bytes 1-9/10", false, -1, 0, 1},
		{"bytes 5242880-10485759/10485760", false, 1, 5 << 20, 2},
	} {
		r, err := flint.ParseContentRange(c.header)
		if err != nil || r.Whole() != c.whole || r.Chunks() != c.chunks {
			t.Errorf("%s: %+v, %v, whole %v of %d", c.header, r, err, r.Whole(), r.Chunks())
		}
		if index, size, err := r.Chunk(); err == nil && (index != c.index || size != c.size) || (err != nil) != (c.index < 0) {
			t.Errorf("%s: part %d of %d bytes, %v", c.header, index, size, err)
		}
	}
	for _, bad := range []string{
		"", "x", "bytes 0-11/10", "bytes 9-0/10", "bytes 0-0/0", "bytes 10-10/10", "0-9/10", "bytes 0-9/*", "bytes */9", "bytes -1-9/10", "bytes 0-9999999999999999/10",
	} {
		if _, err := flint.ParseContentRange(bad); !errors.Is(err, flint.ErrInvalidContentRange) {
			t.Errorf("ParseContentRange(%q) = %v", bad, err)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes 5242880-10485760/10485760")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := flint.ParseContentRange(s)
		if err != nil {
			return
		}
		if i, size, err := r.Chunk(); err == nil && (i < 0 || i >= r.Chunks() || size < 1 || size > flint.ChunkSize) {
			t.Errorf("ParseContentRange(%q) is part %d of %d with %d bytes", s, i, r.Chunks(), size)
		}
	})
}
