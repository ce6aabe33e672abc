package flint

import (
	"hash/fnv"
	"strconv"
	"time"
)

// ScheduleSettings says what a function's schedule does besides its times. The zero value is what the reference does.
type ScheduleSettings struct {
	Paused      bool         `json:"paused,omitempty"`
	Missed      MissedPolicy `json:"missed,omitempty"`
	MissedLimit int          `json:"missedLimit,omitempty"` // with MissedAll; 0: DefaultMissedLimit
	MissedAge   int          `json:"missedAge,omitempty"`   // seconds, with MissedOnce and MissedAll; 0: DefaultMissedAge
	Overlap     Overlap      `json:"overlap,omitempty"`
	Jitter      Jitter       `json:"jitter,omitempty"`
}

// MissedPolicy is what becomes of times at which the node did not run or its clock was wrong.
type MissedPolicy string

// The policies for times that were missed. A time that is less than a minute past was not missed.
const (
	MissedDefault MissedPolicy = ""     // those of the last five minutes run, as in the reference
	MissedSkip    MissedPolicy = "skip" // none runs
	MissedOnce    MissedPolicy = "once" // one run stands for all
	MissedAll     MissedPolicy = "all"  // the newest ones run
)

// Overlap is whether runs of one schedule may run at the same time.
type Overlap string

// The policies for a time at which the run before has not ended.
const (
	OverlapAllow Overlap = ""     // it runs, as in the reference
	OverlapSkip  Overlap = "skip" // it does not
)

// Jitter is the longest delay of a schedule's runs: a number of seconds, or one of the two below. How much of it a function gets
// stays the same, so that its runs are as far apart as its times.
type Jitter int

// Values of Jitter that are no number of seconds.
const (
	JitterDefault Jitter = 0 // the node's
	JitterNone    Jitter = -1
)

// Bounds of ScheduleSettings.
const (
	MaxMissedLimit     = 1000
	DefaultMissedLimit = 100
	MaxMissedAge       = 7 * 24 * time.Hour
	DefaultMissedAge   = 24 * time.Hour
	MaxJitter          = time.Hour
)

// missedByReference is how far back the reference catches up.
const missedByReference = 5 * time.Minute

// onTime is how late a run may be that was not missed.
const onTime = time.Minute

// ParseMissedPolicy reads default, skip, once or all.
func ParseMissedPolicy(s string) (MissedPolicy, bool) {
	switch p := MissedPolicy(s); p {
	case "default", MissedDefault:
		return MissedDefault, true
	case MissedSkip, MissedOnce, MissedAll:
		return p, true
	}
	return "", false
}

func (p MissedPolicy) String() string {
	if p == MissedDefault {
		return "default"
	}
	return string(p)
}

// ParseOverlap reads allow or skip.
func ParseOverlap(s string) (Overlap, bool) {
	switch s {
	case "", "allow":
		return OverlapAllow, true
	case "skip":
		return OverlapSkip, true
	}
	return "", false
}

func (o Overlap) String() string {
	if o == OverlapAllow {
		return "allow"
	}
	return string(o)
}

// ParseJitter reads default, none, or a number of seconds up to those of MaxJitter.
func ParseJitter(s string) (Jitter, bool) {
	switch s {
	case "", "default":
		return JitterDefault, true
	case "none", "0":
		return JitterNone, true
	}
	n, err := strconv.Atoi(s)
	return Jitter(n), err == nil && n >= 1 && n <= int(MaxJitter/time.Second)
}

func (j Jitter) String() string {
	switch j {
	case JitterDefault:
		return "default"
	case JitterNone:
		return "none"
	}
	return strconv.Itoa(int(j))
}

// Check returns what is wrong with s: the name of the field and why.
func (s ScheduleSettings) Check() (field, why string) {
	if s.MissedLimit < 0 || s.MissedLimit > MaxMissedLimit {
		return "missedLimit", "Value must be a valid range between 0 and " + strconv.Itoa(MaxMissedLimit)
	}
	if most := int(MaxMissedAge / time.Second); s.MissedAge < 0 || s.MissedAge > most {
		return "missedAge", "Value must be a valid range between 0 and " + strconv.Itoa(most)
	}
	return "", ""
}

// CatchUp returns how long ago a time may be that still runs, and how many of those that are due run at most: the newest ones.
func (s ScheduleSettings) CatchUp() (age time.Duration, most int) {
	switch s.Missed {
	case MissedDefault:
		return missedByReference, MaxMissedLimit
	case MissedSkip:
		return onTime, 1
	case MissedOnce, MissedAll:
	}
	age, most = DefaultMissedAge, DefaultMissedLimit
	if s.MissedAge > 0 {
		age = max(time.Duration(s.MissedAge)*time.Second, onTime)
	}
	if s.MissedLimit > 0 {
		most = s.MissedLimit
	}
	if s.Missed == MissedOnce {
		most = 1
	}
	return age, most
}

// Delay returns how much later than its times a function runs. fallback is the node's longest delay.
func (s ScheduleSettings) Delay(project ProjectID, function FunctionID, fallback time.Duration) time.Duration {
	longest := fallback
	if s.Jitter != JitterDefault {
		longest = time.Duration(s.Jitter) * time.Second
	}
	if longest < time.Millisecond {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(string(project) + "/" + string(function))) // never fails
	return time.Duration(h.Sum64()%uint64(longest.Milliseconds())) * time.Millisecond
}

// SkipReason is why a time of a schedule did not become an execution.
type SkipReason string

// The reasons.
const (
	SkipMissed  SkipReason = "missed"  // it was too long ago when it was noticed, or too many others were due
	SkipOverlap SkipReason = "overlap" // the run before had not ended
	SkipChanged SkipReason = "changed" // it was due when the schedule was changed, paused or lost its deployment
)

// Schedule is how the schedule of a function stands.
type Schedule struct {
	Project    ProjectID
	Function   FunctionID
	Deployment DeploymentID // the active one

	Cron     string // empty: none
	Settings ScheduleSettings

	Next time.Time // of the schedule's times; zero: none comes
	Due  time.Time // when that one runs

	LastRun       time.Time   // the time that ran last
	LastExecution ExecutionID // by which it did
	Runs, Skipped int64
	LastSkip      time.Time // the newest time that did not run
	SkipReason    SkipReason
}

// Delay is how much later than its times it runs.
func (s *Schedule) Delay() time.Duration { return s.Due.Sub(s.Next) }

// ScheduleState says whether a schedule runs.
type ScheduleState string

// The states.
const (
	ScheduleActive   ScheduleState = "active"
	SchedulePaused   ScheduleState = "paused"
	ScheduleInactive ScheduleState = "inactive"
)

// State returns the state and, unless it is active, the reason.
func (s *Schedule) State() (state ScheduleState, why string) {
	if s.Cron == "" {
		return ScheduleInactive, "The function has no schedule."
	}
	if _, err := ParseCron(s.Cron); err != nil {
		return ScheduleInactive, err.Error()
	}
	switch {
	case s.Settings.Paused:
		return SchedulePaused, "The schedule is paused."
	case s.Deployment == "":
		return ScheduleInactive, "The function has no active deployment."
	case s.Next.IsZero():
		return ScheduleInactive, "None of the times that the schedule names will come."
	}
	return ScheduleActive, ""
}

// Upcoming returns the next times at which the schedule runs, n at most.
func (s *Schedule) Upcoming(n int) []time.Time {
	all := make([]time.Time, 0, n)
	state, _ := s.State()
	cron, err := ParseCron(s.Cron)
	if state != ScheduleActive || err != nil {
		return all
	}
	for at := s.Next; !at.IsZero() && len(all) < n; at = cron.Next(at) {
		all = append(all, at.Add(s.Delay()))
	}
	return all
}
