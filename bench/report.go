package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// report is one run, as it is kept in JSON.
type report struct {
	Begun    time.Time  `json:"begun"`
	Took     float64    `json:"took_seconds"`
	Options  string     `json:"options"`
	Machine  machine    `json:"machine"`
	Warm     []*warmRow `json:"warm,omitempty"`
	Cold     []*coldRow `json:"cold,omitempty"`
	Parts    []found    `json:"parts,omitempty"`
	Complete bool       `json:"complete"` // all of it was measured, none left out by -only
}

// found is the result of a part.
type found struct {
	Name   string `json:"name"`
	Result result `json:"result"`
}

// check reports the bounds that were missed.
func (r *report) check() error {
	var missed []error
	for _, f := range r.Parts {
		missed = append(missed, f.Result.check())
	}
	return errors.Join(missed...)
}

// save writes the report to a file.
func (r *report) save(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644)
}

// print writes the tables.
func (r *report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	r.printWarm(t)
	r.printCold(t)
	for _, f := range r.Parts {
		f.Result.print(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	m := r.Machine
	fmt.Fprintf(w, "\nMachine: %d x %s, %s, Linux %s; load %s before, %s after; %.0f s, %s\n", m.Processors, m.Model, m.Memory, m.Kernel, m.Before, m.After, r.Took, r.Options)
	for _, name := range []string{"flint", "bench", "node", "python", "go"} {
		if version := m.Versions[name]; version != "" {
			fmt.Fprintf(w, "  %s: %s\n", name, version)
		}
	}
	return nil
}

func (r *report) printWarm(w io.Writer) {
	if len(r.Warm) == 0 {
		return
	}
	fmt.Fprintf(w, "\nWarm calls: medians of the rounds; processor time for one call in µs; others: processors busy with something else\n\n")
	fmt.Fprintln(w, "server\tconn\tcalls/s\tp50 ms\tp99 ms\tserver\tworker\tclient\tothers\tbeside\tcalls\tp50\tp99\tcpu\t")
	for _, x := range r.Warm {
		cpu := func(of func(warmRound) float64) float64 { return medianBy(x.Rounds, of) }
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.1f\t", x.Server, x.Connections, x.CallsPerSecond, x.P50/1000, x.P99/1000,
			cpu(func(o warmRound) float64 { return o.ServerCPU }), cpu(func(o warmRound) float64 { return o.WorkerCPU }),
			cpu(func(o warmRound) float64 { return o.GeneratorCPU }), cpu(func(o warmRound) float64 { return o.Others }))
		if x.RatioCalls == 0 {
			fmt.Fprintf(w, "\t\t\t\t\t\n")
			continue
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t\n", x.Beside, x.RatioCalls, x.RatioP50, x.RatioP99, x.RatioServed)
	}
	r.printOne(w)
	fmt.Fprintf(w, "\nRounds, calls/s:\n\n")
	for _, x := range r.Warm {
		fmt.Fprintf(w, "%s\t%d\t", x.Server, x.Connections)
		for _, round := range x.Rounds {
			fmt.Fprintf(w, "%.0f\t", round.CallsPerSecond)
		}
		fmt.Fprintln(w)
	}
}

// printOne writes what one call costs: its processor time where there are most connections, its latency where there is one.
func (r *report) printOne(w io.Writer) {
	fewest, most := r.Warm[0].Connections, r.Warm[len(r.Warm)-1].Connections
	alone := map[string]*warmRow{}
	for _, x := range r.Warm {
		if x.Connections == fewest {
			alone[x.Server] = x
		}
	}
	fmt.Fprintf(w, "\nOne call: processor time of server and worker with %d connections, latency with %d\n\n", most, fewest)
	fmt.Fprintln(w, "server\tcpu µs\tp50 µs\tbeside\tcpu\tp50\t")
	for _, x := range r.Warm {
		a := alone[x.Server]
		if x.Connections != most || a == nil {
			continue
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%s\t%.2f\t%.2f\t\n", x.Server, x.served(), a.P50, x.Beside, x.RatioServed, a.RatioP50)
	}
}

func (r *report) printCold(w io.Writer) {
	if len(r.Cold) == 0 {
		return
	}
	fmt.Fprintf(w, "\nCold starts: the first call of a function that has no worker, beside starting its language with nothing to do\n\n")
	fmt.Fprintln(w, "function\tcalls\tfrom a stem\tp50 ms\tp99 ms\tbare\tp50 ms\tp99 ms\tp50 ratio\tp99 ratio\t")
	for _, x := range r.Cold {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.1f\t%.1f\t%s\t%.1f\t%.1f\t%.2f\t%.2f\t\n", x.Name, len(x.Calls), x.StemHits,
			x.CallP50/1000, x.CallP99/1000, x.Bare, x.BareP50/1000, x.BareP99/1000, x.RatioP50, x.RatioP99)
	}
}
