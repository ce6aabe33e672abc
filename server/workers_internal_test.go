package server

import "testing"

func TestLeastMemory(t *testing.T) {
	t.Parallel()
	for total, want := range map[int64]int64{0: 0, 1 << 30: 1 << 30 / 10, 64 << 30: 512 << 20} {
		if got := leastMemory(total); got != want {
			t.Errorf("leastMemory(%d) = %d, want %d", total, got, want)
		}
	}
}

func TestWorkersFor(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, tt := range []struct {
		memory    int64
		addresses int
		want      int
	}{
		{gib / 2, 894, 16}, {4 * gib, 894, 64}, {24 * gib, 894, 384}, {512 * gib, 894, 670}, {512 * gib, 7000, 1000}, {4 * gib, 20, 16}, {0, 894, 16},
	} {
		if got := workersFor(tt.memory, tt.addresses); got != tt.want {
			t.Errorf("workersFor(%d, %d) = %d, want %d", tt.memory, tt.addresses, got, tt.want)
		}
	}
}
