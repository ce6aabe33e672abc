package vectors

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"flint/internal/frame"
)

// patience bounds every wait of a conversation.
const patience = 30 * time.Second

// Worker is how the worker of a language starts, and what it serves.
type Worker struct {
	Key         string
	Args        []string
	Compiled    bool   // it has the environment from its start, and no entrypoint
	Concurrency int    // requests at once
	Code        string // the fixture, built if need be
	Entrypoint  string
}

// Play plays the conversation with a fresh worker.
func (c Conversation) Play(t *testing.T, l *Worker) {
	t.Helper()
	if why := c.Except[l.Key]; why != "" {
		t.Skipf("%s: %s", l.Key, why)
	}
	if c.Interpreted && l.Compiled {
		t.Skipf("%s has no entrypoint", l.Key)
	}
	if c.Concurrency > 1 && l.Concurrency < c.Concurrency {
		t.Skipf("%s runs %d at once", l.Key, l.Concurrency)
	}
	env := map[string]string{}
	for _, s := range c.Steps {
		if s.Send != nil && s.Send.Type == "load" {
			maps.Copy(env, s.Send.Env)
		}
	}
	p := start(t, l, env)
	p.manual = c.Manual
	if !c.Bare {
		p.expect(&expectation{Type: "hello"})
		p.send(&sending{Type: "load"})
		p.expect(&expectation{Type: "ready"})
	}
	at := 0
	defer func() {
		if t.Failed() {
			t.Logf("at step %d of %q", at, c.Name)
		}
	}()
	for i, s := range c.Steps {
		at = i + 1
		switch {
		case s.Send != nil:
			p.send(s.Send)
		case s.Raw != "":
			raw, err := hex.DecodeString(s.Raw)
			if err != nil {
				t.Fatal(err)
			}
			p.write(raw, 0)
		case s.Close:
			_ = p.conn.CloseWrite()
		case s.Expect != nil:
			p.expect(s.Expect)
		}
	}
	if !p.exited {
		_ = p.conn.CloseWrite()
		zero := 0
		p.expect(&expectation{Type: "exit", Status: &zero})
	}
}

// start starts a worker and takes its connection.
func start(t *testing.T, l *Worker, env map[string]string) *peer {
	t.Helper()
	dir, err := os.MkdirTemp("", "vec") //nolint:usetesting // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*patience)
	cmd := exec.CommandContext(ctx, l.Args[0], l.Args[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "FLINT_SOCKET=" + filepath.Join(dir, "s")}
	for k, v := range env {
		if l.Compiled { // others get it with the load
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	cmd.WaitDelay = time.Second
	p := &peer{t: t, l: l, output: new(bytes.Buffer), calls: map[uint32]*exchange{}, control: map[string][][]byte{}}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	p.wait = cmd.Wait
	t.Cleanup(func() {
		cancel()
		if !p.exited {
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("the worker printed:\n%s\nand logged for no request:\n%s", p.output, p.stray)
		}
	})
	_ = listener.SetDeadline(time.Now().Add(patience))
	if p.conn, err = listener.AcceptUnix(); err != nil {
		t.Fatalf("the worker did not connect: %v", err)
	}
	t.Cleanup(func() { _ = p.conn.Close() })
	p.r = bufio.NewReader(p.conn)
	return p
}

// exit waits until the adapter has closed the connection and ended.
func (p *peer) exit(e *expectation) {
	p.t.Helper()
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		h, payload, err := frame.Read(p.r, nil)
		if err == nil {
			p.take(h, payload)
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Fatal("the adapter keeps the connection open")
		}
		break
	}
	p.exited = true
	err := p.wait()
	status := 0
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		status = failed.ExitCode()
	} else if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		p.t.Fatal(err)
	}
	if e.Status != nil && status != *e.Status {
		p.t.Errorf("exit status %d, want %d", status, *e.Status)
	}
}
