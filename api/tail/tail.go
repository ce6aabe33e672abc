// Package tail is the REST service of what functions do on this node while they do it. It lives in the namespace
// /v1/flint, which the reference's clients do not know.
package tail

import (
	"context"
	"time"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/feed"
	"flint/store"
)

// Config is what the service needs.
type Config struct {
	Store *store.Store
	Feed  *feed.Feed
}

// Service is the REST service.
type Service struct{ config Config }

// New returns the service.
func New(c Config) *Service {
	if c.Store == nil || c.Feed == nil {
		panic("tail: Store and Feed are required")
	}
	return &Service{config: c}
}

// maxDuration is the longest that a client may ask for, in seconds; without asking there is no end.
const maxDuration = 86_400

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	return []api.Route{{
		Method: "GET", Path: "/v1/flint/tail", Name: "flint.tail", Summary: "Follow what functions log and how their executions end",
		Scopes: []string{"executions.read"}, Callers: auth.Servers, Handler: api.Stream(s.tail),
		Rules: map[string]api.Rule{
			"status": api.EnumRule("completed", "failed"), "trigger": api.EnumRule("http", "schedule", "event"), "duration": api.RangeRule(0, maxDuration),
		},
	}}
}

type tailIn struct {
	api.Request
	Functions []string `param:"functions" rule:"id" max:"100" doc:"IDs of functions; none: all of the project."`
	Statuses  []string `param:"statuses" rule:"status" max:"2" doc:"How executions must have ended. What is logged before has no status and is left out then."`
	Triggers  []string `param:"triggers" rule:"trigger" max:"3" doc:"What must have caused executions."`
	Text      string   `param:"text" rule:"text 0 256" doc:"Text that a line must hold, or the path, the output or the ID of an execution."`
	Logs      bool     `param:"logs" default:"true" doc:"Whether to send what functions log while they run."`
	Duration  int      `param:"duration" default:"0" rule:"duration" doc:"After how many seconds to end; 0: when the client goes."`
}

// signOfLife is how often a client hears something.
const signOfLife = 15 * time.Second

func (s *Service) tail(ctx context.Context, in *tailIn, out *api.Events) error {
	f := feed.Filter{Project: in.Principal.ProjectID(), Text: in.Text, Logs: in.Logs}
	for _, id := range in.Functions {
		if _, err := s.config.Store.Function(ctx, f.Project, flint.FunctionID(id)); err != nil {
			return err
		}
		f.Functions = append(f.Functions, flint.FunctionID(id))
	}
	for _, status := range in.Statuses {
		f.Statuses = append(f.Statuses, flint.ExecutionStatus(status))
	}
	for _, trigger := range in.Triggers {
		f.Triggers = append(f.Triggers, flint.Trigger(trigger))
	}
	if in.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(in.Duration)*time.Second)
		defer cancel()
	}
	follower := s.config.Feed.Follow(f)
	defer follower.Close()
	err := out.Begin()
	for id := 1; err == nil; id++ {
		item, over := follower.Next(ctx, signOfLife)
		if over != nil {
			return nil // the client has gone, the time is over or the node stops
		}
		err = send(out, id, item)
	}
	return nil // who has gone has gone
}

func send(out *api.Events, id int, item feed.Item) error {
	switch e := item.Entry(); {
	case item == (feed.Item{}):
		return out.Alive()
	case e.Log != nil:
		return out.Send(e.Event, id, e.Log)
	case e.Execution != nil:
		return out.Send(e.Event, id, e.Execution)
	default:
		return out.Send(e.Event, id, dropped{e.Dropped})
	}
}

type dropped struct {
	Dropped int `json:"dropped"` // entries that the client was too slow for
}
