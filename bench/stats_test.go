package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	tests := []struct {
		name string
		in   []time.Duration
		q    float64
		want time.Duration
	}{
		{"the middle of a hundred", hundred, 0.5, 50},
		{"the last but one", hundred, 0.99, 99},
		{"all", hundred, 1, 100},
		{"one value", hundred[:1], 0.99, 1},
		{"of few values the largest", hundred[:10], 0.99, 10},
		{"no value", nil, 0.5, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := quantile(tt.in, tt.q); got != tt.want {
				t.Errorf("quantile(%v) = %v, want %v", tt.q, got, tt.want)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	values := []float64{9, 1, 5}
	if got := median(values); got != 5 {
		t.Errorf("median() = %v, want 5", got)
	}
	if diff := cmp.Diff([]float64{9, 1, 5}, values); diff != "" {
		t.Errorf("median changed what it was given:\n%s", diff)
	}
	if got := median([]float64{}); got != 0 {
		t.Errorf("median() of nothing = %v", got)
	}
}

func TestPack(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"node":   {"main.js", "package.json"},
		"python": {"main.py"},
		"go":     {"go.mod", "main.go"},
	}
	for language, want := range tests {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			b, err := pack(language)
			if err != nil {
				t.Fatal(err)
			}
			zip, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for r := tar.NewReader(zip); ; {
				h, err := r.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, h.Name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPeersAreHeldAgainstPeers(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, p := range peers() {
		if names[p.Name] {
			t.Errorf("%s is there twice", p.Name)
		}
		names[p.Name] = true
	}
	for _, p := range peers() {
		if p.Beside != "" && !names[p.Beside] {
			t.Errorf("%s is held against %s, which is no peer", p.Name, p.Beside)
		}
	}
}

func TestOnly(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-connections", "64,1", "-only", "warm/flint-.*/64"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 64}, o.connections); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
	var got []string
	for _, p := range peers() {
		if o.wantsPeer(p) {
			got = append(got, p.Name)
		}
	}
	if diff := cmp.Diff([]string{"flint-node", "flint-python", "flint-go"}, got); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
	if o.wants("cold/%s", "node") {
		t.Error("cold starts were not asked for")
	}
}

func TestReadUsage(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	u := readUsage(os.Getpid())
	if u.machine <= 0 || u.generator <= 0 {
		t.Errorf("readUsage() = %+v, want times above 0", u)
	}
	if !below(map[int]int{30: 20, 20: 10}, 30, 10) || below(map[int]int{30: 20, 20: 1}, 30, 10) {
		t.Error("below does not follow parents")
	}
}
