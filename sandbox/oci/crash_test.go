package oci

import (
	"bufio"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flint/sandbox"
)

// doomed is set for the copy of this test that is killed.
const doomed = "FLINT_TEST_DOOMED"

// TestKilledNode kills a process that has a sandbox, and opens a driver after it.
func TestKilledNode(t *testing.T) {
	if dir := os.Getenv(doomed); dir != "" {
		dieSlowly(t, dir)
		return
	}
	open(t, "")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledNode$", "-test.v")
	cmd.Env = append(os.Environ(), doomed+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		if _, number, ok := strings.Cut(lines.Text(), "sandbox of "); ok {
			if pid, err = strconv.Atoi(number); err != nil {
				t.Fatal(err)
			}
		}
	}
	if pid == 0 {
		t.Fatalf("the other process started no sandbox (%v)", cmd.Wait())
	}
	first, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(first)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(first), Events: unix.POLLIN}}, int(time.Minute.Milliseconds())); n != 1 {
		t.Errorf("the sandbox of the killed process is still there (%v)", err)
	}
	open(t, "")
	if left := groupsNamed("doomed"); len(left) > 0 {
		t.Errorf("control groups are left: %v", left)
	}
}

func dieSlowly(t *testing.T, dir string) {
	d, err := New(Config{RunDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Start(t.Context(), sandbox.Spec{ID: "doomed", Args: []string{"sleep", "1000"}, Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	if groups := groupsNamed("doomed"); len(groups) == 0 {
		t.Fatal("the sandbox has no control group")
	}
	os.Stdout.WriteString("sandbox of " + strconv.Itoa(s.(*running).First.Pid) + "\n")
	<-s.Done()
}

func groupsNamed(id string) (found []string) {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && e.Name() == id {
			found = append(found, name)
		}
		return nil // groups of others come and go while one looks
	})
	return found
}
