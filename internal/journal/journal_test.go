package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const size = 64 << 10

func open(t *testing.T, name string) *Journal {
	t.Helper()
	j, err := Open(name, size)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// again is what a process finds that comes after one that was killed: nothing was closed.
func again(t *testing.T, name string) []Batch {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(copied, b, 0o600); err != nil {
		t.Fatal(err)
	}
	j := open(t, copied)
	defer j.Close()
	return j.Found()
}

func entries(texts ...string) (all [][]byte) {
	for _, s := range texts {
		all = append(all, []byte(s))
	}
	return all
}

func TestJournal(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "j")
	j := open(t, name)
	j.Begin(7)
	check := func(what string, want ...Batch) {
		t.Helper()
		if diff := cmp.Diff(want, again(t, name)); diff != "" {
			t.Errorf("%s: found (-want +got):\n%s", what, diff)
		}
	}
	add := func(texts ...string) {
		t.Helper()
		for _, s := range texts {
			if !j.Append([]byte(s)) {
				t.Fatalf("no room for %q", s)
			}
		}
	}
	check("empty")
	add("one", "two")
	check("one batch", Batch{7, entries("one", "two")})
	if ended := j.Turn(); ended != 7 {
		t.Errorf("Turn() = %d", ended)
	}
	add("three")
	check("two batches", Batch{7, entries("one", "two")}, Batch{8, entries("three")})
	j.Drop()
	check("one was put away", Batch{8, entries("three")})
	j.Turn()
	check("an empty one was begun", Batch{8, entries("three")})
	add("a") // shorter than what was there
	j.Drop()
	check("a half is used again", Batch{9, entries("a")})
	if _, err := Open(name, size); !errors.Is(err, ErrInUse) {
		t.Errorf("Open() of a journal in use = %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, name)
	if diff := cmp.Diff([]Batch{{9, entries("a")}}, j.Found()); diff != "" {
		t.Errorf("Found() after Close() (-want +got):\n%s", diff)
	}
	j.Begin(20)
	check("begun anew")
	if err := j.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Remove(): %v", err)
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "j")
	j := open(t, name)
	defer j.Close()
	j.Begin(1)
	if j.Append(make([]byte, size)) {
		t.Error("an entry larger than a batch was taken")
	}
	entry, n := bytes.Repeat([]byte("x"), 999), 0
	for j.Append(entry) {
		n++
	}
	if want := (size - headSize - frameSize) / (frameSize + len(entry)); n != want {
		t.Errorf("%d entries were taken, want %d", n, want)
	}
	if got := again(t, name); len(got) != 1 || len(got[0].Entries) != n {
		t.Errorf("found %d batches, not all %d entries", len(got), n)
	}
	j.Turn()
	if !j.Append(entry) {
		t.Error("no room in a new batch")
	}
}

// TestTorn cuts a journal off at every byte, and spoils every byte: what is found is always a beginning of what was there.
func TestTorn(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "j")
	j := open(t, name)
	defer j.Close()
	j.Begin(3)
	want := entries("first", "second", "the third of them")
	for _, e := range want {
		j.Append(e)
	}
	whole := bytes.Clone(j.half(0))
	for i := range j.end {
		for what, half := range map[string][]byte{"zeros from": bytes.Clone(whole), "other byte at": bytes.Clone(whole)} {
			if what == "zeros from" {
				clear(half[i:])
			} else {
				half[i] ^= 0x10
			}
			got := read(half)
			if len(got.Entries) >= len(want) {
				t.Fatalf("%s %d: all %d entries were found", what, i, len(got.Entries))
			}
			for k, e := range got.Entries {
				if !bytes.Equal(e, want[k]) {
					t.Fatalf("%s %d: entry %d is %q", what, i, k, e)
				}
			}
		}
	}
	// A batch in the place of another must not find the other's.
	half := bytes.Clone(whole)
	binary.LittleEndian.PutUint64(half[8:], 4)
	if got := read(half); len(got.Entries) != 0 {
		t.Errorf("entries of batch 3 were taken for those of 4: %q", got.Entries)
	}
}

func BenchmarkAppend(b *testing.B) {
	j, err := Open(filepath.Join(b.TempDir(), "j"), 4<<20)
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	j.Begin(1)
	entry := bytes.Repeat([]byte("x"), 800)
	b.ReportAllocs()
	for b.Loop() {
		if !j.Append(entry) {
			j.Turn()
			j.Drop()
		}
	}
}
