package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"flint/internal/cgroup"
)

// host is what the attacker must not get at on this side: a file that everybody may read, sockets, ports.
type host struct {
	file         string
	socketPath   string
	abstractName string
	listeners    []net.Listener
	namespaces   map[string]string
	name         string
}

// The places of the ports among the listeners.
const (
	loopbackPort = 2
	everyPort    = 3
)

func namespaceNames() []string { return []string{"user", "pid", "mnt", "ipc", "uts", "cgroup", "net"} }

// openHost makes it below dir.
func openHost(ctx context.Context, dir, token string) (h *host, err error) {
	h = &host{file: filepath.Join(dir, "secret"), socketPath: filepath.Join(dir, "socket"), abstractName: "@flint-probe-" + token, namespaces: map[string]string{}}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if err := os.WriteFile(h.file, []byte(secretMark+token), 0o644); err != nil { // what keeps the attacker out is to be the sandbox
		return nil, err
	}
	if h.name, err = os.Hostname(); err != nil {
		return nil, err
	}
	for _, n := range namespaceNames() {
		if h.namespaces[n], err = os.Readlink("/proc/thread-self/ns/" + n); err != nil { // the main thread may be making the network of a sandbox
			return nil, fmt.Errorf("namespaces of the host: %w", err)
		}
	}
	for _, address := range [][2]string{{"unix", h.socketPath}, {"unix", h.abstractName}, {"tcp4", "127.0.0.1:0"}, {"tcp4", "0.0.0.0:0"}} {
		l, err := (&net.ListenConfig{}).Listen(ctx, address[0], address[1])
		if err != nil {
			return nil, err
		}
		h.listeners = append(h.listeners, l)
	}
	return h, os.Chmod(h.socketPath, 0o666)
}

func (h *host) close() {
	for _, l := range h.listeners {
		_ = l.Close() // nothing was written
	}
}

// addrs are where the host listens: on its loopback, and on the addresses that the outside sees if it has any.
func (h *host) addrs() []string {
	return append([]string{h.listeners[loopbackPort].Addr().String()}, addrsOf(h.listeners[everyPort])...)
}

// addrsOf returns where l, which listens on every address, is reached.
func addrsOf(l net.Listener) []string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	out := []string{net.JoinHostPort("127.0.0.1", port)}
	all, _ := net.InterfaceAddrs() // without them there is only the loopback
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			out = append(out, net.JoinHostPort(p.Addr().String(), port))
		}
	}
	return out
}

// find returns a process of the probe's programs in a mode, as the host numbers it, or 0.
func (p *probe) find(mode string) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(line), "\x00")
		if program := args[0]; program != programTarget && program != p.config.Program {
			continue
		}
		if i := slices.Index(args, p.token); i > 0 && args[i-1] == mode {
			return pid
		}
	}
	return 0
}

func endProcess(pid int) {
	if pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
}

// throttled says whether the kernel held the attacker back, which still runs.
func (p *probe) throttled() string {
	pid := p.find(modeProcessor)
	if pid == 0 {
		return "the attacker is gone"
	}
	n, err := cgroup.Throttled(pid)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "no control group"
	case err != nil:
		return err.Error()
	case n == 0:
		return "not held back"
	}
	return "held back"
}
