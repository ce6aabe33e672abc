// Package sandbox is the seam between Flint and what keeps untrusted processes apart. A [Driver] starts one process
// tree from a [Spec]; the drivers are its child packages, and sandboxtest is the suite that each of them passes.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// ErrNoBind is wrapped by the error of [Sandbox.Bind] on hosts that cannot mount into a running sandbox. What it was to
// show has to be among the mounts of the spec there.
var ErrNoBind = errors.New("the host cannot mount into a running sandbox")

// ErrNoNetwork is wrapped by the error of [Driver.Start] on hosts that cannot give a sandbox the network that the spec
// asks for.
var ErrNoNetwork = errors.New("the host cannot give a sandbox this network")

// Driver starts sandboxes. Drivers are safe for concurrent use.
type Driver interface {
	// Start starts spec.Args in a new sandbox and returns once the process tree exists; what the process itself does
	// later is seen through the Sandbox. ctx bounds the start only. The caller closes the Sandbox.
	Start(ctx context.Context, spec Spec) (Sandbox, error)
	// Findings says which layers of isolation this host offers, for people: at start and in flint doctor.
	Findings(ctx context.Context) []Finding
}

// Sandbox is one running process tree. Its methods are safe for concurrent use.
type Sandbox interface {
	// Bind makes the tree at source, a path of the host, visible read-only at target, which lies below a mount of the
	// spec with Propagate set. It returns the path at which the process sees it. It works while the process runs.
	// Directories that the mount point needs are made below the source of that mount. The error wraps ErrNoBind when
	// the host cannot do it.
	Bind(source, target string) (string, error)
	// SetLimits changes the limits on processors, memory and processes of the running tree; others stay as they are.
	SetLimits(limits Limits) error
	// Stdin returns the process's standard input when the spec asked for one.
	Stdin() io.WriteCloser
	// Done is closed when the whole tree is gone and its output has been read.
	Done() <-chan struct{}
	// Exit says how the process ended. It may be called after Done is closed.
	Exit() Exit
	// Kill ends the whole tree with SIGKILL. Done follows. Killing twice is harmless.
	Kill()
	// Usage returns what the tree has used so far, as far as the host accounts for it. It costs microseconds.
	Usage() Usage
	// Close kills what is left and gives back everything the sandbox held on the host: mounts, control groups,
	// directories of its own. It waits for the tree to end.
	Close() error
}

// Delayer is a Sandbox that knows how long the threads of its tree have waited for a processor. What those waited that
// have ended is not part of it. Asking costs more than Usage.
type Delayer interface {
	Delay() time.Duration
}

// PeakResetter is what sandboxes are whose host can measure the memory of a part of their life.
type PeakResetter interface {
	// ResetPeak lets Usage tell the most memory since now, and reports whether the host can do that.
	ResetPeak() bool
}

// Spec describes one sandbox.
type Spec struct {
	ID     string   // unique on the node, [a-z0-9-]+: names control groups and the like
	Args   []string // the program, found on PATH of Env, and its arguments
	Env    []string // KEY=value; all there is, but for PWD, which a driver may set to Dir
	Dir    string   // working directory, as the process sees it; the root directory when empty
	Mounts []Mount  // beside the base system that the driver provides
	Stdin  bool     // the process gets a pipe on standard input; otherwise it reads nothing
	Stdout io.Writer
	Stderr io.Writer // both get output as it comes; the driver serialises writes to each
	Limits Limits
	// Network says what the process may reach.
	Network Network
}

// Mount is a piece of the host's file system, a directory or a file, that the process sees. Drivers may run each sandbox
// as a user of its own: what it is to read must be readable by everyone, and a writable source is given to that user
// with all that is in it, so that it serves one sandbox at a time.
type Mount struct {
	Source    string // on the host
	Target    string // in the sandbox
	Writable  bool
	Propagate bool // a directory below which Bind may mount later
}

// Limits bound a sandbox. Zero is the driver's default.
type Limits struct {
	CPUs      float64 // processors
	Memory    int64   // bytes
	Processes int     // processes and threads
	Files     int     // open file descriptors per process
	Tmp       int64   // bytes of the private /tmp
	FileSize  int64   // bytes of the largest file the process may write
}

// Network is what a sandbox may reach.
type Network int

// The policies.
const (
	NetworkNone     Network = iota // its own loopback only
	NetworkHost                    // what the host reaches
	NetworkNode                    // its own loopback, and on it what the node offers
	NetworkInternet                // that, and what the driver's policy lets through: the internet, but not the host's neighbourhood
	NetworkBuild                   // that, and the proxies and registries that the node was told of
)

// Own says whether the driver makes the network, one for each sandbox, and the node answers in it.
func (n Network) Own() bool { return n >= NetworkNode && n <= NetworkBuild }

// String names the policy.
func (n Network) String() string {
	names := [...]string{"none", "host", "node", "internet", "build"}
	if n < 0 || int(n) >= len(names) {
		return fmt.Sprintf("network %d", int(n))
	}
	return names[n]
}

// Exit says how a process ended.
type Exit struct {
	Code        int            // exit status, when Signal is 0
	Signal      syscall.Signal // the signal that ended it
	OutOfMemory bool           // the memory limit was reached: the kernel killed a process of the tree, or the driver a tree that thrashed
}

// String names the cause as people need it: "exit status 3", "signal SIGKILL (killed)", "out of memory".
func (e Exit) String() string {
	switch {
	case e.OutOfMemory:
		return "out of memory"
	case e.Signal != 0:
		return fmt.Sprintf("signal %s (%s)", signalName(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// Usage is what a sandbox has used. A zero field is unknown.
type Usage struct {
	CPU        time.Duration
	PeakMemory int64 // bytes; since the last ResetPeak, if there was one
}

// Finding is one fact about the host that matters to isolation.
type Finding struct {
	Layer  string // what it is about, e.g. "user namespaces"
	OK     bool
	Detail string // what was found, or what is missing and how to get it
}

func signalName(s syscall.Signal) string {
	names := map[syscall.Signal]string{
		syscall.SIGABRT: "SIGABRT", syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE", syscall.SIGHUP: "SIGHUP",
		syscall.SIGILL: "SIGILL", syscall.SIGINT: "SIGINT", syscall.SIGKILL: "SIGKILL", syscall.SIGPIPE: "SIGPIPE",
		syscall.SIGQUIT: "SIGQUIT", syscall.SIGSEGV: "SIGSEGV", syscall.SIGSYS: "SIGSYS", syscall.SIGTERM: "SIGTERM",
		syscall.SIGTRAP: "SIGTRAP", syscall.SIGXCPU: "SIGXCPU", syscall.SIGXFSZ: "SIGXFSZ",
	}
	if n, ok := names[s]; ok {
		return n
	}
	return fmt.Sprintf("SIG%d", int(s))
}
