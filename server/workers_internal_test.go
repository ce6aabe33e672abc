package server

import "testing"

func TestWorkersFor(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, tt := range []struct {
		memory    int64
		addresses int
		want      int
	}{
		{gib / 2, 894, 16}, {4 * gib, 894, 64}, {24 * gib, 894, 384}, {512 * gib, 894, 670}, {512 * gib, 0, 1000}, {4 * gib, 20, 16}, {0, 222, 166}, {0, 0, 1000},
	} {
		if got := workersFor(tt.memory, tt.addresses); got != tt.want {
			t.Errorf("workersFor(%d, %d) = %d, want %d", tt.memory, tt.addresses, got, tt.want)
		}
	}
}
