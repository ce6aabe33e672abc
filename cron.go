package flint

import (
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// A schedule is read and reckoned with here because no library does all that the reference's does, and clocks besides:
// github.com/adhocore/gronx knows neither LW nor a last day of the week nor zones, github.com/robfig/cron neither L, W nor #, and both pass over a
// time that the clocks jump over.

// Cron is a schedule: a set of minutes.
type Cron struct {
	text    string
	zone    *time.Location
	minutes uint64 // bit n: the n-th
	hours   uint32
	months  uint16
	days    cronDays
	through bool // the minute or the hour begins with *: it goes by the clock, also where that is changed
}

// cronDays are the days of a schedule. Where both fields say something, a day that either names will do.
type cronDays struct {
	anyDay, anyWeekday bool

	days        uint32 // of the month
	nearest     uint32 // days of the month of which the nearest working day is meant
	last        bool   // the last day of the month
	lastWorking bool

	weekdays    uint8    // bit 0: Sunday
	nth         [6]uint8 // weekdays of which the n-th in the month is meant
	lastWeekday uint8    // weekdays of which the last in the month is meant
}

// cronHorizon is how far ahead a schedule is looked into, in years. A leap day falls on a given day of the week every 28 years, and
// every 40 where a century is in between.
const cronHorizon = 50

// cronField is one of the five fields of a schedule.
type cronField struct {
	name      string
	low, high int
	names     []string // of low, low+1, …
	day       byte     // 'm' of the month, 'w' of the week: these have notations of their own
}

func cronFields() [5]cronField {
	return [5]cronField{
		{name: "minute", low: 0, high: 59},
		{name: "hour", low: 0, high: 23},
		{name: "day of the month", low: 1, high: 31, day: 'm'},
		{name: "month", low: 1, high: 12, names: []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}},
		{name: "day of the week", low: 0, high: 7, names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}, day: 'w'},
	}
}

// ParseCron reads a schedule: five fields or the name of a usual one, and before them, where it is not in UTC, CRON_TZ= or TZ= with
// the name of a time zone.
func ParseCron(text string) (*Cron, error) {
	rest := strings.TrimSpace(text)
	c := &Cron{text: rest, zone: time.UTC}
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		after, found := strings.CutPrefix(rest, prefix)
		if !found {
			continue
		}
		name, fields, _ := strings.Cut(after, " ")
		zone, err := time.LoadLocation(name)
		if err != nil || name == "" || name == "Local" { // the two mean what this machine has
			return nil, ErrInvalidArgument.Saying("%q is no schedule: there is no time zone %q.", text, name)
		}
		c.zone, rest = zone, fields
		break
	}
	parts := strings.Fields(usualCron(rest))
	fields := cronFields()
	if len(parts) != len(fields) {
		return nil, ErrInvalidArgument.Saying("%q is no schedule: it has %d fields, not %d.", text, len(parts), len(fields))
	}
	var sets [5]uint64
	for i, part := range parts {
		for item := range strings.SplitSeq(strings.ToUpper(part), ",") {
			set, ok := fields[i].read(item, &c.days)
			if !ok {
				return nil, ErrInvalidArgument.Saying("%q is no schedule: %q cannot be the %s.", text, item, fields[i].name)
			}
			sets[i] |= set
		}
	}
	c.minutes, c.hours, c.months = sets[0], uint32(sets[1]), uint16(sets[3])
	c.days.days, c.days.weekdays = uint32(sets[2]), uint8(sets[4]|sets[4]>>7&1) // 7 is Sunday as well
	c.days.weekdays &= 1<<7 - 1
	c.days.anyDay, c.days.anyWeekday = parts[2] == "*" || parts[2] == "?", parts[4] == "*" || parts[4] == "?"
	c.through = parts[0][0] == '*' || parts[1][0] == '*'
	return c, nil
}

// usualCron returns what the name of a usual schedule stands for, or the text itself.
func usualCron(text string) string {
	switch strings.ToLower(text) {
	case "@yearly", "@annually":
		return "0 0 1 1 *"
	case "@monthly":
		return "0 0 1 * *"
	case "@weekly":
		return "0 0 * * 0"
	case "@daily", "@midnight":
		return "0 0 * * *"
	case "@hourly":
		return "0 * * * *"
	}
	return text
}

// read reads one item of a comma-separated list: numbers are returned, other notations for days noted in days.
func (f cronField) read(item string, days *cronDays) (set uint64, ok bool) {
	if item == "?" {
		return cronRange(f.low, f.high, 1), f.day != 0
	}
	if item == "L" && f.day == 'w' {
		return 1, true // the last day of the week is Sunday
	}
	if f.special(item, days) {
		return 0, true
	}
	span, step, stepped := strings.Cut(item, "/")
	every := 1
	if stepped {
		var err error
		if every, err = strconv.Atoi(step); err != nil || every < 1 || every > f.high || step[0] == '+' {
			return 0, false
		}
	}
	if span == "*" {
		return cronRange(f.low, f.high, every), true
	}
	from, to, ranged := strings.Cut(span, "-")
	first, ok := f.number(from)
	if !ok || !ranged { // a step means nothing without a range, as in the reference
		return 1 << first, ok
	}
	last, ok := f.number(to)
	if f.day == 'w' && to == "SUN" && first > 0 {
		last = 7 // a week may end with it
	}
	return cronRange(first, last, every), ok && first <= last
}

func cronRange(first, last, every int) (set uint64) {
	for n := first; n <= last; n += every {
		set |= 1 << n
	}
	return set
}

// special are last days, nearest working days and n-th weekdays.
func (f cronField) special(item string, days *cronDays) bool {
	switch f.day {
	case 'm':
		switch item {
		case "L":
			days.last = true
			return true
		case "LW":
			days.lastWorking = true
			return true
		}
		day, nearest := strings.CutSuffix(item, "W")
		n, ok := f.number(day)
		if nearest && ok {
			days.nearest |= 1 << n
		}
		return nearest && ok
	case 'w':
		if day, last := strings.CutSuffix(item, "L"); last {
			n, ok := f.number(day)
			if ok {
				days.lastWeekday |= 1 << (n % 7)
			}
			return ok
		}
		day, nth, found := strings.Cut(item, "#")
		n, ok := f.number(day)
		k, err := strconv.Atoi(nth)
		if ok = found && ok && err == nil && k >= 1 && k <= 5; ok {
			days.nth[k] |= 1 << (n % 7)
		}
		return ok
	}
	return false
}

func (f cronField) number(s string) (int, bool) {
	for i, name := range f.names {
		if s == name {
			return f.low + i, true
		}
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < f.low || n > f.high {
		return 0, false
	}
	return n, true
}

// String returns the text of the schedule.
func (c *Cron) String() string { return c.text }

// Zone returns the name of the schedule's time zone.
func (c *Cron) Zone() string { return c.zone.String() }

// Next returns the first time of the schedule after another one, in UTC, or no time when there is none within fifty years.
//
// Where clocks are changed it does what Vixie's cron does: a time that the clocks jump over is made up for at the jump, and one
// that comes twice counts once. A schedule whose minute or hour begins with * goes by the clock instead.
func (c *Cron) Next(after time.Time) time.Time {
	local := after.In(c.zone)
	end := local.AddDate(cronHorizon, 0, 0)
	from := calendar(local).Truncate(time.Minute).Add(time.Minute)
	if c.zone == time.UTC {
		at, _ := c.search(from, end)
		return at
	}
	for local.Before(end) {
		begun, until := zoneBounds(local)
		offset := offsetOf(local)
		before := offset // the offset until the clocks were changed
		if !begun.IsZero() {
			before = offsetOf(begun.Add(-time.Nanosecond))
		}
		if !c.through && before > offset { // what the clocks showed already
			from = later(from, wholeMinute(calendar(begun).Add(before-offset)))
		}
		if until.IsZero() || until.After(end) {
			until = end
		}
		if at, found := c.search(from, until.UTC().Add(offset)); found {
			return at.Add(-offset)
		}
		local = until
		now := calendar(local)
		from = wholeMinute(now)
		if jump := offsetOf(local) - offset; !c.through && jump > 0 && local.Before(end) {
			if _, found := c.search(wholeMinute(now.Add(-jump)), from); found {
				return local.UTC()
			}
		}
	}
	return time.Time{}
}

// zoneBounds is [time.Time.ZoneBounds] with an end that comes after the time. Where a zone goes by a rule, and no longer by a list
// of changes, years have 365 days for it: on the last day of a leap year its end is the begin of that day.
func zoneBounds(t time.Time) (begun, until time.Time) {
	begun, until = t.ZoneBounds()
	if !until.IsZero() && !until.After(t) {
		until = time.Date(t.UTC().Year()+1, time.January, 1, 0, 0, 0, 0, time.UTC).In(t.Location())
	}
	return begun, until
}

// calendar is what clocks and calendars show at a time, as a time in UTC.
func calendar(t time.Time) time.Time { return t.UTC().Add(offsetOf(t)) }

func offsetOf(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}

func wholeMinute(t time.Time) time.Time {
	return t.Add(time.Minute - time.Nanosecond).Truncate(time.Minute)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// search returns the first minute from a whole one on, and before another time, that the fields name.
func (c *Cron) search(from, until time.Time) (at time.Time, found bool) {
	year, month, today := from.Date()
	hour, minute, _ := from.Clock()
	lastYear, lastMonth, _ := until.Date()
	for day := today; year < lastYear || year == lastYear && month <= lastMonth; day = 0 {
		if c.months>>month&1 == 1 {
			for days := c.days.of(year, month) >> day << day; days != 0; days &= days - 1 {
				d, hours := bits.TrailingZeros32(days), c.hours
				if d == day { // only the first month has one that has begun
					if left := c.minutes >> minute << minute; hours>>hour&1 == 1 && left != 0 {
						at = time.Date(year, month, d, hour, bits.TrailingZeros64(left), 0, 0, time.UTC)
						return at, at.Before(until)
					}
					hours = hours >> (hour + 1) << (hour + 1)
				}
				if hours != 0 {
					at = time.Date(year, month, d, bits.TrailingZeros32(hours), bits.TrailingZeros64(c.minutes), 0, 0, time.UTC)
					return at, at.Before(until)
				}
			}
		}
		if month++; month > time.December {
			year, month = year+1, time.January
		}
	}
	return time.Time{}, false
}

// of returns the days of a month that the schedule names, as bits.
func (s *cronDays) of(year int, month time.Month) uint32 {
	length := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
	all := uint32(1)<<(length+1) - 2
	if s.anyDay && s.anyWeekday {
		return all
	}
	first := int(time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).Weekday())
	switch {
	case s.anyWeekday:
		return s.ofMonth(first, length) & all
	case s.anyDay:
		return s.ofWeek(first, length) & all
	}
	return (s.ofMonth(first, length) | s.ofWeek(first, length)) & all
}

func (s *cronDays) ofMonth(first, length int) uint32 {
	set := s.days
	if s.last {
		set |= 1 << length
	}
	if s.lastWorking {
		set |= 1 << nearestWorking(length, first, length)
	}
	for nearest := s.nearest; nearest != 0; nearest &= nearest - 1 {
		if day := bits.TrailingZeros32(nearest); day <= length {
			set |= 1 << nearestWorking(day, first, length)
		}
	}
	return set
}

// nearestWorking is the nearest day from Monday to Friday in the same month.
func nearestWorking(day, first, length int) int {
	switch (first + day - 1) % 7 {
	case 6:
		if day == 1 {
			return 3
		}
		return day - 1
	case 0:
		if day == length {
			return day - 2
		}
		return day + 1
	}
	return day
}

func (s *cronDays) ofWeek(first, length int) (set uint32) {
	const weekly = 1 | 1<<7 | 1<<14 | 1<<21 | 1<<28
	for weekday := range 7 {
		begin := 1 + (weekday-first+7)%7 // the first one of the month
		bit := uint8(1) << weekday
		if s.weekdays&bit != 0 {
			set |= weekly << begin
		}
		for n := 1; n < len(s.nth); n++ {
			if s.nth[n]&bit != 0 {
				set |= 1 << (begin + 7*(n-1))
			}
		}
		if s.lastWeekday&bit != 0 {
			set |= 1 << (begin + (length-begin)/7*7)
		}
	}
	return set
}
