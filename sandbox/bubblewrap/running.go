package bubblewrap

import (
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"flint/internal/usermap"
	"flint/sandbox"
)

const (
	exitSignal    = 128 // and the signal's number: how bubblewrap tells that a signal ended the program
	exitNoProgram = 127
)

// running is one sandbox.
type running struct {
	*sandbox.Tree
	driver *Driver

	// Set by Start, in this order, as far as it comes.
	user    *user
	status  *os.File
	reports *json.Decoder
	cmd     *exec.Cmd
}

var _ sandbox.Parts = (*running)(nil)

// own gives the writable sources to the sandbox's user.
func (s *running) own() error {
	if s.user == nil {
		return nil
	}
	for _, m := range s.Spec.Mounts {
		if m.Writable {
			if err := usermap.Give(m.Source, int(s.user.id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Wait waits for bubblewrap, which ends with the program.
func (s *running) Wait() { _ = s.cmd.Wait() } // what it says is read from the state

// Verdict says how the program ended.
func (s *running) Verdict() sandbox.Exit {
	var e sandbox.Exit
	state, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		e.Code = s.cmd.ProcessState.ExitCode()
	case state.Signaled():
		e.Signal = state.Signal()
	case state.ExitStatus() > exitSignal && state.ExitStatus() <= exitSignal+64:
		e.Signal = syscall.Signal(state.ExitStatus() - exitSignal)
	default:
		e.Code = state.ExitStatus()
	}
	if e.Code == 1 && !s.ran() {
		e.Code = exitNoProgram
	}
	return e
}

// ran says whether the program ran at all: bubblewrap reports an exit code only then.
func (s *running) ran() bool {
	_ = s.status.SetReadDeadline(time.Now().Add(time.Second)) // all who could write are gone
	for {
		var report struct {
			Exit *int `json:"exit-code"`
		}
		if s.reports.Decode(&report) != nil {
			return false
		}
		if report.Exit != nil {
			return true
		}
	}
}

// Abort ends a bubblewrap that has not come far.
func (s *running) Abort() {
	if s.cmd != nil {
		s.slay()
		_ = s.cmd.Wait()
	}
}

// Remove gives up what bubblewrap reported through.
func (s *running) Remove() error {
	if s.status != nil {
		_ = s.status.Close()
	}
	return nil
}

// Release gives the user back.
func (s *running) Release() {
	if s.user != nil {
		s.driver.users.give(s.user)
	}
}

// slay kills bubblewrap and its child while it starts. The child first: it would go on alone.
func (s *running) slay() {
	pid := strconv.Itoa(s.cmd.Process.Pid)
	if b, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children"); err == nil {
		for child := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(child); err == nil {
				_ = syscall.Kill(n, syscall.SIGKILL)
			}
		}
	}
	s.Group.Kill()
	_ = s.cmd.Process.Kill()
}
