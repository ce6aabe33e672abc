// Package feed passes on what functions do on this node while they do it: what they log, and every execution that has
// ended. Nothing is kept for those who come later, and nobody who runs a function waits for those who follow.
package feed

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"flint"
	"flint/internal/pull"
)

// Filter says what somebody wants to follow. Empty lists mean all.
type Filter struct {
	Project   flint.ProjectID
	Functions []flint.FunctionID
	Statuses  []flint.ExecutionStatus // of executions that have ended; what is logged before has none and is left out
	Triggers  []flint.Trigger
	Text      string // in a line that is logged, or in the path, the output or the identifier of an execution
	Logs      bool   // what is logged, while it is
}

// MaxText is how long the text of a filter may be.
const MaxText = 256

// Check says what is wrong with the filter: a field and why.
func (f *Filter) Check() (field, why string) {
	for _, s := range f.Statuses {
		if !s.Final() {
			return "status", "must be completed or failed"
		}
	}
	for _, t := range f.Triggers {
		if t != flint.TriggerHTTP && t != flint.TriggerSchedule && t != flint.TriggerEvent {
			return "trigger", "must be http, schedule or event"
		}
	}
	if len(f.Text) > MaxText {
		return "text", "must be at most 256 bytes"
	}
	return "", ""
}

func (f *Filter) wants(e *flint.Execution) bool {
	return e.Project == f.Project && has(f.Functions, e.Function) && has(f.Triggers, e.Trigger)
}

func has[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

func (f *Filter) wantsEnd(e *flint.Execution) bool {
	if !f.wants(e) || !has(f.Statuses, e.Status) {
		return false
	}
	return f.Text == "" || slices.ContainsFunc([]string{e.RequestPath, e.Logs, e.Errors, string(e.ID)}, func(s string) bool { return strings.Contains(s, f.Text) })
}

// lines returns what is wanted of a text that was logged.
func (f *Filter) lines(text string) string {
	if f.Text == "" {
		return text
	}
	var all strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, f.Text) {
			all.WriteString(line)
		}
	}
	return all.String()
}

// Item is one thing that happened: an execution ended, something was logged, or the follower was too slow for some.
type Item struct {
	Ended   *flint.Execution
	Log     *Log
	Dropped int
}

// Log is what a function has logged in one go. It may be several lines, or a part of one.
type Log struct {
	Execution string    `json:"executionId"`
	Function  string    `json:"functionId"`
	Time      time.Time `json:"time"`
	Stream    string    `json:"stream"` // logs or errors
	Text      string    `json:"text"`
}

// Execution is one that has ended, as followers see it. What it logged they have seen.
type Execution struct {
	ID         string    `json:"executionId"`
	Function   string    `json:"functionId"`
	Deployment string    `json:"deploymentId"`
	CreatedAt  time.Time `json:"createdAt"`
	Trigger    string    `json:"trigger"`
	Status     string    `json:"status"`
	Method     string    `json:"requestMethod"`
	Path       string    `json:"requestPath"`
	StatusCode int       `json:"responseStatusCode"`
	Duration   float64   `json:"duration"` // seconds
	Errors     string    `json:"errors"`
}

// Entry is an Item as it is sent. Event says which of the others there is.
type Entry struct {
	Event     string     `json:"event"` // log, execution or dropped
	Log       *Log       `json:"log,omitempty"`
	Execution *Execution `json:"execution,omitempty"`
	Dropped   int        `json:"dropped,omitempty"`
}

// Entry returns what is sent of an item.
func (i Item) Entry() Entry {
	switch {
	case i.Log != nil:
		return Entry{Event: "log", Log: i.Log}
	case i.Ended != nil:
		e := i.Ended
		return Entry{Event: "execution", Execution: &Execution{
			ID: string(e.ID), Function: string(e.Function), Deployment: string(e.Deployment), CreatedAt: e.CreatedAt.UTC(), Trigger: string(e.Trigger),
			Status: string(e.Status), Method: e.RequestMethod, Path: e.RequestPath, StatusCode: e.StatusCode, Duration: e.Duration, Errors: e.Errors,
		}}
	}
	return Entry{Event: "dropped", Dropped: i.Dropped}
}

// Feed is safe for concurrent use. The zero value is ready.
type Feed struct {
	readers atomic.Int32 // followers who want what is logged

	mu        sync.RWMutex
	followers map[*Follower]struct{}
	over      bool
}

// Run waits until ctx ends, and then tells those who follow that there is nothing more.
func (f *Feed) Run(ctx context.Context) error {
	<-ctx.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	for w := range f.followers {
		w.end()
	}
	return nil
}

// Publish passes on an execution that has ended.
func (f *Feed) Publish(e *flint.Execution) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for w := range f.followers {
		if w.filter.wantsEnd(e) {
			w.offer(Item{Ended: e}, len(e.Logs)+len(e.Errors))
		}
	}
}

// Log passes on what a function logs in an execution that runs; only what does not change of it is looked at. While
// nobody reads it costs one look.
func (f *Feed) Log(e *flint.Execution, isError bool, text []byte) {
	if f.readers.Load() == 0 {
		return
	}
	now := time.Now().UTC()
	f.mu.RLock()
	defer f.mu.RUnlock()
	whole := ""
	for w := range f.followers {
		if !w.filter.Logs || len(w.filter.Statuses) > 0 || !w.filter.wants(e) {
			continue
		}
		if whole == "" {
			whole = strings.ToValidUTF8(string(text), string(utf8.RuneError))
		}
		lines := w.filter.lines(whole)
		if lines == "" {
			continue
		}
		stream := "logs"
		if isError {
			stream = "errors"
		}
		w.offer(Item{Log: &Log{Execution: string(e.ID), Function: string(e.Function), Time: now, Stream: stream, Text: lines}}, len(lines))
	}
}

// What a follower may be behind before it misses some.
const (
	maxItems = 1024
	maxBytes = 4 << 20
)

// Follower is somebody who follows. It is closed when that ends.
type Follower struct {
	feed   *Feed
	filter Filter
	bell   pull.Bell

	mu      sync.Mutex
	queue   []Item
	sizes   []int
	bytes   int
	dropped int
	over    bool // nothing more will come
}

// Follow returns a follower of what happens from now on.
func (f *Feed) Follow(filter Filter) *Follower {
	w := &Follower{feed: f, filter: filter, bell: pull.NewBell()}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.over = f.over
	if f.followers == nil {
		f.followers = map[*Follower]struct{}{}
	}
	f.followers[w] = struct{}{}
	if filter.Logs {
		f.readers.Add(1)
	}
	return w
}

// Close ends the following. It is called once.
func (w *Follower) Close() {
	f := w.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.followers, w)
	if w.filter.Logs {
		f.readers.Add(-1)
	}
}

func (w *Follower) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.bell.Ring()
}

func (w *Follower) offer(i Item, size int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) >= maxItems || len(w.queue) > 0 && w.bytes+size > maxBytes {
		w.dropped++
	} else {
		w.queue, w.sizes, w.bytes = append(w.queue, i), append(w.sizes, size), w.bytes+size
	}
	w.bell.Ring()
}

// take returns the next item. How many were dropped comes after those that were not.
func (w *Follower) take() (i Item, ok, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) > 0 {
		i = w.queue[0]
		w.bytes -= w.sizes[0]
		w.queue[0] = Item{}
		w.queue, w.sizes = w.queue[1:], w.sizes[1:]
		return i, true, false
	}
	if n := w.dropped; n > 0 {
		w.dropped = 0
		return Item{Dropped: n}, true, false
	}
	return Item{}, false, w.over
}

// ErrOver is of following when the feed or the follower's own context has ended.
var ErrOver = errors.New("there is nothing to follow any more")

// Next waits for the next item. It is the zero one when nothing came within the time.
func (w *Follower) Next(ctx context.Context, within time.Duration) (Item, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		i, ok, over := w.take()
		if ok {
			return i, nil
		}
		if over {
			return Item{}, ErrOver
		}
		select {
		case <-w.bell:
		case <-timer.C:
			return Item{}, nil
		case <-ctx.Done():
			return Item{}, ErrOver
		}
	}
}
