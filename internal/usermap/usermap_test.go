package usermap

import "testing"

func TestPick(t *testing.T) {
	t.Parallel()
	const first, most = 1_000_000_000, 1 << 16
	for _, tt := range []struct {
		name, uidMap string
		from, count  uint32
		fails        bool
	}{
		{"host", "         0          0 4294967295\n", first, most, false},
		{"container", "0 100000 65536\n", 32768, 32768, false},
		{"two ranges", "0 1000 1\n1 100000 65536\n", 32769, 32768, false},
		{"one user", "0 1000 1\n", 0, 0, true},
		{"nothing", "", 0, 0, true},
	} {
		from, count, err := Pick(tt.uidMap, first, most)
		if from != tt.from || count != tt.count || (err != nil) != tt.fails {
			t.Errorf("%s: Pick() = %d, %d, %v, want %d, %d", tt.name, from, count, err, tt.from, tt.count)
		}
	}
}

func TestHostRoot(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		uidMap string
		id     int
		want   bool
	}{
		{"         0          0 4294967295\n", 0, true},
		{"         0          0 4294967295\n", 1000, false},
		{"0 1000 1\n", 0, false},
		{"0 0 1\n", 0, true},
		{"0 100000 65536\n", 0, false},
		{"5 1000 1\n1000 0 1\n", 1000, true},
		{"", 0, false},
	} {
		if got := HostRoot(tt.uidMap, tt.id); got != tt.want {
			t.Errorf("HostRoot(%q, %d) = %v", tt.uidMap, tt.id, got)
		}
	}
}
