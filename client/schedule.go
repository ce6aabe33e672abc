package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Schedule is how the schedule of a function stands.
type Schedule struct {
	Project      string      `json:"project"`
	Function     string      `json:"function"`
	Cron         string      `json:"cron"`
	Zone         string      `json:"zone,omitempty"`
	State        string      `json:"state"`            // active, paused or inactive
	Reason       string      `json:"reason,omitempty"` // why it is not active
	Next         time.Time   `json:"next,omitzero"`
	NextRuns     []time.Time `json:"nextRuns"`
	DelaySeconds float64     `json:"delay,omitempty"` // by which it runs later than its times
	LastRun      time.Time   `json:"lastRun,omitzero"`
	LastID       string      `json:"lastExecution,omitempty"`
	LastStatus   string      `json:"lastStatus,omitempty"`
	Runs         int64       `json:"runs"`
	Skipped      int64       `json:"skipped"`
	LastSkip     time.Time   `json:"lastSkip,omitzero"`
	SkipReason   string      `json:"skipReason,omitempty"`
	SchedulePolicy
}

// SchedulePolicy is what a schedule does besides its times. In an update what is nil stays as it is.
type SchedulePolicy struct {
	Paused      *bool   `json:"paused,omitempty"`
	Missed      *string `json:"missed,omitempty"`      // default, skip, once or all
	MissedLimit *int    `json:"missedLimit,omitempty"` // 0: the usual one
	MissedAge   *int    `json:"missedAge,omitempty"`   // seconds; 0: the usual one
	Overlap     *string `json:"overlap,omitempty"`     // allow or skip
	Jitter      *string `json:"jitter,omitempty"`      // default, none or a number of seconds
}

func schedulePath(project, function string) string {
	return "/projects/" + url.PathEscape(project) + "/functions/" + url.PathEscape(function) + "/schedule"
}

// Schedules returns the schedules of a project's functions.
func (c *Client) Schedules(ctx context.Context, project string) (all []Schedule, err error) {
	return all, c.do(ctx, http.MethodGet, "/projects/"+url.PathEscape(project)+"/schedules", nil, nil, &all)
}

// Schedule returns the schedule of a function.
func (c *Client) Schedule(ctx context.Context, project, function string) (s Schedule, err error) {
	return s, c.do(ctx, http.MethodGet, schedulePath(project, function), nil, nil, &s)
}

// UpdateSchedule changes what it does and returns it.
func (c *Client) UpdateSchedule(ctx context.Context, project, function string, change SchedulePolicy) (s Schedule, err error) {
	return s, c.do(ctx, http.MethodPatch, schedulePath(project, function), nil, change, &s)
}
