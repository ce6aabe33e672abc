package cgroup

import (
	"bytes"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// gauge is a file of the kernel's that is read again and again. It stays open from its first reading until it is closed:
// opening costs many times what reading does. It is safe for concurrent use.
type gauge struct {
	name string // of the file
	key  string // the line whose number is meant; empty: the file is the number

	mu    sync.Mutex
	fd    int // when opened
	state gaugeState
	deaf  bool // the kernel takes no writes
}

type gaugeState int

const (
	gaugeNew gaugeState = iota
	gaugeOpen
	gaugeMissing
)

// mostOfGauge is how much of a file is looked at. What is read stands near the beginning.
const mostOfGauge = 256

// ready opens the file when that was not done. The lock is held.
func (g *gauge) ready(dir string) bool {
	if g.state == gaugeNew {
		path := filepath.Join(dir, g.name)
		fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		if err != nil {
			g.deaf = true
			fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		}
		g.fd, g.state = fd, gaugeOpen
		if err != nil {
			g.state = gaugeMissing
		}
	}
	return g.state == gaugeOpen
}

// read returns the number; 0 when there is none.
func (g *gauge) read(dir string) int64 {
	var room [mostOfGauge]byte
	g.mu.Lock()
	n := 0
	if g.ready(dir) {
		n, _ = syscall.Pread(g.fd, room[:], 0)
	}
	g.mu.Unlock()
	b := room[:max(n, 0)]
	if g.key != "" {
		return field(b, g.key)
	}
	v, _ := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return v
}

// reset writes to the file, which makes the kernel forget a peak, and reports whether it took that.
func (g *gauge) reset(dir string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ready(dir) || g.deaf {
		return false
	}
	if _, err := syscall.Pwrite(g.fd, []byte("0"), 0); err != nil {
		g.deaf = true
	}
	return !g.deaf
}

// close closes the file. A reading that comes later opens it again, if it is still there.
func (g *gauge) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == gaugeOpen {
		_ = syscall.Close(g.fd) // nothing can be lost
		g.state = gaugeNew
	}
}

// clock is the gauge of processor time.
type clock struct {
	gauge
	unit time.Duration
}

// of says in which version's file the time is.
func (c *clock) of(version int) {
	c.name, c.unit = "cpuacct.usage", time.Nanosecond
	if version == 2 {
		c.name, c.key, c.unit = "cpu.stat", "usage_usec", time.Microsecond
	}
}

func (c *clock) duration(dir string) time.Duration { return time.Duration(c.read(dir)) * c.unit }

// field finds the number behind a key at the beginning of a line.
func field(b []byte, key string) int64 {
	for line := range bytes.Lines(b) {
		if k, v, ok := bytes.Cut(bytes.TrimSpace(line), []byte(" ")); ok && string(k) == key {
			n, _ := strconv.ParseInt(string(v), 10, 64)
			return n
		}
	}
	return 0
}
