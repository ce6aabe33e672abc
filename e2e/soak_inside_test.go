package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"flint/cli"
)

// insideVariable makes a process of the tests' program a node that can be asked what goes on inside of it, and that has
// the race detector when the tests have it. It holds the socket where the node is asked.
const insideVariable = "SOAK_NODE_SOCKET"

// serveInside is the program flint with profiles on a socket.
func serveInside(socket string, args []string) (code int) {
	debug.SetGCPercent(400) // as the program does
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	mux := http.NewServeMux()
	mux.Handle("/goroutine", pprof.Handler("goroutine"))
	mux.Handle("/heap", pprof.Handler("heap"))
	mux.HandleFunc("/free", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	defer func() {
		if err := errors.Join(s.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return cli.Main(ctx, args, os.Stdout, os.Stderr)
}

// inside asks a node that serveInside runs. Every question has a connection of its own, which leaves nothing.
type inside struct{ client http.Client }

func newInside(socket string) *inside {
	return &inside{http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// lines returns what is answered to a question, line by line.
func (i *inside) lines(ctx context.Context, path string) ([]string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://inside"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := i.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, resp.Status)
	}
	var all []string
	scanner := bufio.NewScanner(resp.Body)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		all = append(all, scanner.Text())
	}
	return all, scanner.Err()
}

// number reads the first number after a text in the answer to a question.
func (i *inside) number(ctx context.Context, path, after string) (int, error) {
	all, err := i.lines(ctx, path)
	if err != nil {
		return 0, err
	}
	for _, line := range all {
		if _, rest, ok := strings.Cut(line, after); ok {
			return strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return 0, fmt.Errorf("%s says nothing of %q", path, after)
}

// goroutines counts them, without the two that count.
func (i *inside) goroutines(ctx context.Context) (int, error) {
	return i.number(ctx, "/goroutine?debug=1", "goroutine profile: total")
}

// heap is what is alive on the heap, in bytes.
func (i *inside) heap(ctx context.Context) (int, error) {
	return i.number(ctx, "/heap?debug=1&gc=1", "# HeapAlloc =")
}

// memory is what Go has taken of the system and not given back, in bytes: heap, stacks and what they need.
func (i *inside) memory(ctx context.Context) (int, error) {
	taken, err := i.number(ctx, "/heap?debug=1", "# Sys =")
	if err != nil {
		return 0, err
	}
	returned, err := i.number(ctx, "/heap?debug=1", "# HeapReleased =")
	return taken - returned, err
}
