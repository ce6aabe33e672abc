package wire

import "flint"

// FunctionSchedule is the model of how a function's schedule stands. It is ours; the reference has none.
type FunctionSchedule struct {
	FunctionID  string  `json:"functionId"`
	Schedule    string  `json:"schedule"`
	TimeZone    string  `json:"timezone"`
	State       string  `json:"state"`  // active, paused or inactive
	Reason      string  `json:"reason"` // why it is not active
	Paused      bool    `json:"paused"`
	Missed      string  `json:"missed"`      // default, skip, once or all
	MissedLimit int     `json:"missedLimit"` // 0: the usual one
	MissedAge   int     `json:"missedAge"`   // seconds; 0: the usual one
	Overlap     string  `json:"overlap"`     // allow or skip
	Jitter      string  `json:"jitter"`      // default, none or a number of seconds
	Delay       float64 `json:"delay"`       // seconds by which it runs later than its times

	NextRuns []string `json:"nextRuns"`

	LastRunTime        string `json:"lastRunTime"` // the time of the schedule
	LastRunExecutionID string `json:"lastRunExecutionId"`
	LastRunStatus      string `json:"lastRunStatus"` // empty: the execution is not kept any more
	Runs               int64  `json:"runs"`
	Skipped            int64  `json:"skipped"`
	LastSkipTime       string `json:"lastSkipTime"`
	LastSkipReason     string `json:"lastSkipReason"` // missed, overlap or changed
}

// nextRuns is how many of the next runs are shown.
const nextRuns = 5

// NewFunctionSchedule returns the model of a schedule; last is the execution of its last run, or nil.
func NewFunctionSchedule(s *flint.Schedule, last *flint.Execution) *FunctionSchedule {
	state, why := s.State()
	m := &FunctionSchedule{
		FunctionID: string(s.Function), Schedule: s.Cron, State: string(state), Reason: why,
		Paused: s.Settings.Paused, Missed: s.Settings.Missed.String(), MissedLimit: s.Settings.MissedLimit, MissedAge: s.Settings.MissedAge,
		Overlap: s.Settings.Overlap.String(), Jitter: s.Settings.Jitter.String(), Delay: seconds(s.Delay()), NextRuns: []string{},
		LastRunTime: Date(s.LastRun), LastRunExecutionID: string(s.LastExecution), Runs: s.Runs, Skipped: s.Skipped,
		LastSkipTime: Date(s.LastSkip), LastSkipReason: string(s.SkipReason),
	}
	if cron, err := flint.ParseCron(s.Cron); err == nil {
		m.TimeZone = cron.Zone()
	}
	for _, at := range s.Upcoming(nextRuns) {
		m.NextRuns = append(m.NextRuns, Date(at))
	}
	if last != nil {
		m.LastRunStatus = string(last.Status)
	}
	return m
}
