package worker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// socketPair returns a socket and what is at its other end.
func socketPair(t *testing.T) (*socket, *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr)) //nolint:forcetypeassert // it is what was asked for
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	accepted, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSocket(accepted)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if err := other.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return s, other
}

// reading waits for what it reads.
type reading struct{ *socket }

func (r reading) Read(p []byte) (n int, err error) {
	waitErr := r.eachTime(func() bool {
		n, err = r.tryRead(p)
		return !errors.Is(err, syscall.EAGAIN)
	})
	if waitErr != nil {
		return 0, waitErr
	}
	return n, err
}

func TestSocketMovesBothWays(t *testing.T) {
	t.Parallel()
	s, other := socketPair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // far more than there is room for
	if n, err := s.tryWrite(sent); n == 0 || n == len(sent) || err != nil {
		t.Fatalf("%d of %d bytes fit in, %v", n, len(sent), err)
	} else if _, err := io.CopyN(io.Discard, other, int64(n)); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() {
		if err := s.write(sent, time.Now().Add(30*time.Second)); err != nil {
			t.Error(err)
		}
	})
	both.Go(func() {
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(reading{s}, got); err != nil || !bytes.Equal(got, sent) {
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
		if _, err := io.ReadFull(reading{s}, b[:]); err != nil || string(b[:]) != "hello" {
			t.Fatalf("%q, %v", b, err)
		}
		if n, err := s.tryWrite([]byte("world")); n != 5 || err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(other, b[:]); err != nil || string(b[:]) != "world" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := (reading{s}).Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
	if err := s.write(sent, time.Now().Add(30*time.Second)); err == nil {
		t.Error("written after the end")
	}
}

func TestSocketWaitsNoLonger(t *testing.T) {
	t.Parallel()
	s, _ := socketPair(t)
	if err := s.write(make([]byte, 1<<24), time.Now().Add(10*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody reads, and writing ends with %v", err)
	}
}

func TestSocketCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	s, other := socketPair(t)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := (reading{s}).Read(make([]byte, 1)); err == nil {
			t.Error("something was read")
		}
	})
	waiting.Go(func() {
		if err := s.write(make([]byte, 1<<24), time.Now().Add(30*time.Second)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("closed, and writing ends with %v", err)
		}
	})
	if _, err := io.ReadFull(other, make([]byte, 1)); err != nil { // so that it writes
		t.Fatal(err)
	}
	s.close()
	waiting.Wait()
	s.close() // harmless
	if _, err := s.tryWrite([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("written after the end: %v", err)
	}
}
