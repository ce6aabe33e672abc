package serve

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// dialed returns both ends of a connection.
func dialed(t *testing.T) (*socket, *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := dial(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	if err := other.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return s, other
}

func TestSocketMovesBothWays(t *testing.T) {
	s, other := dialed(t)
	defer s.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // far more than there is room for
	var both sync.WaitGroup
	both.Go(func() {
		if n, err := s.Write(sent); n != len(sent) || err != nil {
			t.Errorf("%d bytes written, %v", n, err)
		}
	})
	both.Go(func() {
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("something else was read: %v", err)
		}
	})
	both.Go(func() {
		if _, err := other.Write(sent); err != nil {
			t.Error(err)
		}
	})
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(other, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("something else came: %v", err)
	}
	both.Wait()
	for range 1000 { // one after the other, as a lone caller does
		var b [5]byte
		if _, err := other.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, b[:]); err != nil || string(b[:]) != "hello" {
			t.Fatalf("%q, %v", b, err)
		}
		if _, err := s.Write([]byte("world")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(other, b[:]); err != nil || string(b[:]) != "world" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
}

func TestSocketCloseEndsWhatWaits(t *testing.T) {
	s, other := dialed(t)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := s.Read(make([]byte, 1)); err == nil {
			t.Error("something was read")
		}
	})
	waiting.Go(func() {
		if _, err := s.Write(make([]byte, 1<<24)); err == nil {
			t.Error("all was written, and nobody reads")
		}
	})
	var b [1]byte
	if _, err := io.ReadFull(other, b[:]); err != nil { // so that it writes
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	waiting.Wait()
	if err := s.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("written after the end: %v", err)
	}
}
