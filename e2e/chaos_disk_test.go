package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // reads what a node has left

	"flint/e2e/node"
)

// TestChaosFullDisk fills the disk under a node while calls arrive, and empties it again. CHAOS_FILLS says how often.
func TestChaosFullDisk(t *testing.T) {
	t.Parallel()
	fills, rate := chaosSize(t, "CHAOS_FILLS", 1, 10), chaosSize(t, "CHAOS_RATE", 20, 100)
	const timeout = 15
	data := smallDisk(t, 160<<20)
	dice, l, b := chaosDice(t), newLedger(t), newBooks()
	c := newChaosNode(t, data, l.flag(), "--rate-limits=false")
	n := c.start(0)
	f := c.deploy("chaos", timeout, l)
	load := startChaosLoad(t, c, b, chaosGenerators(f, rate, 100))
	quiet := complaints(n)
	var full time.Duration
	for i := range fills {
		pass(t.Context(), between(dice, 300*time.Millisecond, time.Second))
		begun := time.Now()
		empty := fill(t, data)
		if i == 0 {
			withoutRoom(t, n, f)
		}
		pass(t.Context(), between(dice, time.Second, 3*time.Second))
		empty()
		full += time.Since(begun)
		// The service comes back by itself.
		node.Eventually(t, 20*time.Second, func(ctx context.Context) error {
			e, err := n.Execute(ctx, f.ID, node.Call{Async: true})
			if err == nil {
				if e, err = n.Finished(ctx, f.ID, e.ID); err == nil && e.Status != "completed" {
					err = fmt.Errorf("it is %s: %s", e.Status, e.Errors)
				}
			}
			return err
		})
	}
	load.stop()
	said := complaints(n) - quiet
	settled(t, n, f, timeout*time.Second+30*time.Second)
	if said > 20+10*fills {
		t.Errorf("%d lines of warnings and errors for %d times that the disk was full: %v, %v", said, fills, n.Logged("ERROR"), n.Logged("WARN"))
	}
	// What was acknowledged is there, also for those who come after the process.
	c.kill()
	intact(t, filepath.Join(data, "flint.db"))
	n = c.start(0)
	o := b.balance(t, c, f, l, timeout*time.Second+30*time.Second)
	t.Logf("full disk:\n%s", o.table(load, "filled", fmt.Sprintf("%d times, %s in all", fills, full.Round(time.Second)), "warnings and errors logged", fmt.Sprint(said)))
	for what, times := range load.refusals() {
		if what != "503 general_storage_unavailable" && !strings.HasPrefix(what, "429 ") && what != "503 general_too_busy" {
			t.Errorf("%d calls were answered with %s", times, what)
		}
	}
	if load.refusals()["503 general_storage_unavailable"] == 0 {
		t.Error("nobody was told that there is no storage: the disk was not full")
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// withoutRoom asks for what needs room.
func withoutRoom(t *testing.T, n *node.Node, f *node.Function) {
	t.Helper()
	want := func(what string, err error) {
		t.Helper()
		failed, ok := errors.AsType[*node.Error](err)
		if !ok || failed.Status != http.StatusServiceUnavailable || failed.Type != "general_storage_unavailable" {
			t.Errorf("%s on a full disk: %v", what, err)
		}
	}
	node.Eventually(t, 10*time.Second, func(ctx context.Context) error { // the log of commits has some room yet
		_, err := n.Execute(ctx, f.ID, node.Call{Async: true, Body: strings.Repeat("x", 100_000)})
		if err == nil {
			return errors.New("there is still room")
		}
		want("an asynchronous call", err)
		return nil
	})
	want("a new function", n.Create(t.Context(), node.Function{ID: "more", Name: strings.Repeat("m", 100), Runtime: f.Runtime, Enabled: true}))
	_, err := n.Upload(t.Context(), f.ID, "", node.Archive(t, map[string]string{"index.js": read(t, "functions/chaos.js"), "more.txt": strings.Repeat("unlike", 20_000)}))
	want("an upload", err)
}

// smallDisk mounts a disk of its own for a data directory. It needs root, and the test is skipped loudly without.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", size)); err != nil {
		t.Skipf("SKIP: no full disk can be tested, because no small one can be mounted (that takes root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir)
}

// fill takes all the room that a disk has, and more that becomes free meanwhile, until empty is called.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	take := func() {
		for piece := make([]byte, 1<<20); len(piece) > 0; {
			if _, err := file.Write(piece); err != nil {
				piece = piece[:len(piece)/2]
			}
		}
	}
	take()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with empty
		defer close(done)
		for ctx.Err() == nil {
			pass(ctx, 50*time.Millisecond)
			take()
		}
	}()
	return func() {
		stop()
		<-done
		if err := errors.Join(file.Close(), os.Remove(name)); err != nil {
			t.Error(err)
		}
	}
}

// intact fails when a database that nobody uses is damaged.
func intact(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(t.Context(), "pragma integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("the database is %q, %v", verdict, err)
	}
}

// complaints is how many lines of warnings and errors a node has logged.
func complaints(n *node.Node) (lines int) {
	for _, level := range []string{"ERROR", "WARN"} {
		for _, times := range n.Logged(level) {
			lines += times
		}
	}
	return lines
}
