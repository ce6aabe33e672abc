// Command bench measures a Flint that it builds and starts itself, beside other servers, and prints tables and JSON. All
// numbers that are compared come from one run, in alternation; docs/performance.md says how to read them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) //nolint:forbidigo // main's own
	context.AfterFunc(ctx, stop)                                                             // the second signal is not caught and ends the process
	var err error
	if len(os.Args) == 3 && os.Args[1] == serveCommand {
		err = serveBare(ctx, os.Args[2])
	} else {
		runtime.GOMAXPROCS(1) // the generator shares the machine with what it measures
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:forbidigo // main's own
	}
}

// options are what a run measures.
type options struct {
	rounds       int
	duration     time.Duration
	warmup       time.Duration
	connections  []int
	starts       int
	pause        time.Duration
	day          time.Duration
	neighbour    time.Duration
	overload     time.Duration
	overloadWork time.Duration
	replace      time.Duration
	activations  int
	replaceCalls float64
	queued       int
	only         *regexp.Regexp
	program      string
	dir          string
	tools        string
	json         string
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{connections: []int{1, 16, 64}, only: regexp.MustCompile("")}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.rounds, "rounds", 3, "rounds of the warm table")
	fs.DurationVar(&o.duration, "duration", 3*time.Second, "length of one measurement")
	fs.DurationVar(&o.warmup, "warmup", 3*time.Second, "load before the first round, per server")
	fs.Func("connections", "numbers of connections (default 1,16,64)", func(s string) (err error) {
		o.connections, err = numbers(s)
		return err
	})
	fs.IntVar(&o.starts, "starts", 100, "cold starts per language")
	fs.DurationVar(&o.pause, "pause", 250*time.Millisecond, "quiet before each cold start")
	fs.DurationVar(&o.day, "day", 3*time.Minute, "length of the workload day")
	fs.DurationVar(&o.neighbour, "neighbour", 8*time.Second, "length of each measurement of the workload neighbour")
	fs.DurationVar(&o.overload, "overload", time.Minute, "length of the overload")
	fs.DurationVar(&o.overloadWork, "overload-work", 10*time.Millisecond, "processor time of each call of the overload")
	fs.DurationVar(&o.replace, "replace", time.Minute, "length of the workload replace")
	fs.IntVar(&o.activations, "activations", 2000, "activations and rollbacks within it")
	fs.Float64Var(&o.replaceCalls, "replace-calls", 500, "calls a second meanwhile")
	fs.IntVar(&o.queued, "queued", 100_000, "most calls that wait in the part queue, from 1000 in steps of ten times")
	fs.Func("only", "regular expression of what to measure, among warm/SERVER/CONNECTIONS, cold/LANGUAGE, idle, growth, worker, burst, day, neighbour, overload, replace and queue", func(s string) (err error) {
		o.only, err = regexp.Compile(s)
		return err
	})
	fs.StringVar(&o.program, "flint", "", "flint to measure (default: built from this module)")
	fs.StringVar(&o.dir, "dir", "bench/results", "where the node's data directory is made and removed; should be on a disk")
	fs.StringVar(&o.tools, "tools", ".tools", "where scripts/setup has installed the other servers")
	fs.StringVar(&o.json, "json", "bench/results/latest.json", "file for the results as JSON")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("%q is no flag", fs.Arg(0))
	case o.rounds < 1 || o.starts < 1 || o.duration <= 0 || o.warmup <= 0 || o.pause < 0:
		return o, errors.New("-rounds, -starts, -duration and -warmup must be positive")
	case o.day < 10*time.Second || o.neighbour < time.Second || o.overload < 10*time.Second:
		return o, errors.New("-day and -overload must be at least 10s, -neighbour 1s")
	case o.overloadWork < time.Millisecond:
		return o, errors.New("-overload-work must be at least 1ms")
	case o.replace < time.Second || o.activations < 1 || o.replaceCalls < 1 || o.replaceCalls > 10_000:
		return o, errors.New("-replace must be at least 1s, -activations and -replace-calls at least 1, -replace-calls at most 10000")
	}
	return o, nil
}

// numbers reads a list such as 1,16,64.
func numbers(s string) ([]int, error) {
	var list []int
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 || n > 4096 {
			return nil, fmt.Errorf("%q is not a number from 1 to 4096", part)
		}
		list = append(list, n)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// wants reports whether a measurement was asked for.
func (o options) wants(format string, args ...any) bool {
	return o.only.MatchString(fmt.Sprintf(format, args...))
}

func (o options) wantsPeer(p peer) bool {
	for i, n := range o.connections {
		if o.wants("warm/%s/%d", p.Name, n) && p.at(i, o.connections) {
			return true
		}
	}
	return false
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	r := &report{Begun: time.Now(), Machine: survey(), Options: strings.Join(args, " "), Complete: o.only.String() == ""}
	if r.Options == "" {
		r.Options = "default options"
	}
	b, err := openBed(ctx, o, stderr)
	if b != nil {
		defer func() { err = errors.Join(err, b.close()) }()
	}
	if err != nil {
		return err
	}
	failed := r.measure(ctx, b, o)
	r.Took = time.Since(r.Begun).Seconds()
	r.Machine.After = loadAverage()
	r.Machine.Versions["flint"] = flintVersion(ctx, b.program)
	for language, t := range b.toolchains {
		r.Machine.Versions[language] = t.Version
	}
	return errors.Join(failed, r.print(stdout), r.save(o.json), r.check())
}

// measure measures what was asked for. What was found is reported also when something fails, and a part that fails does
// not keep the next from being measured.
func (r *report) measure(ctx context.Context, b *bed, o options) (err error) {
	defer func() { r.Complete = r.Complete && err == nil }()
	if r.Warm, err = warm(ctx, b, o); err != nil {
		return err
	}
	if r.Cold, err = cold(ctx, b, o); err != nil {
		return err
	}
	b.stopAll() // a part has the machine for itself
	for _, p := range parts() {
		if !o.wants("%s", p.name) || ctx.Err() != nil {
			continue
		}
		b.say("%s", p.name)
		f, failed := p.measure(ctx, b, o)
		b.stopAll()
		if failed != nil {
			b.say("%s failed: %v", p.name, failed)
			err = errors.Join(err, fmt.Errorf("%s: %w", p.name, failed))
			continue
		}
		r.Parts = append(r.Parts, found{p.name, f})
	}
	return err
}
