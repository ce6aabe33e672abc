// Package guard ends sandboxes when the node that started them is killed.
package guard

import (
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"sync"
	"syscall"
)

// Guard is a process that outlives Flint when Flint is killed, and then ends its sandboxes. The kernel's signal at the
// death of a parent does not do it: a sandbox runs as another user than what started it, which may not signal it.
// A nil Guard guards nothing. It is safe for concurrent use.
type Guard struct {
	log *slog.Logger
	cmd *exec.Cmd

	mu    sync.Mutex
	stdin io.WriteCloser
	deaf  bool
}

// guardScript keeps a list of process ids and ends those on it when its input ends. It ignores what a terminal sends to
// everybody: Flint decides.
const guardScript = `trap '' INT TERM HUP QUIT
live=' '
while read -r op pid; do
	case $op in
	+) live="$live$pid " ;;
	-) case $live in *" $pid "*) live="${live%%" $pid "*} ${live#*" $pid "}" ;; esac ;;
	esac
done
for pid in $live; do kill -9 "$pid" 2>/dev/null; done
exit 0`

// New starts the process. The caller closes the guard.
func New(log *slog.Logger) (*Guard, error) {
	g := &Guard{log: log, cmd: exec.Command("/bin/sh", "-c", guardScript)} //nolint:noctx // it outlives this process
	g.cmd.Env, g.cmd.Dir = []string{}, "/"
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var err error
	if g.stdin, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard of the sandboxes: %w", err)
	}
	return g, nil
}

// Watch puts a process on the list; Forget takes it off.
func (g *Guard) Watch(pid int)  { g.tell('+', pid) }
func (g *Guard) Forget(pid int) { g.tell('-', pid) }

func (g *Guard) tell(op byte, pid int) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deaf {
		return
	}
	if _, err := fmt.Fprintf(g.stdin, "%c %d\n", op, pid); err != nil {
		g.deaf = true
		g.log.Error("nobody ends the sandboxes should this process be killed", slog.Any("err", err))
	}
}

// Close ends the guard. What is still on its list ends with it.
func (g *Guard) Close() error {
	if g == nil {
		return nil
	}
	_ = g.stdin.Close() // it may have gone before
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("end the guard of the sandboxes: %w", err)
	}
	return nil
}
