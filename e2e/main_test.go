package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"flint/e2e/node"
)

// shared is the node of the tests that leave it as it is.
type sharedNode struct {
	once sync.Once
	node *node.Node
	err  error
}

var shared sharedNode

func (s *sharedNode) get(t testing.TB) *node.Node {
	t.Helper()
	s.once.Do(func() { s.node, s.err = node.Launch(context.Background(), node.Options{}) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.node
}

func TestMain(m *testing.M) {
	code := node.Main(m)
	if n := shared.node; n != nil {
		if err := n.Stop(); err != nil {
			fmt.Println("FAIL: the shared node:", err)
			code = 1
		}
		if code != 0 {
			fmt.Println("the shared node's log:\n" + n.Log())
		}
	}
	os.Exit(code)
}

// runtime returns the newest runtime of a language, and skips the test when the machine has none.
func runtime(t testing.TB, n *node.Node, language string) string {
	t.Helper()
	offered, err := n.Runtimes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if offered[language] == "" {
		t.Skipf("SKIP-LANGUAGE: %s: its toolchain is not on this machine", language)
	}
	return offered[language]
}

// fixture returns the conformance function of a language.
func fixture(t testing.TB, language string) map[string]string {
	t.Helper()
	root, err := node.Root()
	if err != nil {
		t.Fatal(err)
	}
	return node.Files(t, os.DirFS(filepath.Join(root, "runtimes", language, "fixture")))
}

// read returns a file of testdata.
func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// process is one row of /proc.
type process struct {
	pid, parent int
	started     string // with the pid, it names the process for as long as the machine runs
	command     string
}

func (p process) String() string { return fmt.Sprintf("%d %s", p.pid, p.command) }

// alive reports whether the very process still runs; a zombie does not.
func (p process) alive() bool {
	now, err := look(p.pid)
	return err == nil && now.started == p.started
}

var errZombie = errors.New("it is a zombie")

func look(pid int) (process, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	_, rest, _ := strings.Cut(string(b[max(0, strings.LastIndexByte(string(b), ')')):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" {
		return process{}, errZombie
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return process{}, err
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return process{pid, parent, fields[19], strings.ReplaceAll(strings.TrimRight(string(command), "\x00"), "\x00", " ")}, err
}

// descendants returns the processes below one.
func descendants(t testing.TB, of int) []process {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := look(pid); err == nil { // others come and go
			children[p.parent] = append(children[p.parent], p)
		}
	}
	var found []process
	for next := []int{of}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			found = append(found, p)
			next = append(next, p.pid)
		}
	}
	return found
}

// offers says whether this machine has a layer of isolation, as flint sees it that is started with args.
func offers(t testing.TB, n *node.Node, layer string, args ...string) bool {
	t.Helper()
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), binary, append([]string{"doctor", "--data", n.Data}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("flint doctor: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if words := strings.Join(strings.Fields(line), " "); strings.HasPrefix(words, "ok "+layer+" ") {
			return true
		}
	}
	return false
}
