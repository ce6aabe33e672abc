package schedule

import (
	"time"

	"flint"
)

// decision is what becomes of the times of a schedule up to now.
type decision struct {
	runs         []time.Time // oldest first
	missed       int
	newestMissed time.Time
	next         time.Time // the first time that nothing was decided about
}

// missedAtOnce bounds how many missed times are counted in one transaction: a schedule of every minute may have missed a year.
const missedAtOnce = 20_000

// decide says which times of a schedule that is due run: the newest ones that are not too old.
func decide(cron *flint.Cron, s *flint.Schedule, now time.Time) (d decision) {
	age, most := s.Settings.CatchUp()
	delay := s.Delay()
	oldest := now.Add(-age)
	miss := func(at time.Time) { d.missed, d.newestMissed = d.missed+1, at }
	for d.next = s.Next; !d.next.IsZero() && d.next.Add(delay).Before(oldest); d.next = cron.Next(d.next) {
		if d.missed == missedAtOnce {
			return d // it is due still
		}
		miss(d.next)
	}
	for ; !d.next.IsZero() && !d.next.Add(delay).After(now); d.next = cron.Next(d.next) {
		if d.runs = append(d.runs, d.next); len(d.runs) > most {
			miss(d.runs[0])
			d.runs = d.runs[1:]
		}
	}
	return d
}
