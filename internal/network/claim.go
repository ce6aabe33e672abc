package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	lockTimeout = 10 * time.Second // for other nodes to set up or tear down
	lockPause   = 20 * time.Millisecond
)

// claims are what nodes of one host tell each other through locked files: which blocks are taken, and who changes what
// they share. The kernel unlocks the files of a process that ends, however it ends.
type claims struct{ dir string }

// alone keeps other nodes from setting up and tearing down.
func (c claims) alone(ctx context.Context) (release func(), err error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	tick := time.NewTicker(lockPause)
	defer tick.Stop()
	for {
		f, err := c.try("lock")
		if err != nil {
			return nil, err
		}
		if f != nil {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another node with %s: %w", c.dir, context.Cause(ctx))
		}
	}
}

// block locks a block, or returns nil when a node has it.
func (c claims) block(number int) (*os.File, error) { return c.try("block-" + strconv.Itoa(number)) }

// try locks a file, or returns nil when another process has locked it.
func (c claims) try(name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.dir, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, f.Close()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return f, nil
}

// neighbours says whether any node has a block. The caller is alone and has none itself.
func (c claims) neighbours() (bool, error) {
	names, err := filepath.Glob(filepath.Join(c.dir, "block-*"))
	if err != nil {
		return false, err
	}
	for _, name := range names {
		f, err := c.try(filepath.Base(name))
		if err != nil {
			return false, err
		}
		if f == nil {
			return true, nil
		}
		_ = f.Close()
	}
	return false, nil
}

// The host forwards packets only between interfaces that it was told to. Which of them nodes of this package told is
// written down, to be taken back.
const (
	forwardAll = "/proc/sys/net/ipv4/conf/all/forwarding"
	forwarders = "forwarding" // the file, a name per line
)

func forwardFile(link string) string { return "/proc/sys/net/ipv4/conf/" + link + "/forwarding" }

// forwarding returns the interfaces whose forwarding was switched on by a node, and those of links for which it is off.
func (c claims) forwarding(links []string) (ours, off []string, err error) {
	b, err := os.ReadFile(filepath.Join(c.dir, forwarders))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	ours = strings.Fields(string(b))
	for _, link := range links {
		on, err := isOn(forwardFile(link))
		if err != nil {
			return nil, nil, err
		}
		if !on {
			off = append(off, link)
			ours = slices.DeleteFunc(ours, func(o string) bool { return o == link })
		}
	}
	return ours, off, nil
}

// forward switches the forwarding of interfaces on. The caller is alone.
func (c claims) forward(ours, off []string) error {
	if len(off) == 0 {
		return nil
	}
	// Written down first: what is written down without need is taken back without harm.
	list := strings.Join(slices.Concat(ours, off), "\n") + "\n"
	if err := os.WriteFile(filepath.Join(c.dir, forwarders), []byte(list), 0o600); err != nil {
		return err
	}
	for _, link := range off {
		if err := os.WriteFile(forwardFile(link), []byte("1"), 0); err != nil {
			return fmt.Errorf("let the host forward packets of %s: %w", link, err)
		}
	}
	return nil
}

// unforward takes back what forward did, unless somebody has made the host a router meanwhile. The caller is alone and
// no node needs it.
func (c claims) unforward() error {
	mine, _, err := c.forwarding(nil)
	if err != nil || len(mine) == 0 {
		return err
	}
	router, err := isOn(forwardAll)
	if err != nil {
		return err
	}
	for _, link := range mine {
		if router {
			break
		}
		if err := os.WriteFile(forwardFile(link), []byte("0"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Remove(filepath.Join(c.dir, forwarders))
}

// forwarding says whether all interfaces forward.
func forwarding(links []string) bool {
	for _, link := range links {
		if on, err := isOn(forwardFile(link)); err != nil || !on {
			return false
		}
	}
	return true
}

func isOn(file string) (bool, error) {
	b, err := os.ReadFile(file)
	return strings.TrimSpace(string(b)) != "0", err
}
