package worker

import (
	"bytes"
	"strings"
	"testing"
)

// TestTail has a tail keep the newest of what it gets, whether that is its own from then on or stays its giver's.
func TestTail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		given   []string
		want    string
		dropped bool
	}{
		{"nothing", nil, "", false},
		{"one", []string{"abc"}, "abc", false},
		{"as much as it keeps", []string{"abcdefgh"}, "abcdefgh", false},
		{"several", []string{"abc", "def"}, "abcdef", false},
		{"more than it keeps", []string{"abcdef", "ghijkl"}, "efghijkl", true},
		{"one that is too long", []string{"abcdefghij"}, "cdefghij", true},
		{"one that is too long after another", []string{"abcdefgh", "ijklmnopqr"}, "klmnopqr", true},
		{"so many that they are moved", []string{"abcdefgh", "ijklmn", "opqrst", "u"}, "nopqrstu", true},
	} {
		take, write := tail{max: 8}, tail{max: 8}
		var pieces [][]byte
		for _, text := range c.given {
			piece := append(make([]byte, 0, 64), text...)
			pieces = append(pieces, piece)
			take.take(piece)
			again := []byte(text)
			write.write(again)
			copy(again, strings.Repeat("-", len(again)))
		}
		for how, got := range map[string]*tail{"take": &take, "write": &write} {
			if text := string(got.bytes()); text != c.want || got.dropped != c.dropped {
				t.Errorf("%s, by %s: %q, dropped %v; want %q, %v", c.name, how, text, got.dropped, c.want, c.dropped)
			}
		}
		for i, p := range pieces { // others may read them still
			if got := string(bytes.TrimRight(p[:cap(p)], "\x00")); got != c.given[i] {
				t.Errorf("%s: %q has become %q", c.name, c.given[i], got)
			}
		}
	}
}
