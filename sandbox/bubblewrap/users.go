package bubblewrap

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"flint/internal/usermap"
)

const (
	insideID   = 1000 // user and group of every process in a sandbox, as it sees itself
	firstUser  = 1_000_000_000
	mostUsers  = 1 << 16
	keptSpaces = 256 // user namespaces that wait for their next sandbox
)

// users hands out the users of the host that sandboxes run as: one each, so that not even a hole in the namespaces
// lets one sandbox touch another. A user comes with a namespace that maps it; the namespace lives as long as somebody
// has it open, and serves one sandbox after the other, because making it takes a process.
type users struct {
	first uint32
	count uint32

	mu   sync.Mutex
	free []*user
	next uint32
	kept int
}

type user struct {
	id    uint32
	space *os.File // nil when it has to be made
}

// newUsers picks the range of users from those that this process may hand out.
func newUsers(first uint32) (*users, error) {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return nil, err
	}
	u := &users{}
	if u.first, u.count, err = usermap.Pick(string(b), first, mostUsers); err != nil {
		return nil, err
	}
	probe, err := u.take() // the capability to map another user is known by using it
	if err != nil {
		return nil, err
	}
	u.give(probe)
	return u, nil
}

func (u *users) take() (*user, error) {
	u.mu.Lock()
	var taken *user
	switch n := len(u.free); {
	case n > 0:
		taken, u.free = u.free[n-1], u.free[:n-1]
		if taken.space != nil {
			u.kept--
		}
	case u.next < u.count:
		taken = &user{id: u.first + u.next}
		u.next++
	}
	u.mu.Unlock()
	if taken == nil {
		return nil, fmt.Errorf("all %d users for sandboxes are taken", u.count)
	}
	if taken.space != nil {
		return taken, nil
	}
	space, err := makeSpace(int(taken.id))
	if err != nil {
		u.give(taken)
		return nil, err
	}
	taken.space = space
	return taken, nil
}

// give takes a user back whose sandbox is gone.
func (u *users) give(t *user) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t.space != nil && u.kept >= keptSpaces {
		_ = t.space.Close()
		t.space = nil
	}
	if t.space == nil {
		u.free = append([]*user{t}, u.free...) // those with a namespace are at the end and go first
		return
	}
	u.kept++
	u.free = append(u.free, t)
}

func (u *users) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.free {
		if t.space != nil {
			_ = t.space.Close()
		}
	}
	u.free, u.kept, u.count = nil, 0, 0
}

// makeSpace makes a user namespace in which insideID is the host's id. A process has to be in it while it is opened;
// cat waits for its input for as long as that takes.
func makeSpace(id int) (*os.File, error) {
	cmd := exec.Command("cat") //nolint:noctx // it is killed below
	cmd.Env = []string{}
	maps := []syscall.SysProcIDMap{{ContainerID: insideID, HostID: id, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: maps, GidMappings: maps}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	space, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	_ = stdin.Close()
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed; that is what it would say
	if err != nil {
		return nil, fmt.Errorf("open a user namespace: %w", err)
	}
	return space, nil
}
