package guard

import (
	"log/slog"
	"os/exec"
	"syscall"
	"testing"
)

func TestGuardEndsWhatIsOnItsList(t *testing.T) {
	g, err := New(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	start := func() *exec.Cmd {
		t.Helper()
		cmd := exec.Command("sleep", "600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		g.Watch(cmd.Process.Pid)
		return cmd
	}
	first, forgotten, last := start(), start(), start()
	g.Forget(forgotten.Process.Pid)
	g.Forget(1 << 30) // not on the list
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	for _, cmd := range []*exec.Cmd{first, last} {
		_ = cmd.Wait()
		if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
			t.Errorf("ended with %v, want SIGKILL", cmd.ProcessState)
		}
	}
	if err := forgotten.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("one that was taken off the list: %v", err)
	}
	_ = forgotten.Process.Kill()
	_ = forgotten.Wait()
}
