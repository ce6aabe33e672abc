package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// paper is a manager and its groups as plain files, which show what both versions of the kernel's do.
type paper struct {
	*Manager
	version int
	groups  []*Group
	used    []time.Duration
	low     []bool
	now     time.Time
}

func newPaper(t *testing.T, version, groups int) *paper {
	t.Helper()
	p := &paper{Manager: &Manager{allIn: t.TempDir()}, version: version, used: make([]time.Duration, groups), low: make([]bool, groups), now: time.Now()}
	p.all.of(version)
	p.asked = p.now
	t.Cleanup(p.all.close)
	for range groups {
		g := &Group{parts: []part{{hierarchy: hierarchy{version: version, controllers: []Controller{CPU, CPUTime}}, dir: t.TempDir()}}}
		g.count(g.parts[0])
		t.Cleanup(g.cpu.close)
		p.groups = append(p.groups, g)
	}
	return p
}

// weigh has the groups compute for a tenth of a second, each with a share of a processor, and has them weighed.
func (p *paper) weigh(t *testing.T, shares ...float64) {
	t.Helper()
	const between = 100 * time.Millisecond
	usage := func(dir string, used time.Duration) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "cpuacct.usage"), []byte(strconv.FormatInt(used.Nanoseconds(), 10)+"\n"), 0o600),
			os.WriteFile(filepath.Join(dir, "cpu.stat"), fmt.Appendf(nil, "usage_usec %d\nuser_usec 1\n", used.Microseconds()), 0o600))
	}
	name, low := "cpu.shares", map[string]bool{"1024": false, "64": true}
	if p.version == 2 {
		name, low = "cpu.weight", map[string]bool{"100": false, "6": true}
	}
	p.now = p.now.Add(between)
	var sum time.Duration
	for i, g := range p.groups {
		p.used[i] += time.Duration(shares[i] * float64(between))
		sum += p.used[i]
		if err := errors.Join(usage(g.parts[0].dir, p.used[i]), os.WriteFile(filepath.Join(g.parts[0].dir, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(usage(p.allIn, sum), p.Weigh(p.now, 2, p.groups)); err != nil {
		t.Fatal(err)
	}
	for i, g := range p.groups {
		b, err := os.ReadFile(filepath.Join(g.parts[0].dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.TrimSpace(string(b)); text != "" {
			p.low[i] = low[text]
		}
	}
}

func TestWeigh(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		shares []float64 // of one group, between the looks
		want   string    // a letter for each look: the weight after it, usual or low
	}{
		{"it computes on", []float64{1, 1, 1, 1}, "uull"},
		{"on many processors", []float64{1, 60, 60, 60}, "uull"},
		{"a cold start", []float64{1, 1, 0.1, 1, 0.1}, "uuuuu"},
		{"it is calm again", []float64{1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 1, 1, 1}, "uullllluull"},
		{"not for long enough", []float64{1, 1, 1, 0.1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1, 0.1}, "uulllllllll"},
		{"it is kept from computing as much", []float64{1, 1, 1, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4}, "uulllllll"},
		{"some of a processor", []float64{0.4, 0.4, 0.4, 0.4}, "uuuu"},
		{"hardly anything for a moment", []float64{1, 1, 0.1, 1, 1, 1}, "uuuuul"},
	} {
		for _, version := range []int{1, 2} {
			p, got := newPaper(t, version, 1), ""
			for _, share := range tt.shares {
				p.weigh(t, share)
				got += map[bool]string{false: "u", true: "l"}[p.low[0]]
			}
			if got != tt.want {
				t.Errorf("%s, version %d: weights are %s, want %s", tt.name, version, got, tt.want)
			}
		}
	}
}

// TestWeighMany has groups share two processors: those that compute get less of them the more they are.
func TestWeighMany(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		shares []float64
		want   string
	}{
		{"one beside those that need little", []float64{1.6, 0.02, 0.1, 0.04}, "luuu"},
		{"eight beside those that need little", []float64{0.23, 0.23, 0.23, 0.23, 0.23, 0.23, 0.23, 0.23, 0.04, 0.01}, "lllllllluu"},
		{"equals", []float64{0.5, 0.5, 0.5, 0.5}, "llll"},
		{"all need little", []float64{0.04, 0.04, 0.04, 0.04}, "uuuu"},
	} {
		p, got := newPaper(t, 1, len(tt.shares)), ""
		for range 4 {
			p.weigh(t, tt.shares...)
		}
		for _, low := range p.low {
			got += map[bool]string{false: "u", true: "l"}[low]
		}
		if got != tt.want {
			t.Errorf("%s: weights are %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestWeighRemoved weighs a group that has been removed meanwhile, and one of a host that counts nothing.
func TestWeighRemoved(t *testing.T) {
	t.Parallel()
	p := newPaper(t, 1, 1)
	p.weigh(t, 1)
	p.weigh(t, 1)
	p.groups[0].parts[0].dir = filepath.Join(t.TempDir(), "gone")
	p.now = p.now.Add(100 * time.Millisecond)
	for name, dir := range map[string]string{"the group": p.groups[0].cpuIn, "all": p.allIn} {
		if err := os.WriteFile(filepath.Join(dir, "cpuacct.usage"), []byte("900000000"), 0o600); err != nil {
			t.Fatal(name, err)
		}
	}
	if err := p.Weigh(p.now, 2, append(p.groups, &Group{})); err != nil || !p.groups[0].greed.low {
		t.Errorf("Weigh() of a group that is gone = %v; it was found greedy: %v", err, p.groups[0].greed.low)
	}
	if nobody := (&Manager{}); !nobody.idle(p.now) {
		t.Error("groups are busy although nobody counts")
	}
}
