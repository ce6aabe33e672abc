// Package probe attacks the sandbox that functions run in, from inside, and says what held.
//
// The attacker is the program itself, started again in a sandbox of the profile that workers have. It makes every attempt
// of the table in [Checks] in earnest, with arguments that do no harm where an attempt succeeds, and writes down what it
// got. Outside is known what it should have got. A second sandbox, the victim, has something to steal.
package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"flint/sandbox"
)

// Config says what is probed.
type Config struct {
	Driver  sandbox.Driver
	Network sandbox.Network // what workers have
	// Program is the attacker: an executable that calls [Attack] with what follows Args when it is started with them.
	Program string
	Args    []string
	Data    string // the node's data directory, which no sandbox may see
}

// timeout bounds a probe. On a busy machine starting its five sandboxes takes longest.
const timeout = 3 * time.Minute

// The limits of the sandboxes: small, so that exceeding them is quick, and does no harm where nothing holds the attacker.
const (
	memoryLimit    = 128 << 20
	processLimit   = 64
	fileLimit      = 256
	tmpLimit       = 16 << 20
	processorLimit = 0.05
)

// Where the sandboxes find things.
const (
	programTarget  = "/run/flint/probe"
	exchangeTarget = "/run/flint/exchange"
	packageTarget  = exchangeTarget + "/code"
)

// secretMark begins what the victim keeps to itself.
const secretMark = "flint-probe-secret-"

// Run attacks. The error says that the probe could not be made; what it found is in the report.
func Run(ctx context.Context, cfg Config) (_ *Report, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the probe took longer than %s", timeout))
	defer cancel()
	p := &probe{config: cfg, token: rand.Text(), seen: map[string]observation{}}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare the probe: %w", err)
	}
	if err := p.attack(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return p.report(), nil
}

// probe is one run. It is used by one goroutine.
type probe struct {
	config Config
	token  string // in the arguments of all that is started here
	dir    string
	host   *host
	victim *box
	seen   map[string]observation
}

// prepare makes what the attacker is to look for.
func (p *probe) prepare(ctx context.Context) (err error) {
	if p.dir, err = os.MkdirTemp("", "flint-probe-"); err != nil {
		return err
	}
	// Everybody may pass, and write what the attacker sees: what keeps it from doing so is to be the sandbox.
	for d, mode := range map[string]os.FileMode{"": 0o755, "exchange": 0o777, "exchange/code": 0o777, "package": 0o777, "victim": 0o755, "victim/code": 0o755} {
		d = filepath.Join(p.dir, d)
		if err := errors.Join(os.MkdirAll(d, 0o755), os.Chmod(d, mode)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(p.dir, "package", "main.js"), []byte("// of the probe\n"), 0o644); err != nil {
		return err
	}
	p.host, err = openHost(ctx, p.dir, p.token)
	return err
}

func (p *probe) close() error {
	var errs []error
	if p.victim != nil {
		errs = append(errs, p.victim.close())
	}
	if p.host != nil {
		p.host.close()
	}
	if p.dir != "" {
		errs = append(errs, os.RemoveAll(p.dir))
	}
	return errors.Join(errs...)
}

func (p *probe) attack(ctx context.Context) (err error) {
	if p.victim, err = p.start(ctx, modeVictim, "victim"); err != nil {
		return err
	}
	line, err := p.victim.line(ctx)
	if err != nil {
		return fmt.Errorf("the victim did not come up: %w: %s", err, p.victim.errs.String())
	}
	plan := p.plan()
	if plan.Victim, err = parseVictim(line); err != nil {
		return err
	}
	plan.Victim.Pid = p.find(modeVictim)
	for _, mode := range []string{modeAttack, modeMemory, modeProcesses, modeProcessor} {
		if err := p.run(ctx, mode, plan); err != nil {
			return fmt.Errorf("attack %s: %w", mode, err)
		}
	}
	return nil
}

func (p *probe) plan() plan {
	h := p.host
	command, _ := os.ReadFile("/proc/self/cmdline") // without it the attacker finds nothing to compare with
	return plan{
		HostFile: h.file, HostSocket: h.socketPath, HostAbstract: h.abstractName, Data: p.config.Data, HostAddrs: h.addrs(),
		HostPid: os.Getpid(), HostCommand: string(command), Files: fileLimit, Tmp: tmpLimit, Memory: memoryLimit, Processes: processLimit,
	}
}

// run starts a sandbox, has the attacker carry out the plan and notes what it observes.
func (p *probe) run(ctx context.Context, mode string, plan plan) (err error) {
	b, err := p.start(ctx, mode, "exchange")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if plan.Package, err = b.box.Bind(filepath.Join(p.dir, "package"), packageTarget); errors.Is(err, sandbox.ErrNoBind) {
		plan.Package, err = exchangeTarget, nil
	}
	if err != nil {
		return err
	}
	if err := b.tell(plan); err != nil {
		return err
	}
	for {
		o, err := b.observe(ctx)
		switch {
		case errors.Is(err, errOver) && mode != modeAttack:
			return p.settle(ctx, mode, b) // it may have been killed, as it should
		case err != nil:
			return fmt.Errorf("%w: %s", err, b.errs.String())
		case o.Check == "":
			return p.settle(ctx, mode, b)
		}
		p.seen[o.Check] = o
	}
}

// settle observes what only shows from outside, once the attacker is done.
func (p *probe) settle(ctx context.Context, mode string, b *box) error {
	switch mode {
	case modeMemory:
		if _, took := p.seen["memory"]; !took && b.ended(ctx) {
			p.note("memory", b.box.Exit().String())
		}
	case modeProcesses:
		// The language may be the first to miss a thread, and then ends the attacker.
		if _, told := p.seen["processes"]; !told && strings.Contains(b.errs.String(), "failed to create new OS thread") {
			p.note("processes", "EAGAIN")
		}
	case modeProcessor:
		p.note("processor", p.throttled())
	case modeAttack:
		p.note("other-kill", p.victim.answer(ctx))
		if err := b.close(); err != nil {
			return err
		}
		p.note("orphans", "none")
		if p.find(modeOrphan) != 0 {
			p.note("orphans", "alive")
			endProcess(p.find(modeOrphan))
		}
	}
	return nil
}

func (p *probe) note(check, got string) { p.seen[check] = observation{Check: check, Got: got} }
