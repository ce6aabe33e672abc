package proc

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPeer(t *testing.T) {
	t.Parallel()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := Peer(raw); pid != os.Getpid() || err != nil {
		t.Errorf("Peer() = %d, %v, want %d", pid, err, os.Getpid())
	}
}

func TestUsage(t *testing.T) { // not parallel: memory is the process's
	pid := os.Getpid()
	before, ok := CPUTime(pid)
	if !ok {
		t.Fatal("the processor time is not known")
	}
	for n := before; n-before < 10*time.Millisecond; { // ends by using time
		n, _ = CPUTime(pid)
	}
	held := make([]byte, 64<<20)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	if peak, ok := PeakMemory(pid); !ok || peak < int64(len(held)) {
		t.Errorf("PeakMemory() = %d, %v after filling %d bytes", peak, ok, len(held))
	}
	for _, pid := range []int{0, -1, 1 << 22} {
		if _, ok := CPUTime(pid); ok {
			t.Errorf("process %d has used time", pid)
		}
		if _, ok := PeakMemory(pid); ok || ResetPeak(pid) {
			t.Errorf("process %d has memory", pid)
		}
	}
}

func BenchmarkCPUTime(b *testing.B) {
	pid := os.Getppid()
	for b.Loop() {
		CPUTime(pid)
	}
}
