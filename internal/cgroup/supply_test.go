package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSupply(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	meminfo := "MemTotal:        8388608 kB\nMemFree:          100 kB\nMemAvailable:    4194304 kB\nHugePages_Total:       0\n"
	for _, tt := range []struct {
		name        string
		files       map[string]string // below the directory of the mount
		home        string
		total, free int64
	}{
		{"a machine of its own", nil, "", 8 * gib, 4 * gib},
		{"version 2 without a limit", map[string]string{"memory.max": "max\n"}, "", 8 * gib, 4 * gib},
		{"version 2", map[string]string{
			"memory.max": "2147483648\n", "memory.current": "1610612736\n", "memory.stat": "anon 1\ninactive_file 536870912\n",
		}, "", 2 * gib, 1 * gib},
		{"a limit above", map[string]string{
			"memory.max": "2147483648\n", "memory.current": "1073741824\n", "memory.stat": "inactive_file 0\n",
			"a/b/memory.max": "max\n", "a/b/memory.current": "5\n",
		}, "a/b", 2 * gib, 1 * gib},
		{"a limit below another", map[string]string{
			"memory.max": "2147483648\n", "memory.current": "2040109400\n", "memory.stat": "inactive_file 0\n",
			"a/memory.max": "1073741824\n", "a/memory.current": "5\n",
		}, "a", 1 * gib, 2*gib - 2040109400},
		{"version 1 without a limit", map[string]string{"memory.limit_in_bytes": "9223372036854771712\n"}, "", 8 * gib, 4 * gib},
		{"version 1", map[string]string{
			"memory.limit_in_bytes": "1073741824\n", "memory.usage_in_bytes": "1073741824\n", "memory.stat": "inactive_file 7\ntotal_inactive_file 536870912\n",
		}, "", 1 * gib, gib / 2},
		{"more used than allowed", map[string]string{"memory.max": "1073741824\n", "memory.current": "2147483648\n"}, "", 1 * gib, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			files := map[string]string{"meminfo": meminfo}
			for name, text := range tt.files {
				files["groups/"+name] = text
			}
			for name, text := range files {
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := Supply{meminfo: filepath.Join(dir, "meminfo")}
			s.total, _ = s.machine()
			s.heed(filepath.Join(dir, "groups", tt.home))
			if s.Total() != tt.total || s.Free() != tt.free {
				t.Errorf("total %d, free %d, want %d and %d", s.Total(), s.Free(), tt.total, tt.free)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if s.Free() != tt.total {
				t.Errorf("when nothing can be read %d bytes are free, want all", s.Free())
			}
		})
	}
	if s := FindSupply(); s.Total() < 64<<20 || s.Free() <= 0 || s.Free() > s.Total() {
		t.Errorf("this machine has %d bytes, %d of them free", s.Total(), s.Free())
	}
}
