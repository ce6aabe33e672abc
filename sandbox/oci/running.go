package oci

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"flint/internal/stage"
	"flint/sandbox"
)

const (
	exitSignal    = 128     // and the signal's number: how a shell tells that a signal ended a program
	mostComplaint = 4 << 10 // bytes
	mostVerdict   = 16      // bytes of what the first process says
)

func limited(r io.Reader) io.Reader { return io.LimitReader(r, mostComplaint) }

// running is one sandbox.
type running struct {
	*sandbox.Tree
	driver *Driver

	// Set by Start, in this order, as far as it comes.
	user    *user
	first   *os.File // to the first process inside
	starter *exec.Cmd
	made    bool // the runtime has something to remove

	said []byte // by the first process about the end of the program
}

var _ sandbox.Parts = (*running)(nil)

// Wait waits until the first process inside says how the program ended, or says nothing and is gone.
func (s *running) Wait() { s.said, _ = io.ReadAll(io.LimitReader(s.first, mostVerdict)) }

// Verdict says how the program ended. Who was killed before the first process could tell was killed with it.
func (s *running) Verdict() sandbox.Exit {
	status, err := strconv.Atoi(strings.TrimSpace(string(s.said)))
	switch {
	case err != nil:
		return sandbox.Exit{Signal: syscall.SIGKILL}
	case status > exitSignal && status <= exitSignal+64:
		return sandbox.Exit{Signal: syscall.Signal(status - exitSignal)}
	}
	return sandbox.Exit{Code: status}
}

// Abort has nothing to end: the runtime itself is gone when a start fails, or nobody knows of it.
func (s *running) Abort() {}

// Remove takes away what the runtime keeps, and the bundle.
func (s *running) Remove() error {
	var errs []error
	if s.made {
		errs = append(errs, s.removeContainer())
	}
	if s.Stage != nil {
		errs = append(errs, s.OnLauncher(func() error { return os.RemoveAll(s.bundle()) }))
	}
	if s.first != nil {
		_ = s.first.Close()
	}
	return errors.Join(errs...)
}

// Release gives the users back.
func (s *running) Release() {
	if s.user != nil {
		s.driver.users.give(s.user)
	}
}

// removeContainer has the runtime remove what it keeps of the container, which may not exist when a start failed early.
func (s *running) removeContainer() error {
	s.Group.Kill()
	r := s.driver.runtime
	log := path.Join(stage.Root, s.Spec.ID, "log")
	cmd := exec.Command(r.path, r.remove(stateDir, log, s.Spec.ID)...) //nolint:noctx // it has a deadline of its own
	cmd.Env, cmd.Dir = []string{runtimePath}, "/"
	if err := s.OnLauncher(cmd.Start); err != nil {
		return fmt.Errorf("run %s: %w", r.path, err)
	}
	late := time.AfterFunc(removeTimeout, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		var said []byte
		_ = s.OnLauncher(func() error {
			said, _ = os.ReadFile(log)
			return nil
		})
		err = fmt.Errorf("%s: %w", r.kind, complaint(string(said)))
		return errors.Join(err, s.OnLauncher(func() error { return ignoreMissing(os.Remove(log)) }))
	}
	return s.OnLauncher(func() error { return ignoreMissing(os.Remove(log)) })
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
