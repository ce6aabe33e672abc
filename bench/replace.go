package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	replaceFunctions = 20
	replacePath      = "/deployment"
)

// replaceRow is functions whose deployments are replaced, forth and back, while they are called. Times are microseconds.
type replaceRow struct {
	Functions   int            `json:"functions"`
	Calls       int            `json:"calls"`
	Seconds     float64        `json:"seconds"` // until the last activation was answered
	Asked       int            `json:"activations_asked"`
	Activations int            `json:"activations"` // that were answered as done
	Failed      map[string]int `json:"failed"`      // calls, by what was wrong
	P50         float64        `json:"p50_us"`
	P99         float64        `json:"p99_us"`
	Longest     float64        `json:"longest_us"`
	Activation  float64        `json:"activation_p50_us"`
	Activation9 float64        `json:"activation_p99_us"`
	Slowest     float64        `json:"activation_longest_us"`
}

// switched is one function with its two deployments, and when they were activated.
type switched struct {
	id          string
	deployments [2]string

	mu   sync.Mutex
	past []activation
}

// activation is from the request to the answer.
type activation struct {
	deployment  string
	asked, done time.Time
}

// replace calls functions at a steady rate, while one deployment of each is replaced by another and then activated again.
// No call may fail, and each must be answered by a deployment that was active while it ran.
func replace(ctx context.Context, b *bed, o options) (result, error) {
	n, err := b.replicas(ctx, "replace", replaceFunctions)
	if err != nil {
		return nil, err
	}
	all := make([]*switched, replaceFunctions)
	for i := range all {
		if all[i], err = n.twin(ctx, replica(i)); err != nil {
			return nil, err
		}
	}
	p := newPlayer(n.addr)
	defer p.close()
	if err := p.play(ctx, spread(steady(replacePath, o.replaceCalls, warmTime)), func(int, outcome) {}); err != nil { // not counted
		return nil, err
	}
	b.say("replace: %d activations under %.0f calls/s within %s", o.activations, o.replaceCalls, o.replace)
	r := &replaceRow{Functions: len(all), Asked: o.activations, Failed: map[string]int{}}
	shots := spread(steady(replacePath, o.replaceCalls, o.replace))
	outcomes := make([]outcome, len(shots))
	activating, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var activators sync.WaitGroup
	begun := time.Now()
	took := make([][]time.Duration, len(all))
	for i, f := range all {
		activators.Go(func() {
			every := o.replace * time.Duration(len(all)) / time.Duration(o.activations)
			first := begun.Add(every * time.Duration(i) / time.Duration(len(all)))
			count := (o.activations + len(all) - 1 - i) / len(all)
			var err error
			if took[i], err = f.activate(activating, n, first, every, count); err != nil {
				stop(err)
			}
		})
	}
	err = p.play(ctx, shots, func(i int, o outcome) { outcomes[i] = o }) // each has a place of its own
	activators.Wait()
	r.Seconds = time.Since(begun).Seconds()
	if err := errors.Join(err, context.Cause(activating)); err != nil {
		return nil, err
	}
	r.sum(all, outcomes, slices.Concat(took...))
	return r, nil
}

const warmTime = 2 * time.Second

// spread has shots go to one function after the other.
func spread(shots []shot) []shot {
	for i := range shots {
		shots[i].path = replicaPath(i%replaceFunctions, shots[i].path)
	}
	return shots
}

// twin builds what a function has deployed once more, and returns both.
func (n *node) twin(ctx context.Context, id string) (*switched, error) {
	path := "/v1/functions/" + id
	var f struct {
		Deployment string `json:"deploymentId"`
	}
	if err := n.rest(ctx, http.MethodGet, path, nil, &f); err != nil {
		return nil, err
	}
	var d struct {
		ID     string `json:"$id"`
		Status string `json:"status"`
		Log    string `json:"buildLogs"`
	}
	if err := n.rest(ctx, http.MethodPost, path+"/deployments/duplicate", map[string]any{"deploymentId": f.Deployment}, &d); err != nil {
		return nil, err
	}
	err := n.process.await(ctx, buildTime, func(ctx context.Context) error {
		err := n.rest(ctx, http.MethodGet, path+"/deployments/"+d.ID, nil, &d)
		if err == nil && d.Status != "ready" && d.Status != "failed" {
			err = fmt.Errorf("the deployment is %s", d.Status)
		}
		return err
	})
	if err == nil && d.Status != "ready" {
		err = fmt.Errorf("the second deployment of %s is %s:\n%s", id, d.Status, d.Log)
	}
	if err != nil {
		return nil, err
	}
	s := &switched{id: id, deployments: [2]string{f.Deployment, d.ID}}
	return s, s.to(ctx, n, f.Deployment) // which also says what is active at first
}

// to activates a deployment and notes when.
func (s *switched) to(ctx context.Context, n *node, deployment string) error {
	asked := time.Now()
	err := n.rest(ctx, http.MethodPatch, "/v1/functions/"+s.id+"/deployment", map[string]any{"deploymentId": deployment}, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past = append(s.past, activation{deployment, asked, time.Now()})
	return err
}

// activate goes from one deployment to the other and back, so many times, each at its time or when the one before is done.
func (s *switched) activate(ctx context.Context, n *node, first time.Time, every time.Duration, count int) (took []time.Duration, err error) {
	for k := range count {
		due := first.Add(time.Duration(k) * every)
		if !waitUntil(ctx, due) {
			return took, nil // something else has failed
		}
		begun := time.Now()
		if err := s.to(ctx, n, s.deployments[(k+1)%2]); err != nil {
			return took, err
		}
		took = append(took, time.Since(begun))
	}
	return took, nil
}

// may reports whether a deployment was active at some time of a call.
func (s *switched) may(deployment string, from, to time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, a := range s.past {
		ended := i+1 < len(s.past) && s.past[i+1].done.Before(from)
		if a.deployment == deployment && !a.asked.After(to) && !ended {
			return true
		}
	}
	return false
}

// sum counts what was answered.
func (r *replaceRow) sum(all []*switched, outcomes []outcome, activations []time.Duration) {
	took := make([]time.Duration, 0, len(outcomes))
	for i, o := range outcomes {
		took = append(took, o.took)
		if why := all[i%len(all)].wrong(o); why != "" {
			r.Failed[why]++
		}
	}
	slices.Sort(took)
	slices.Sort(activations)
	r.Calls, r.Activations = len(outcomes), len(activations)
	r.P50, r.P99, r.Longest = micros(quantile(took, 0.5)), micros(quantile(took, 0.99)), micros(quantile(took, 1))
	r.Activation, r.Activation9, r.Slowest = micros(quantile(activations, 0.5)), micros(quantile(activations, 0.99)), micros(quantile(activations, 1))
}

// wrong says what is wrong with an answer, or nothing.
func (s *switched) wrong(o outcome) string {
	var body struct {
		Deployment string `json:"deployment"`
	}
	switch {
	case o.err != nil:
		return "not answered"
	case refused(o):
		return "refused"
	case o.status != http.StatusOK:
		return fmt.Sprintf("status %d", o.status)
	case json.Unmarshal(o.body, &body) != nil:
		return "wrong body"
	case !s.may(body.Deployment, o.sent, o.answered):
		return "by a deployment that was not active"
	}
	return ""
}

func (r *replaceRow) failures() int {
	n := 0
	for _, count := range r.Failed {
		n += count
	}
	return n
}

func (r *replaceRow) check() error {
	return errors.Join(within("the number of failed calls while deployments are replaced", float64(r.failures()), 0, "calls"),
		within("the number of activations that were not done", float64(r.Asked-r.Activations), 0, "activations"))
}

func (r *replaceRow) print(w io.Writer) {
	fmt.Fprintf(w, "\nReplace: %d functions, their deployments activated and rolled back while they are called\n\n", r.Functions)
	fmt.Fprintln(w, "\tcalls\tfailed\tp50 ms\tp99 ms\tlongest ms\tactivations\twithin s\tp50 ms\tp99 ms\tlongest ms\t")
	fmt.Fprintf(w, "found\t%d\t%d\t%.1f\t%.1f\t%.0f\t%d\t%.1f\t%.1f\t%.1f\t%.0f\t\n", r.Calls, r.failures(), r.P50/1000, r.P99/1000, r.Longest/1000,
		r.Activations, r.Seconds, r.Activation/1000, r.Activation9/1000, r.Slowest/1000)
	fmt.Fprintf(w, "bound\t\t0\t\t\t\t%d\t\t\t\t\t\n", r.Asked)
	for _, why := range slices.Sorted(maps.Keys(r.Failed)) {
		fmt.Fprintf(w, "%s\t\t%d\t\t\t\t\t\t\t\t\t\n", why, r.Failed[why])
	}
}
