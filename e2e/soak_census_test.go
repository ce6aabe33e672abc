package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/nftables"

	"flint/e2e/node"
)

// census is how much there is of what a node might leave behind, by name.
type census map[string]int

// What may differ at rest: how much of it comes and goes by itself. Everything else must not grow at all.
type slack struct {
	absolute int
	percent  int
}

// soakKeptSpaces is how many namespaces of users a node keeps for the sandboxes to come: as many as it once had sandboxes
// at once, which are its workers, stems and builds at most.
const soakKeptSpaces = 80

func (s slack) of(n int) int { return s.absolute + n*s.percent/100 }

// withDetector reports whether the tests, and with them the soaked node, were built with the race detector.
func withDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// slacks of what is not counted exactly. Connections that are about to close and the runtime's own make a difference of
// some goroutines and files; threads are kept by Go. What Go has of the system is more than what lives, by what the last
// collections found. What is resident has the database's caches besides, which grow with its file until they are full.
// The race detector keeps what it knows of each address that was ever used and gives none of it back, which is several
// times the node's own memory.
func slacks(name string) slack {
	switch name {
	case "goroutines", "descriptors", "descriptors of the database", "descriptors of sockets":
		return slack{absolute: 4}
	case "kept namespaces of users":
		return slack{absolute: soakKeptSpaces}
	case "threads":
		return slack{absolute: 12}
	case "heap kB":
		return slack{absolute: 4 << 10, percent: 10}
	case "memory of Go kB":
		return slack{absolute: 48 << 10, percent: 15}
	case "resident kB":
		if withDetector() {
			return slack{absolute: 96 << 10, percent: 100}
		}
		return slack{absolute: 96 << 10, percent: 15}
	}
	return slack{}
}

// grown says what there is more of than before.
func (c census) grown(before census) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if bound := before[name] + slacks(name).of(before[name]); c[name] > bound {
			errs = append(errs, fmt.Errorf("%s: %d, and before %d", name, c[name], before[name]))
		}
	}
	return errors.Join(errs...)
}

// table shows what there was before and after, and what is allowed.
func (c census) table(before census) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-36s %10s %10s %10s\n", "", "before", "after", "allowed")
	both := maps.Clone(before)
	maps.Copy(both, c)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		fmt.Fprintf(&b, "%-36s %10d %10d %10d\n", name, before[name], c[name], before[name]+slacks(name).of(before[name]))
	}
	return b.String()
}

// surveyor counts.
type surveyor struct {
	node   *node.Node
	inside *inside
	temp   string // the node's TMPDIR
}

func (s *surveyor) count(ctx context.Context, t testing.TB) (census, error) {
	t.Helper()
	c := census{}
	var errs []error
	set := func(name string, n int, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("count %s: %w", name, err))
		}
		c[name] += n
	}
	proc := fmt.Sprintf("/proc/%d", s.node.PID())
	if _, err := s.inside.lines(ctx, "/free"); err != nil {
		return nil, err
	}
	s.node.CloseIdle()
	n, err := s.inside.heap(ctx)
	set("heap kB", n>>10, err)
	n, err = s.inside.memory(ctx)
	set("memory of Go kB", n>>10, err)
	n, err = s.inside.goroutines(ctx)
	set("goroutines", n, err)
	n, err = statusField(proc, "VmRSS:")
	set("resident kB", n, err)
	s.descriptors(set)
	n, err = entries(proc + "/task")
	set("threads", n, err)
	mounts, err := os.ReadFile(proc + "/mountinfo")
	set("mounts", strings.Count(string(mounts), s.node.Data), err)
	s.processes(t, set)
	n, err = s.groups()
	set("control groups", n, err)
	s.networks(set)
	n, err = entries(s.temp)
	set("temporary files", n, err)
	s.files(set)
	for _, name := range []string{"flint_workers", "flint_waiting_calls"} {
		v, err := s.node.Metric(ctx, name)
		set(strings.ReplaceAll(strings.TrimPrefix(name, "flint_"), "_", " "), int(v), err)
	}
	return c, errors.Join(errs...)
}

// descriptors counts what the node has open, and how much there is of what kinds.
func (s *surveyor) descriptors(set func(string, int, error)) {
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.node.PID()))
	for _, fd := range all {
		target, err := os.Readlink(fd)
		if err != nil {
			continue // it was closed
		}
		kind, _, special := strings.Cut(target, ":")
		if kind == "user" {
			set("kept namespaces of users", 1, nil)
			continue
		}
		set("descriptors", 1, nil)
		switch {
		case special && kind == "socket":
			set("descriptors of sockets", 1, nil)
		case special:
			set("descriptors of "+kind+" "+strings.Trim(strings.TrimPrefix(target, kind+":"), "[]0123456789"), 1, nil)
		case strings.Contains(target, "flint.db"):
			set("descriptors of the database", 1, nil)
		case strings.HasPrefix(target, s.node.Data):
			set("descriptors of files in data", 1, nil)
		default:
			set("descriptors of other files", 1, nil)
		}
	}
	set("descriptors", 0, err)
}

func entries(dir string) (int, error) {
	all, err := os.ReadDir(dir)
	return len(all), err
}

func statusField(proc, name string) (int, error) {
	b, err := os.ReadFile(proc + "/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), name)
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0, fmt.Errorf("no %s", name)
	}
	return strconv.Atoi(f[0])
}

// processes counts what runs below the node, what is dead below it and was not waited for, and the namespaces of the network
// that they are in.
func (s *surveyor) processes(t testing.TB, set func(string, int, error)) {
	t.Helper()
	below := descendants(t, s.node.PID())
	set("processes", len(below), nil)
	spaces := map[string]bool{}
	for _, p := range below {
		if space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.pid)); err == nil {
			spaces[space] = true
		}
	}
	set("network namespaces", len(spaces), nil)
	zombies := 0
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range all {
		b, _ := os.ReadFile(file) // others come and go
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] == "Z" && f[1] == strconv.Itoa(s.node.PID()) {
			zombies++
		}
	}
	set("zombies", zombies, err)
}

// groups counts the control groups of the node, in all hierarchies.
func (s *surveyor) groups() (n int, err error) {
	err = filepath.WalkDir("/sys/fs/cgroup", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // groups of others come and go
		}
		if owner, _, ok := strings.Cut(filepath.Base(filepath.Dir(file)), "-"); ok && owner == strconv.Itoa(s.node.PID()) {
			n++
		}
		return nil
	})
	return n, err
}

// networks counts the interfaces and rules in the block that the node has locked, if it has one.
func (s *surveyor) networks(set func(string, int, error)) {
	block := ""
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.node.PID()))
	for _, fd := range all {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, "/run/flint/block-") {
			block = "flint" + strings.TrimPrefix(target, "/run/flint/block-")
		}
	}
	if block == "" {
		return
	}
	links, err := filepath.Glob("/sys/class/net/" + block + "-*")
	set("network interfaces", len(links), err)
	c, err := nftables.New()
	if err != nil {
		set("rules of the network", 0, err)
		return
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	set("rules of the network", 0, err)
	for _, chain := range chains {
		if chain.Table.Name == block {
			rules, err := c.GetRules(chain.Table, chain)
			set("rules of the network", len(rules), err)
		}
	}
	sets, err := c.GetSets(&nftables.Table{Family: nftables.TableFamilyINet, Name: block})
	set("elements of the network's sets", 0, err)
	for _, of := range sets {
		elements, err := c.GetSetElements(of)
		set("elements of the network's sets", len(elements), err)
	}
}

// files counts what is in the data directory, by the directory below it: not into packages that are mounted there.
func (s *surveyor) files(set func(string, int, error)) {
	const depth = 3
	err := filepath.WalkDir(s.node.Data, func(file string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(s.node.Data, file)
		if err != nil || rel == "." {
			return nil //nolint:nilerr // what goes while it is counted is not there
		}
		top, _, deeper := strings.Cut(rel, "/")
		if !d.IsDir() || deeper && top != "blobs" { // which has up to 256 directories that stay
			if !d.IsDir() && !deeper {
				top = "."
			}
			set("files in data/"+top, 1, nil)
		}
		if d.IsDir() && (strings.Count(rel, "/") >= depth-1 || slices.Contains([]string{"runtimes", "toolchains", "seeds"}, top)) {
			return filepath.SkipDir
		}
		return nil
	})
	set("files in data/.", 0, err)
}
