package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

// Class is what a network offers.
type Class int

// The classes.
const (
	Node     Class = iota // the ports of this process on the loopback
	Internet              // those, names, and what the policy lets through
	Build                 // that, and what the policy and the ports have for builds
)

// Defaults of a Config.
const (
	defaultRange = "198.18.0.0/16" // of those that no network routes and no proxy trusts
	defaultDir   = "/run/flint"
	defaultReady = 2
)

// Config configures a Pool.
type Config struct {
	Range   netip.Prefix // of the networks' addresses; nodes of one host share it; 198.18.0.0/16 when zero
	Policy  Policy
	Ports   []Port
	Prepare Class  // of the networks that are made ahead
	Ready   int    // how many of them wait; 2 when 0
	Dir     string // where the nodes of the host lock what they share; /run/flint when empty
	// NameServer is where networks of classes Internet and Build find this process when they look up names, an address of
	// the loopback; 127.0.0.53 when zero.
	NameServer netip.Addr
	Resolv     string // the file that names the host's name servers; /etc/resolv.conf when empty
	// Join starts a program that calls [Join] with the arguments after it. OpenRootless needs it.
	Join   []string
	Logger *slog.Logger
}

// complete fills in the defaults.
func (cfg Config) complete() Config {
	if cfg.Range == (netip.Prefix{}) {
		cfg.Range = netip.MustParsePrefix(defaultRange)
	}
	cfg.Ready, cfg.Dir, cfg.Resolv = cmp.Or(cfg.Ready, defaultReady), cmp.Or(cfg.Dir, defaultDir), cmp.Or(cfg.Resolv, resolvConf)
	if cfg.NameServer == (netip.Addr{}) {
		cfg.NameServer = netip.MustParseAddr(defaultNameServer)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Pool makes networks. It is safe for concurrent use. One goroutine, on a thread of its own, makes them all.
type Pool struct {
	config  Config
	claims  claims
	block   block
	lock    *os.File // of the block
	log     *slog.Logger
	service *service

	quit     context.CancelFunc
	ctx      context.Context //nolint:containedctx // ends with Close
	ready    chan *Network
	requests chan request
	failed   chan error
	gone     chan struct{} // closed when the maker has ended

	mu   sync.Mutex
	free map[bool][]int // the numbers of addresses, of builds and of others; those that came back last are used last
}

type request struct {
	class  Class
	result chan<- made
}

type made struct {
	network *Network
	err     error
}

// Open takes a block of addresses, installs the rules and starts to make networks. The error says what the host lacks.
// The caller closes the pool.
func Open(cfg Config) (_ *Pool, err error) {
	cfg = cfg.complete()
	all, err := blocks(cfg.Range)
	if err != nil {
		return nil, err
	}
	if _, err := cfg.Policy.verdicts(); err != nil {
		return nil, err
	}
	p := &Pool{
		config: cfg, claims: claims{cfg.Dir}, log: cfg.Logger, service: newService(cfg),
		ready: make(chan *Network, cfg.Ready), requests: make(chan request), failed: make(chan error), gone: make(chan struct{}),
	}
	p.ctx, p.quit = context.WithCancel(context.Background()) //nolint:forbidigo // ended by Close
	if err := p.claim(all); err != nil {
		p.quit()
		return nil, err
	}
	p.free = map[bool][]int{false: p.block.hosts(Internet), true: p.block.hosts(Build)}
	first := make(chan error, 1)
	go p.run(first) // ends with Close, which waits for gone
	if err := <-first; err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// claim takes the first block that no other node has, and cleans up after those that are gone.
func (p *Pool) claim(all []block) (err error) {
	release, err := p.claims.alone(p.ctx)
	if err != nil {
		return err
	}
	defer release()
	defer func() {
		if err != nil && p.lock != nil {
			_ = p.lock.Close()
		}
	}()
	stale, err := installed()
	if err != nil {
		return err
	}
	for _, b := range all {
		if p.lock != nil && !stale[b.number] {
			continue
		}
		lock, err := p.claims.block(b.number)
		if err != nil {
			return err
		}
		if lock == nil {
			continue
		}
		if p.lock == nil {
			p.block, p.lock = b, lock // its own table is replaced
			continue
		}
		err = uninstall(b)
		_ = lock.Close()
		if err != nil {
			return err
		}
	}
	if p.lock == nil {
		return fmt.Errorf("all %d blocks of the range %s are taken by other nodes", len(all), p.config.Range)
	}
	return nil
}

// Take returns a network of a class, for one use. ctx bounds the wait. The caller closes it.
func (p *Pool) Take(ctx context.Context, class Class) (*Network, error) {
	if class != p.config.Prepare {
		return p.order(ctx, class)
	}
	if p.ctx.Err() != nil {
		return nil, errClosed
	}
	select {
	case n := <-p.ready:
		return n, nil
	case err := <-p.failed:
		return nil, err
	case <-p.ctx.Done():
		return nil, errClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a network: %w", context.Cause(ctx))
	}
}

var errClosed = errors.New("the pool of networks is closed")

// order has a network made that is not of the class that waits ready.
func (p *Pool) order(ctx context.Context, class Class) (*Network, error) {
	result := make(chan made, 1)
	select {
	case p.requests <- request{class, result}:
	case <-p.ctx.Done():
		return nil, errClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a network: %w", context.Cause(ctx))
	}
	m := <-result // making takes some milliseconds, and is not interrupted
	return m.network, m.err
}

// Range returns the addresses that this node's networks have.
func (p *Pool) Range() netip.Prefix { return p.block.prefix }

// Close ends what waits ready and removes the rules. Networks that are in use are closed before.
func (p *Pool) Close() error {
	p.quit()
	<-p.gone
	p.empty()
	release, err := p.claims.alone(context.WithoutCancel(p.ctx)) // it has a deadline of its own
	if err != nil {
		return errors.Join(err, p.lock.Close()) // the next node cleans up
	}
	defer release()
	errs := []error{uninstall(p.block), p.lock.Close()}
	if others, err := p.claims.neighbours(); err != nil || !others {
		errs = append(errs, err, p.claims.unforward())
	}
	return errors.Join(errs...)
}

// empty closes what waits ready. Nobody makes more.
func (p *Pool) empty() {
	for {
		select {
		case n := <-p.ready:
			n.Close()
		default:
			return
		}
	}
}

func (p *Pool) address(class Class) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	free := p.free[class == Build]
	if len(free) == 0 {
		return 0, fmt.Errorf("all addresses of %s for sandboxes are taken", p.block.prefix)
	}
	p.free[class == Build] = free[1:]
	return free[0], nil
}

func (p *Pool) giveBack(class Class, host int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free[class == Build] = append(p.free[class == Build], host)
}

// How long a failure is handed out to those who ask before another network is tried, and how often the host's own
// interfaces are looked at.
const (
	failureAge = time.Second
	lookPause  = 30 * time.Second
)

// uplinks returns the interfaces that packets leave and enter the host by, and the least of what the way out carries in one.
func uplinks(h *netlink.Handle) (names []string, mtu int, err error) {
	routes, err := whole(func() ([]netlink.Route, error) { return h.RouteList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, 0, fmt.Errorf("list the routes of the host: %w", err)
	}
	mtu = 1500
	seen := map[int]bool{}
	for _, r := range routes {
		indexes := []int{r.LinkIndex}
		for _, hop := range r.MultiPath {
			indexes = append(indexes, hop.LinkIndex)
		}
		for _, i := range indexes {
			link, err := h.LinkByIndex(i)
			if err != nil || strings.HasPrefix(link.Attrs().Name, namePrefix) || link.Attrs().Name == "lo" {
				continue // a route without an interface, or one that has just gone
			}
			if r.Dst == nil || r.Dst.IP.IsUnspecified() {
				mtu = min(mtu, link.Attrs().MTU)
			}
			if !seen[i] {
				seen[i] = true
				names = append(names, link.Attrs().Name)
			}
		}
	}
	slices.Sort(names)
	return names, mtu, nil
}
