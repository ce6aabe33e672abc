package admin

import (
	"net/http"

	"flint"
	"flint/feed"
)

// tail writes what functions log and how executions end, one a line, until the follower goes or the node stops.
func (a *admin) tail(w http.ResponseWriter, r *http.Request) {
	if a.config.Feed == nil {
		a.refuse(w, flint.ErrBadRequest.Saying("No node runs on this data directory: there is nothing to follow."))
		return
	}
	filter, err := a.tailFilter(r)
	if err != nil {
		a.refuse(w, err)
		return
	}
	following := a.config.Feed.Follow(filter)
	defer following.Close()
	out := newLines(w)
	for out.flush() == nil {
		item, err := following.Next(r.Context(), signOfLife)
		var line any = struct{}{}
		switch {
		case err != nil:
			return
		case item != (feed.Item{}):
			line = item.Entry()
		}
		if out.encoder.Encode(line) != nil {
			return
		}
	}
}

func (a *admin) tailFilter(r *http.Request) (feed.Filter, error) {
	project, err := a.project(r)
	if err != nil {
		return feed.Filter{}, err
	}
	query := r.URL.Query()
	f := feed.Filter{Project: project, Text: query.Get("text"), Logs: true}
	for _, id := range query["function"] {
		if _, err := a.config.Store.Function(r.Context(), project, flint.FunctionID(id)); err != nil {
			if known := flint.ErrFunctionNotFound; known.Is(err) {
				err = known.Saying("There is no function %s in project %s.", id, project)
			}
			return f, err
		}
		f.Functions = append(f.Functions, flint.FunctionID(id))
	}
	for _, s := range query["status"] {
		f.Statuses = append(f.Statuses, flint.ExecutionStatus(s))
	}
	for _, t := range query["trigger"] {
		f.Triggers = append(f.Triggers, flint.Trigger(t))
	}
	if field, why := f.Check(); field != "" {
		return f, flint.ErrInvalidArgument.Saying("%s %s.", field, why)
	}
	return f, nil
}
