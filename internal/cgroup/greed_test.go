package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestWeigh looks at plain files, which show what both versions of the kernel's do.
func TestWeigh(t *testing.T) {
	t.Parallel()
	const between = 100 * time.Millisecond
	type look struct {
		share float64 // of a processor, since the look before
		idle  bool
	}
	busy, calm, some := look{share: 1}, look{share: 0.1}, look{share: 0.4}
	for _, tt := range []struct {
		name  string
		looks []look
		want  string // a letter for each look: the weight after it, usual or low
	}{
		{"it computes on", []look{busy, busy, busy, busy}, "uull"},
		{"on many processors", []look{busy, {share: 60}, {share: 60}, {share: 60}}, "uull"},
		{"a cold start", []look{busy, busy, calm, busy, calm}, "uuuuu"},
		{"it is calm again", []look{busy, busy, busy, calm, calm, calm, calm, calm, busy, busy}, "uullllluul"},
		{"not for long enough", []look{busy, busy, busy, calm, calm, calm, some, calm, calm, calm, calm}, "uulllllllll"},
		{"it is kept from computing as much", []look{busy, busy, busy, some, some, some, some, some, some}, "uulllllll"},
		{"some of a processor", []look{some, some, some, some}, "uuuu"},
		{"all compute little", []look{busy, busy, {idle: true}, busy, busy, busy}, "uuuuul"},
		{"low when all compute little", []look{busy, busy, busy, {idle: true}, {idle: true}, {idle: true}, {idle: true}, {idle: true}}, "uulllllu"},
	} {
		for _, version := range []int{1, 2} {
			dir := t.TempDir()
			file := func(name, text string) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			name, weights := "cpu.shares", map[string]byte{"1024": 'u', "64": 'l'}
			if version == 2 {
				name, weights = "cpu.weight", map[string]byte{"100": 'u', "6": 'l'}
			}
			p := part{hierarchy: hierarchy{version: version, controllers: []Controller{CPU, CPUTime}}, dir: dir}
			g := &Group{parts: []part{p}}
			g.count(p)
			now, used, got, last := time.Now(), time.Duration(0), "", byte('u')
			for _, l := range tt.looks {
				now = now.Add(between)
				used += time.Duration(l.share * float64(between))
				file("cpuacct.usage", strconv.FormatInt(used.Nanoseconds(), 10)+"\n")
				file(name, "")
				file("cpu.stat", fmt.Sprintf("usage_usec %d\nuser_usec 1\n", used.Microseconds()))
				if err := g.Weigh(now, l.idle); err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if text := strings.TrimSpace(string(b)); text != "" {
					last = weights[text]
				}
				got += string(last)
			}
			if got != tt.want {
				t.Errorf("%s, version %d: weights are %s, want %s", tt.name, version, got, tt.want)
			}
			g.cpu.close()
		}
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	m := &Manager{allIn: t.TempDir()}
	m.all.of(1)
	now, used, got := time.Now(), time.Duration(0), ""
	for _, share := range []float64{0.2, 0.2, 3, 0.6, 0.4, 0} {
		now, used = now.Add(time.Second), used+time.Duration(share*float64(time.Second))
		if err := os.WriteFile(filepath.Join(m.allIn, "cpuacct.usage"), []byte(strconv.FormatInt(used.Nanoseconds(), 10)), 0o600); err != nil {
			t.Fatal(err)
		}
		got += map[bool]string{true: "i", false: "b"}[m.Idle(now)]
	}
	if want := "iibbii"; got != want {
		t.Errorf("idle and busy are %s, want %s", got, want)
	}
	if nobody := (&Manager{}); !nobody.Idle(now) {
		t.Error("groups are busy although nobody counts")
	}
	m.all.close()
}
