package main

import (
	"context"
	"fmt"
	"time"
)

// warmRow is one server under one number of connections.
type warmRow struct {
	Server      string      `json:"server"`
	What        string      `json:"what"`
	Connections int         `json:"connections"`
	Rounds      []warmRound `json:"rounds"`
	// The medians of the rounds.
	CallsPerSecond float64 `json:"calls_per_second"`
	P50            float64 `json:"p50_us"`
	P99            float64 `json:"p99_us"`
	// The medians divided by those of another server under the same load.
	Beside      string  `json:"beside,omitempty"`
	RatioCalls  float64 `json:"ratio_calls,omitempty"`
	RatioP50    float64 `json:"ratio_p50,omitempty"`
	RatioP99    float64 `json:"ratio_p99,omitempty"`
	RatioServed float64 `json:"ratio_cpu,omitempty"` // processor time of server and workers for a call
}

// warmRound is one measurement. Times are microseconds; those of processors are per call.
type warmRound struct {
	Calls          int     `json:"calls"`
	CallsPerSecond float64 `json:"calls_per_second"`
	P50            float64 `json:"p50_us"`
	P99            float64 `json:"p99_us"`
	ServerCPU      float64 `json:"server_cpu_us"`
	WorkerCPU      float64 `json:"worker_cpu_us"`
	GeneratorCPU   float64 `json:"generator_cpu_us"`
	Others         float64 `json:"others"` // processors that were busy with something else
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// contender is an opened peer.
type contender struct {
	peer
	endpoint
}

// warm measures all chosen peers, in alternation: every round has each of them once, under each number of connections.
func warm(ctx context.Context, b *bed, o options) ([]*warmRow, error) {
	var contenders []contender
	most := o.connections[len(o.connections)-1]
	for _, p := range peers() {
		if !o.wantsPeer(p) {
			continue
		}
		e, err := p.Open(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		contenders = append(contenders, contender{p, e})
	}
	for _, c := range contenders {
		b.say("warming %s up", c.Name)
		if _, err := load(ctx, c.endpoint, most, o.warmup, func() {}, func() {}); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	var rows []*warmRow
	for index, n := range o.connections {
		var level []*warmRow
		for range o.rounds {
			i := 0
			for _, c := range contenders {
				if !o.wants("warm/%s/%d", c.Name, n) || !c.at(index, o.connections) {
					continue
				}
				if i == len(level) {
					level = append(level, &warmRow{Server: c.Name, What: c.What, Connections: n, Beside: c.Beside})
				}
				r, err := warmOnce(ctx, c.endpoint, n, o.duration)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", c.Name, err)
				}
				b.say("%-14s %3d connections  %8.0f calls/s  p50 %6.0f µs  p99 %6.0f µs", c.Name, n, r.CallsPerSecond, r.P50, r.P99)
				level[i].Rounds = append(level[i].Rounds, r)
				i++
			}
		}
		rows = append(rows, level...)
	}
	for _, r := range rows {
		r.sum()
	}
	for _, r := range rows {
		r.compare(rows)
	}
	return rows, nil
}

func warmOnce(ctx context.Context, e endpoint, n int, d time.Duration) (warmRound, error) {
	var before, used usage
	s, err := load(ctx, e, n, d, func() { before = readUsage(e.PID) }, func() { used = readUsage(e.PID).since(before) })
	if err != nil {
		return warmRound{}, err
	}
	calls := len(s.latencies)
	per := func(d time.Duration) float64 { return micros(d) / float64(calls) }
	return warmRound{
		Calls: calls, CallsPerSecond: float64(calls) / s.elapsed.Seconds(),
		P50: micros(quantile(s.latencies, 0.5)), P99: micros(quantile(s.latencies, 0.99)),
		ServerCPU: per(used.server), WorkerCPU: per(used.workers), GeneratorCPU: per(used.generator),
		Others: used.others().Seconds() / s.elapsed.Seconds(),
	}, nil
}

func (r *warmRow) sum() {
	r.CallsPerSecond = medianBy(r.Rounds, func(x warmRound) float64 { return x.CallsPerSecond })
	r.P50 = medianBy(r.Rounds, func(x warmRound) float64 { return x.P50 })
	r.P99 = medianBy(r.Rounds, func(x warmRound) float64 { return x.P99 })
}

// served is the processor time that a call takes of the server and its workers.
func (r *warmRow) served() float64 {
	return medianBy(r.Rounds, func(x warmRound) float64 { return x.ServerCPU + x.WorkerCPU })
}

func (r *warmRow) compare(rows []*warmRow) {
	for _, o := range rows {
		if o.Server == r.Beside && o.Connections == r.Connections {
			r.RatioCalls, r.RatioP50, r.RatioP99 = ratio(r.CallsPerSecond, o.CallsPerSecond), ratio(r.P50, o.P50), ratio(r.P99, o.P99)
			r.RatioServed = ratio(r.served(), o.served())
		}
	}
}
