package oci

import (
	"fmt"
	"os"
	"sync"

	"flint/internal/usermap"
)

const (
	firstUser = 1_000_000_000
	mostUsers = 1 << 17
)

// users hands out the users of the host that sandboxes run as, two to each: one that the program is, and one that is root
// inside while the runtime prepares the sandbox. No two sandboxes that live at the same time share any.
type users struct {
	first, count uint32 // count pairs

	mu   sync.Mutex
	free []uint32
	next uint32
}

// user is a pair of users of the host.
type user struct {
	id, root int
	number   uint32
}

func newUsers(first uint32) (*users, error) {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return nil, err
	}
	u := &users{}
	if u.first, u.count, err = usermap.Pick(string(b), first, mostUsers); err != nil {
		return nil, err
	}
	u.count /= 2
	return u, nil
}

func (u *users) take() (*user, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var n uint32
	switch {
	case len(u.free) > 0:
		n, u.free = u.free[len(u.free)-1], u.free[:len(u.free)-1]
	case u.next < u.count:
		n = u.next
		u.next++
	default:
		return nil, fmt.Errorf("all %d users for sandboxes are taken", u.count)
	}
	return &user{id: int(u.first + n), root: int(u.first + u.count + n), number: n}, nil
}

// give takes a pair back whose sandbox is gone.
func (u *users) give(t *user) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.free = append(u.free, t.number)
}
