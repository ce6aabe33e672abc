package admin

import (
	"errors"
	"net/http"

	"flint"
	"flint/client"
)

// upcoming is how many of the next runs the operator sees.
const upcoming = 5

func scheduleModel(s *flint.Schedule) client.Schedule {
	state, why := s.State()
	missed, overlap, jitter := s.Settings.Missed.String(), s.Settings.Overlap.String(), s.Settings.Jitter.String()
	m := client.Schedule{
		Project: string(s.Project), Function: string(s.Function), Cron: s.Cron, State: string(state), Reason: why, NextRuns: s.Upcoming(upcoming),
		DelaySeconds: s.Delay().Seconds(), LastRun: s.LastRun, LastID: string(s.LastExecution), Runs: s.Runs, Skipped: s.Skipped,
		LastSkip: s.LastSkip, SkipReason: string(s.SkipReason),
		SchedulePolicy: client.SchedulePolicy{
			Paused: &s.Settings.Paused, Missed: &missed, MissedLimit: &s.Settings.MissedLimit, MissedAge: &s.Settings.MissedAge, Overlap: &overlap, Jitter: &jitter,
		},
	}
	if cron, err := flint.ParseCron(s.Cron); err == nil {
		m.Zone = cron.Zone()
	}
	if len(m.NextRuns) > 0 {
		m.Next = m.NextRuns[0]
	}
	return m
}

func (a *admin) schedules(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	all := []client.Schedule{}
	for last, n := flint.FunctionID(""), batch; n == batch; {
		found, err := a.config.Store.Schedules(r.Context(), project, last, batch)
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			all, last = append(all, scheduleModel(s)), s.Function
		}
		n = len(found)
	}
	return all, nil
}

func (a *admin) schedule(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	return a.readSchedule(r, project)
}

func (a *admin) readSchedule(r *http.Request, project flint.ProjectID) (any, error) {
	s, err := a.config.Store.Schedule(r.Context(), project, flint.FunctionID(r.PathValue("function")))
	if err != nil {
		return nil, function(r, err)
	}
	m := scheduleModel(s)
	if s.LastExecution == "" {
		return m, nil
	}
	last, err := a.config.Store.Execution(r.Context(), project, s.Function, s.LastExecution)
	if errors.Is(err, flint.ErrExecutionNotFound) {
		return m, nil // executions are not kept for ever
	}
	if err != nil {
		return nil, err
	}
	m.LastStatus = string(last.Status)
	return m, nil
}

// updateSchedule changes what the request names and leaves the rest.
func (a *admin) updateSchedule(r *http.Request) (any, error) {
	var in client.SchedulePolicy
	if err := read(r, &in); err != nil {
		return nil, err
	}
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	if _, err := a.config.Store.UpdateFunction(r.Context(), project, flint.FunctionID(r.PathValue("function")), func(f *flint.Function) (err error) {
		f.Scheduling, err = changeScheduling(f.Scheduling, in)
		return err
	}); err != nil {
		return nil, function(r, err)
	}
	return a.readSchedule(r, project)
}

func changeScheduling(s flint.ScheduleSettings, in client.SchedulePolicy) (flint.ScheduleSettings, error) {
	if in.Paused != nil {
		s.Paused = *in.Paused
	}
	if in.MissedLimit != nil {
		s.MissedLimit = *in.MissedLimit
	}
	if in.MissedAge != nil {
		s.MissedAge = *in.MissedAge
	}
	var ok bool
	if in.Missed != nil {
		if s.Missed, ok = flint.ParseMissedPolicy(*in.Missed); !ok {
			return s, flint.ErrInvalidArgument.Saying("missed: %q is none of default, skip, once and all.", *in.Missed)
		}
	}
	if in.Overlap != nil {
		if s.Overlap, ok = flint.ParseOverlap(*in.Overlap); !ok {
			return s, flint.ErrInvalidArgument.Saying("overlap: %q is neither allow nor skip.", *in.Overlap)
		}
	}
	if in.Jitter != nil {
		if s.Jitter, ok = flint.ParseJitter(*in.Jitter); !ok {
			return s, flint.ErrInvalidArgument.Saying("jitter: %q is neither default nor none nor a number of seconds from 1 to 3600.", *in.Jitter)
		}
	}
	if field, why := s.Check(); field != "" {
		return s, flint.ErrInvalidArgument.Saying("%s: %s.", field, why)
	}
	return s, nil
}
