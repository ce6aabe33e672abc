package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What every node is made with.
const (
	Project = "tests"
	Key     = "standard_" + "0123456789abcdef0123456789abcdef"
	Domain  = "functions.localhost"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
)

// Options say how a node starts.
type Options struct {
	Data    string   // data directory; empty: a new one that goes when the node stops
	Args    []string // further flags of flint serve
	Program string   // empty: the program under test, see Binary
	Environ []string // further variables of the node, NAME=value
}

// Node is a running flint serve.
type Node struct {
	*Client
	Data    string
	Addr    string // host:port of the API and the domains
	Metrics string // host:port

	command *exec.Cmd
	log     *lines
	scratch bool
	ended   chan struct{} // closed when the process has ended and its log is read
	err     error         // of the process
}

// Start starts a node that is stopped when the test ends. A stop that is not clean is an error of the test.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	n, err := Launch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the node's log:\n%s", n.Log())
		}
	})
	return n
}

// Launch starts a node and returns when it takes calls. The caller stops or kills it. ctx bounds the start only.
func Launch(ctx context.Context, o Options) (n *Node, err error) {
	binary := o.Program
	if binary == "" {
		if binary, err = Binary(); err != nil {
			return nil, err
		}
	}
	n = &Node{Data: o.Data, log: newLines(), ended: make(chan struct{})}
	if n.Data == "" {
		if n.Data, err = os.MkdirTemp("", "flint-test-"); err != nil {
			return nil, err
		}
		n.scratch = true
	}
	if err := lend(n.Data); err != nil {
		return nil, err
	}
	if n.Metrics, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	args := append([]string{
		"serve", "--addr=127.0.0.1:0", "--metrics-addr=" + n.Metrics, "--data=" + n.Data, "--log-format=json",
		"--functions-domain=" + Domain, "--bootstrap-project=" + Project, "--bootstrap-key=" + Key, "--function-creations=0",
	}, o.Args...)
	n.command = exec.Command(binary, args...) //nolint:noctx // it outlives ctx and is ended by Stop or Kill
	n.command.Env = append(environment(), o.Environ...)
	// The node dies with a test that is killed, and signals to the test are not the node's.
	n.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	n.command.Stdout, n.command.Stderr = n.log, n.log
	if err := n.command.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process, which Stop and Kill wait for
		n.err = n.command.Wait()
		close(n.ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := n.ready(ctx); err != nil {
		n.Kill()
		return nil, fmt.Errorf("the node does not start: %w\n%s", err, n.Log())
	}
	return n, nil
}

// ready waits until the node has said where it listens and answers there.
func (n *Node) ready(ctx context.Context) error {
	for n.Addr == "" {
		select {
		case line := <-n.log.announced:
			n.Addr = line
		case <-n.ended:
			return fmt.Errorf("it ended: %w", n.err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	n.Client = NewClient(n.Addr)
	return Poll(ctx, func() error {
		_, err := n.Do(ctx, http.MethodGet, "/v1/health/version", nil, nil)
		return err
	})
}

// Stop stops the node with SIGTERM. The error says what was not clean about it: an exit status, or a stop that took too
// long. Stopping what has ended already is fine when it was Kill that ended it.
func (n *Node) Stop() error {
	select {
	case <-n.ended:
		n.clean()
		if n.killed() {
			return nil
		}
		return fmt.Errorf("the node ended by itself: %w", errors.Join(n.err, errors.New(n.command.ProcessState.String())))
	default:
	}
	if err := n.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.ended:
	case <-time.After(stopTimeout):
		n.Kill()
		return fmt.Errorf("the node did not stop within %s of SIGTERM", stopTimeout)
	}
	n.clean()
	if n.err != nil {
		return fmt.Errorf("the node stopped with an error: %w\n%s", n.err, n.Log())
	}
	return nil
}

func (n *Node) killed() bool {
	status, ok := n.command.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func (n *Node) clean() {
	if n.Client != nil {
		n.CloseIdle()
	}
	if n.scratch {
		_ = os.RemoveAll(n.Data) // a directory of the system's temporary ones
	}
}

// Signal sends a signal to the node and does not wait.
func (n *Node) Signal(s syscall.Signal) error { return n.command.Process.Signal(s) }

// Kill ends the node with SIGKILL and waits until it is gone. The data directory stays.
func (n *Node) Kill() {
	_ = n.Signal(syscall.SIGKILL) // it may be gone already
	<-n.ended
	if n.Client != nil {
		n.CloseIdle()
	}
}

// Ended is closed when the process has ended.
func (n *Node) Ended() <-chan struct{} { return n.ended }

// Err says how the process ended; nil is exit status 0. It may be called after Ended is closed.
func (n *Node) Err() error { return n.err }

// Log returns what the node has logged.
func (n *Node) Log() string { return n.log.String() }

// Logged returns how often the node has logged what on a level.
func (n *Node) Logged(level string) map[string]int { return n.log.of(level) }

// PID is the process id of the node.
func (n *Node) PID() int { return n.command.Process.Pid }

// Metric returns the sum of the samples of a metric.
func (n *Node) Metric(ctx context.Context, name string) (float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := n.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	sum, found := 0.0, false
	scanner := bufio.NewScanner(resp.Body)
	for scanner.Scan() {
		sample, value, ok := strings.Cut(scanner.Text(), " ")
		if label, _, _ := strings.Cut(sample, "{"); !ok || label != name {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, errors.Join(fmt.Errorf("there is no metric %s", name), scanner.Err())
	}
	return sum, scanner.Err()
}

// Ports that kernels do not give to connections, which would take one between its being found free and the node's start.
const (
	firstPort = 10_000
	lastPort  = 32_000
	portTries = 100
)

// freeAddress returns an address of the loopback that nobody listens on.
func freeAddress(ctx context.Context) (addr string, err error) {
	for range portTries {
		var l net.Listener
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort))) //nolint:gosec // nobody has to be kept from guessing it
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", err
}

// lend links what costs minutes to make into a new data directory, when the machine has it already.
func lend(data string) error {
	for variable, name := range map[string]string{"FLINT_TEST_TOOLCHAINS": "toolchains", "FLINT_TEST_SEEDS": "seeds"} {
		source := os.Getenv(variable) //nolint:forbidigo // of the tests
		if source == "" {
			continue
		}
		source, err := filepath.Abs(source)
		if err != nil {
			return err
		}
		if err := os.Symlink(source, filepath.Join(data, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// environment is the test's own, without the settings of a node that the machine may have.
func environment() []string {
	var kept []string
	for _, v := range os.Environ() { //nolint:forbidigo // of the tests
		if !strings.HasPrefix(v, "FLINT_") && !strings.HasPrefix(v, "_APP_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// lines gathers the log of a node and finds the line that says where it listens.
type lines struct {
	announced chan string // capacity 1: the address

	mu   sync.Mutex
	all  bytes.Buffer
	rest []byte         // the line that is not complete
	said map[string]int // level and message, how often
}

// maxLog bounds what is kept of the log: its end.
const maxLog = 64 << 10

func newLines() *lines { return &lines{announced: make(chan string, 1), said: map[string]int{}} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(p)
	if over := l.all.Len() - maxLog; over > 0 {
		l.all.Next(over)
	}
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte{'\n'})
		if !ok {
			return len(p), nil
		}
		l.rest = rest
		var entry struct {
			Level   string `json:"level"`
			Message string `json:"msg"`
			Addr    string `json:"addr"`
		}
		if json.Unmarshal(line, &entry) != nil {
			continue
		}
		l.said[entry.Level+" "+entry.Message]++
		if entry.Message == "taking calls" {
			select {
			case l.announced <- entry.Addr:
			default:
			}
		}
	}
}

// of returns how often what was logged on a level.
func (l *lines) of(level string) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[string]int{}
	for line, n := range l.said {
		if message, ok := strings.CutPrefix(line, level+" "); ok {
			found[message] = n
		}
	}
	return found
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

var _ io.Writer = (*lines)(nil)
