package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"flint"
)

const crashEnv = "FLINT_STORE_TEST_CRASH"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		appendUntilKilled(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// bundle is a store with a project, a function and the changes that it announced.
type bundle struct {
	*Store
	f       *flint.Function
	mu      sync.Mutex
	changes []Change
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{f: &flint.Function{Project: "p", ID: "f", Name: "F", Runtime: "node-22", Enabled: true, Live: true, Timeout: 15 * time.Second}}
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "data", "flint.db"), Secret: secret(1), Changed: func(c Change) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changes = append(b.changes, c)
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.Store = s
	t.Cleanup(func() { must(t, s.Close()) })
	must(t, s.CreateProject(t.Context(), &flint.Project{ID: "p", Name: "P"}))
	must(t, s.CreateFunction(t.Context(), b.f, nil))
	b.announced()
	return b
}

// announced returns the changes since the last time it was asked.
func (b *bundle) announced() []Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.changes
	b.changes = nil
	return c
}

func secret(seed byte) []byte { return bytes.Repeat([]byte{seed}, 32) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

func diff(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func value[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b%c?d", "flint.db")
	open := func(key []byte) (*Store, error) { return Open(t.Context(), Config{Path: path, Secret: key}) }
	s, err := open(secret(1))
	must(t, err)
	must(t, s.CreateProject(t.Context(), &flint.Project{ID: "p", Name: "P"}))
	must(t, s.Close())
	must(t, s.Close())

	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, want 0600", info.Mode())
	}
	_, err = s.Project(t.Context(), "p")
	wantErr(t, "read after Close", err, flint.ErrShuttingDown)
	_, _, err = s.Functions(t.Context(), "p", flint.List{})
	wantErr(t, "list after Close", err, flint.ErrShuttingDown)
	wantErr(t, "write after Close", s.CreateProject(t.Context(), &flint.Project{ID: "q"}), flint.ErrShuttingDown)

	if _, err := open(secret(2)); err == nil || !strings.Contains(err.Error(), "another secret") {
		t.Errorf("Open with another secret: %v", err)
	}
	if _, err := open([]byte("short")); err == nil {
		t.Error("Open with a short secret: no error")
	}
	s, err = open(secret(1))
	must(t, err)
	if p, err := s.Project(t.Context(), "p"); err != nil || p.Name != "P" {
		t.Errorf("Project() after reopening = %v, %v", p, err)
	}
	must(t, s.Close())
}

func TestOpenRefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "flint.db")
	apply := func(files fs.FS) error {
		db := openWriter(path)
		defer db.Close()
		must(t, touch(path))
		c, err := db.Conn(t.Context())
		must(t, err)
		defer c.Close()
		return migrate(t.Context(), c, files, path)
	}
	one := &fstest.MapFile{Data: []byte("create table a (id text); create table b (id text)")}
	two := &fstest.MapFile{Data: []byte("alter table a add column more bigint")}
	bad := &fstest.MapFile{Data: []byte("create table c (id text); create nonsense")}
	must(t, apply(fstest.MapFS{"0001_a.sql": one}))
	must(t, apply(fstest.MapFS{"0001_a.sql": one}))
	if err := apply(fstest.MapFS{"0001_a.sql": two}); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("a changed file: %v", err)
	}
	if err := apply(fstest.MapFS{"0001_a.sql": one, "0002_b.sql": bad}); err == nil {
		t.Error("a broken file: no error")
	}
	must(t, os.Remove(path+".before-0002_b.sql"))
	must(t, apply(fstest.MapFS{"0001_a.sql": one, "0002_b.sql": two}))
	if _, err := os.Stat(path + ".before-0002_b.sql"); err != nil {
		t.Errorf("no copy was made before the second file: %v", err)
	}
	if err := apply(fstest.MapFS{"0001_a.sql": one}); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("an unknown file: %v", err)
	}
}

func TestSealedValuesOpenOnlyInTheirPlace(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a, b := s.sealed("value", "x", "1"), s.sealed("value", "x", "1")
	if a == b || strings.Contains(a, "value") {
		t.Errorf("sealed() = %q and %q", a, b)
	}
	if got, err := s.unsealed(a, "x", "1"); got != "value" || err != nil {
		t.Errorf("unsealed() = %q, %v", got, err)
	}
	for _, place := range [][]string{{"x", "2"}, {"x1"}, {"x:1"}, nil} {
		if _, err := s.unsealed(a, place...); err == nil {
			t.Errorf("unsealed(%q) opened", place)
		}
	}
	if _, err := s.unsealed("!", "x", "1"); err == nil {
		t.Error("a damaged value opened")
	}
}

// TestKilledProcessLosesNothingAcknowledged kills a process in the middle of its writes, again and again on one file.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "flint.db")
	self, err := os.Executable()
	must(t, err)
	var told []string
	for round := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, self, "-test.run=^$")
		cmd.Env = append(os.Environ(), crashEnv+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			told = append(told, lines.Text())
			if n == 400+round*137 {
				must(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait()
		cancel()
	}
	if len(told) < 1200 {
		t.Fatalf("the processes acknowledged %d rows", len(told))
	}
	s, err := Open(t.Context(), Config{Path: path, Secret: secret(1)})
	must(t, err)
	defer s.Close()
	for _, line := range told {
		kind, id, _ := strings.Cut(line, " ")
		e, err := s.Execution(t.Context(), "p", "f", flint.ExecutionID(id))
		if err != nil {
			t.Fatalf("acknowledged %s is gone: %v", line, err)
		}
		if want := map[string]flint.ExecutionStatus{"append": "completed", "keep": "completed", "queue": "waiting"}[kind]; e.Status != want {
			t.Fatalf("%s has status %s, want %s", line, e.Status, want)
		}
	}
	var result string
	must(t, s.one(t.Context(), "pragma integrity_check", nil, func(r scanner) error { return r.Scan(&result) }))
	if result != "ok" {
		t.Errorf("integrity check: %s", result)
	}
}

// appendUntilKilled is the process that TestKilledProcessLosesNothingAcknowledged starts.
func appendUntilKilled(path string) {
	ctx := context.Background()
	s, err := Open(ctx, Config{Path: path, Secret: secret(1)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = s.CreateProject(ctx, &flint.Project{ID: "p"})
	_ = s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "f"}, nil)
	var wg sync.WaitGroup
	var out sync.Mutex
	for i := range 8 {
		wg.Go(func() {
			for {
				e := &flint.Execution{Project: "p", Function: "f", ID: flint.ExecutionID(flint.NewID()), Status: flint.ExecutionCompleted, Logs: "x"}
				kind, write := "append", s.AppendExecution
				switch {
				case i > 3:
					kind, write = "keep", s.KeepExecution
				case i == 0:
					kind, write = "queue", func(ctx context.Context, e *flint.Execution) error {
						return s.EnqueueExecution(ctx, e, &QueuedCall{Body: []byte("b")})
					}
				}
				if err := write(ctx, e); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(kind, e.ID)
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

func ids[T any](rows []T, id func(T) string) string {
	var all []string
	for _, r := range rows {
		all = append(all, id(r))
	}
	return strings.Join(all, " ")
}

func sortedChanges(all []Change) []Change {
	slices.SortFunc(all, func(a, b Change) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return all
}
