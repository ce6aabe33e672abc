package functions

import (
	"strconv"
	"strings"
)

// cronField is one of the five fields of a schedule.
type cronField struct {
	low, high int
	names     []string // of low, low+1, …
	day       byte     // 'm' of the month, 'w' of the week: these have notations of their own
}

func cronFields() [5]cronField {
	return [5]cronField{
		{low: 0, high: 59},
		{low: 0, high: 23},
		{low: 1, high: 31, day: 'm'},
		{low: 1, high: 12, names: []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}},
		{low: 0, high: 7, names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}, day: 'w'},
	}
}

// validCron reports whether text is a schedule: five fields or the name of a usual one.
func validCron(text string) bool {
	switch strings.ToLower(text) {
	case "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly":
		return true
	}
	parts := strings.Fields(text)
	fields := cronFields()
	if len(parts) != len(fields) {
		return false
	}
	for i, part := range parts {
		for item := range strings.SplitSeq(strings.ToUpper(part), ",") {
			if !fields[i].valid(item) {
				return false
			}
		}
	}
	return true
}

// valid reports whether item, one of a comma-separated list, is right for the field.
func (f cronField) valid(item string) bool {
	if item == "?" {
		return f.day != 0
	}
	if f.special(item) {
		return true
	}
	span, step, stepped := strings.Cut(item, "/")
	if n, err := strconv.Atoi(step); stepped && (err != nil || n < 1 || n > f.high) {
		return false
	}
	if span == "*" {
		return true
	}
	from, to, ranged := strings.Cut(span, "-")
	first, ok := f.number(from)
	if !ok || !ranged {
		return ok
	}
	last, ok := f.number(to)
	return ok && first <= last
}

// special are last days, nearest working days and n-th weekdays.
func (f cronField) special(item string) bool {
	switch f.day {
	case 'm':
		if item == "L" || item == "LW" {
			return true
		}
		day, nearest := strings.CutSuffix(item, "W")
		_, ok := f.number(day)
		return nearest && ok
	case 'w':
		if item == "L" {
			return true
		}
		if day, last := strings.CutSuffix(item, "L"); last {
			_, ok := f.number(day)
			return ok
		}
		day, nth, found := strings.Cut(item, "#")
		_, ok := f.number(day)
		n, err := strconv.Atoi(nth)
		return found && ok && err == nil && n >= 1 && n <= 5
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
	return n, err == nil && n >= f.low && n <= f.high
}
