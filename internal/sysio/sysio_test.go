package sysio_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"flint/internal/sysio"
)

// pair returns both ends of a TCP connection, the first one wrapped.
func pair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close(); accepted.Close() })
	ours = sysio.Wrap(accepted)
	if _, ok := ours.(*sysio.Conn); !ok {
		t.Fatal("a TCP connection is left as it is")
	}
	for _, c := range []net.Conn{ours, theirs} {
		if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return ours, theirs
}

func TestBytesArrive(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // more than buffers hold
	var writers sync.WaitGroup
	for _, c := range []net.Conn{ours, theirs} {
		writers.Go(func() {
			if n, err := c.Write(sent); n != len(sent) || err != nil {
				t.Errorf("%d bytes written, %v", n, err)
			}
		})
	}
	for _, c := range []net.Conn{ours, theirs} {
		writers.Go(func() {
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("something else came: %v", err)
			}
		})
	}
	writers.Wait()
	theirs.Close()
	if n, err := ours.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d bytes, %v", n, err)
	}
}

func TestDeadlinesHold(t *testing.T) {
	t.Parallel()
	ours, _ := pair(t)
	if err := ours.SetDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading ends with %v", err)
	}
	if n, err := ours.Write(make([]byte, 1<<28)); n == 1<<28 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes written, %v", n, err)
	}
}

func TestOtherConnectionsAreLeft(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if sysio.Wrap(a) != a {
		t.Error("a connection without a descriptor is wrapped")
	}
}
