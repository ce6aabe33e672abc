package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestThrashing looks at plain files, which show what both versions of the kernel's do.
func TestThrashing(t *testing.T) {
	t.Parallel()
	const limit, rest = 512 << 20, 4 << 20
	type look struct{ free, files, refaults, faults int64 } // the last two of one second
	starved := look{files: rest, refaults: 80_000, faults: 300}
	for _, tt := range []struct {
		name  string
		looks []look
		want  []bool
	}{
		{"the kernel throws out what is needed", []look{starved, starved, starved, starved}, []bool{false, false, false, true}},
		{"an interruption", []look{starved, starved, starved, {free: 100 << 20}, starved, starved}, make([]bool, 6)},
		{"a moment at the limit", []look{starved, starved, starved, {files: rest}, starved, starved}, make([]bool, 6)},
		{"room for files", []look{{0, 64 << 20, 80_000, 300}, {0, 64 << 20, 80_000, 300}, {0, 64 << 20, 80_000, 300}, {0, 64 << 20, 80_000, 300}}, make([]bool, 4)},
		{"a file read once", []look{{0, rest, 50, 300}, {0, rest, 50, 300}, {0, rest, 50, 300}, {0, rest, 50, 300}}, make([]bool, 4)},
		{"nothing waits for files", []look{{0, rest, 80_000, 2}, {0, rest, 80_000, 2}, {0, rest, 80_000, 2}, {0, rest, 80_000, 2}}, make([]bool, 4)},
		{"not at the limit", []look{{64 << 20, rest, 80_000, 300}, {64 << 20, rest, 80_000, 300}, {64 << 20, rest, 80_000, 300}, {64 << 20, rest, 80_000, 300}}, make([]bool, 4)},
	} {
		for _, version := range []int{1, 2} {
			dir := t.TempDir()
			file := func(name, text string) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			g := &Group{thrash: thrash{limit: limit}}
			g.count(part{hierarchy: hierarchy{version: version, controllers: []Controller{Memory}}, dir: dir})
			now, sum := time.Now(), look{}
			for i, l := range tt.looks {
				sum.refaults += l.refaults
				sum.faults += l.faults
				const shared = 10 << 20 // no more than memory that has a name
				if version == 1 {
					file("memory.usage_in_bytes", fmt.Sprintln(limit-l.free))
					file("memory.stat", fmt.Sprintf("cache 1\nrss 1\ntotal_cache %d\ntotal_shmem %d\ntotal_workingset_refault_file %d\ntotal_pgmajfault %d\n", l.files+shared, shared, sum.refaults, sum.faults))
				} else {
					file("memory.current", fmt.Sprintln(limit-l.free))
					file("memory.stat", fmt.Sprintf("anon 1\nfile %d\nshmem %d\nworkingset_refault_file %d\npgmajfault %d\n", l.files+shared, shared, sum.refaults, sum.faults))
				}
				now = now.Add(time.Second)
				if got := g.Thrashing(now); got != tt.want[i] {
					t.Errorf("%s, version %d: look %d: Thrashing() = %t, want %t", tt.name, version, i+1, got, tt.want[i])
				}
			}
		}
	}
	if (&Group{}).Thrashing(time.Now()) {
		t.Error("a group whose memory nobody counts thrashes")
	}
}
