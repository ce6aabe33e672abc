package quote_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"flint/internal/quote"
)

// slow is what Plain does, said byte by byte.
func slow(s string) int {
	i := strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' })
	if i < 0 {
		return len(s)
	}
	return i
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for at := range 20 { // in each place of eight bytes, and behind them
			s := strings.Repeat("~", at) + string([]byte{byte(c)}) + "0123456789"
			if got, want := quote.Plain(s), slow(s); got != want {
				t.Errorf("Plain(%q) = %d, want %d", s, got, want)
			}
		}
	}
	for _, s := range []string{"", " ", "\"", strings.Repeat("a b", 30)} {
		if got, want := quote.Plain(s), slow(s); got != want {
			t.Errorf("Plain(%q) = %d, want %d", s, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("plain")
	f.Add("with \"one\"")
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := quote.Plain(s), slow(s); got != want {
			t.Errorf("Plain(%q) = %d, want %d", s, got, want)
		}
	})
}
