package runtimes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// memory keeps in a file what programs answered to probes, also that they did not answer: asking all of them again would
// be most of a node's start. An answer counts while the program, and the one that it named as itself, have the size and
// the time that they had. It is safe for concurrent use.
type memory struct {
	file string // empty: nothing is kept

	mu      sync.Mutex
	answers map[string]answer // by the program that was asked
}

// answer is what one program said.
type answer struct {
	Probe     []string
	Asked     mark
	Host      mark       // of Toolchain.Host
	Toolchain *Toolchain // nil: it did not answer
}

// mark tells one state of a file from another.
type mark struct {
	Size int64
	At   int64 // modification time in nanoseconds
}

func markOf(file string) (mark, bool) {
	s, err := os.Stat(file)
	if err != nil {
		return mark{}, false
	}
	return mark{s.Size(), s.ModTime().UnixNano()}, true
}

// loadMemory reads a file. One that is missing or damaged holds nothing.
func loadMemory(file string) *memory {
	m := &memory{file: file}
	if b, err := os.ReadFile(file); err != nil || json.Unmarshal(b, &m.answers) != nil || m.answers == nil {
		m.answers = map[string]answer{}
	}
	return m
}

// recall returns what a program answered, and false when that is not known or something has changed since.
func (m *memory) recall(file string, probe []string) (*Toolchain, bool) {
	m.mu.Lock()
	a, ok := m.answers[file]
	m.mu.Unlock()
	if !ok || !slices.Equal(a.Probe, probe) {
		return nil, false
	}
	if now, ok := markOf(file); !ok || now != a.Asked {
		return nil, false
	}
	if a.Toolchain == nil {
		return nil, true
	}
	if now, ok := markOf(a.Toolchain.Host); !ok || now != a.Host {
		return nil, false
	}
	for _, t := range a.Toolchain.Trees {
		if _, ok := markOf(t.Source); !ok {
			return nil, false
		}
	}
	return a.Toolchain, true
}

// marked begins an answer. It is called before the program is asked: what changes meanwhile is asked again.
func marked(file string, probe []string) (answer, bool) {
	at, ok := markOf(file)
	return answer{Probe: probe, Asked: at}, ok
}

// keep remembers what a program answered. A program that was written within the last moments may be written to again
// without its time showing it, and is asked the next time too.
func (m *memory) keep(file string, a answer, t *Toolchain) {
	ok := time.Since(time.Unix(0, a.Asked.At)) > recent
	if t != nil && ok {
		a.Toolchain = t
		a.Host, ok = markOf(t.Host)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if ok {
		m.answers[file] = a
	} else {
		delete(m.answers, file)
	}
}

// recent is the time within which two changes of a file may look like one.
const recent = 2 * time.Second

// save writes the file, of programs that are still there. Without it the next start asks again, which is no reason to fail.
func (m *memory) save() {
	if m.file == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for file := range m.answers {
		if _, ok := markOf(file); !ok {
			delete(m.answers, file)
		}
	}
	b, err := json.Marshal(m.answers)
	if err != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(m.file), ".probes-*")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if closed := f.Close(); err != nil || closed != nil || os.Rename(f.Name(), m.file) != nil {
		_ = os.Remove(f.Name())
	}
}
