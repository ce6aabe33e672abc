package flint_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"flint"
)

func TestParseCron(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"* * * * *", "*/5 * * * *", "1-30/2 0 1,15 JAN-MAR MON", "0 0 * * 7", "@daily", "@Hourly", "0 0 L * ?", "0 0 15W * *", "0 0 LW * *",
		"0 0 ? * 1#2", "0 0 ? * 5L", "0 0 ? * FRIL", "  0  0 * * *  ", "5/10 * * * *", "0 0 * * FRI-SUN", "0 0 * * L",
		"CRON_TZ=Europe/Berlin 0 8 * * 1-5", "TZ=UTC @daily", " TZ=America/New_York  0 8 * * *",
	} {
		if _, err := flint.ParseCron(good); err != nil {
			t.Errorf("ParseCron(%q): %v", good, err)
		}
	}
	for bad, says := range map[string]string{
		"": "0 fields", "x": "1 fields", "* * * *": "4 fields", "* * * * * *": "6 fields", "60 * * * *": "minute", "* 24 * * *": "hour", "* * 0 * *": "day of the month",
		"* * 32 * *": "day of the month", "* * * 13 *": `"13" cannot be the month`, "* * * * 8": "day of the week", "*/0 * * * *": "minute", "30-10 * * * *": "minute",
		"1,,2 * * * *": "minute", "-1 * * * *": "minute", "? * * * *": "minute", "0 0 ? * 1#6": "1#6", "0 0 32W * *": "32W", "@reboot": "fields", "+1 * * * *": "+1",
		"1-2-3 * * * *": "1-2-3", "0 0 * * SAT-MON": "SAT-MON", "*/+5 * * * *": "*/+5", "TZ=Nowhere/Land 0 0 * * *": "Nowhere/Land", "TZ=Local 0 0 * * *": "Local",
		"TZ= 0 0 * * *": "time zone", "TZ=../UTC 0 0 * * *": "time zone", "TZ=UTC": "0 fields", "cron_tz=UTC 0 0 * * *": "6 fields",
	} {
		if _, err := flint.ParseCron(bad); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("ParseCron(%q): %v, want something with %q", bad, err, says)
		}
	}
}

func TestCronNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cron, after, want string }{
		{"* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"},
		{"* * * * *", "2026-01-01T00:00:59.999Z", "2026-01-01T00:01:00Z"},
		{"*/5 * * * *", "2026-12-31T23:58:00Z", "2027-01-01T00:00:00Z"},
		{"5/10 * * * *", "2026-01-01T00:05:00Z", "2026-01-01T01:05:00Z"}, // the reference gives a step without a range no meaning
		{"10-30/10 3 * * *", "2026-01-01T03:20:00Z", "2026-01-01T03:30:00Z"},
		{"@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"@monthly", "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z"},
		{"@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
		{"@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"},
		{"0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 0 ? 2 4#5", "2026-01-01T00:00:00Z", "2052-02-29T00:00:00Z"},
		{"0 0 31 2 *", "2026-01-01T00:00:00Z", ""},
		{"0 0 31W 4 *", "2026-01-01T00:00:00Z", ""},
		{"0 0 L * *", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z"},
		{"0 0 LW * *", "2026-02-01T00:00:00Z", "2026-02-27T00:00:00Z"}, // the 28th is a Saturday
		{"0 0 LW * *", "2026-05-01T00:00:00Z", "2026-05-29T00:00:00Z"}, // the 31st is a Sunday
		{"0 0 15W * *", "2026-08-01T00:00:00Z", "2026-08-14T00:00:00Z"},
		{"0 0 15W * *", "2026-11-01T00:00:00Z", "2026-11-16T00:00:00Z"},
		{"0 0 1W * *", "2026-07-31T12:00:00Z", "2026-08-03T00:00:00Z"},  // the 1st is a Saturday
		{"0 0 31W * *", "2026-05-01T00:00:00Z", "2026-05-29T00:00:00Z"}, // the 31st is a Sunday
		{"0 0 * * 5#2", "2026-01-01T00:00:00Z", "2026-01-09T00:00:00Z"},
		{"0 0 * * 5#5", "2026-02-01T00:00:00Z", "2026-05-29T00:00:00Z"},
		{"0 0 * * 5L", "2026-01-01T00:00:00Z", "2026-01-30T00:00:00Z"},
		{"0 0 * * 7L", "2026-01-01T00:00:00Z", "2026-01-25T00:00:00Z"},
		{"0 0 * * L", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
		{"0 0 * * FRI-SUN", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"},
		{"0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"}, // either will do
		{"0 0 13 * 5", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"},
		{"0 0 ? * 5", "2026-01-09T00:00:00Z", "2026-01-16T00:00:00Z"},
		{"0 0 13 * ?", "2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z"},
		{"0 0 */2 * 1", "2026-01-03T00:00:00Z", "2026-01-05T00:00:00Z"}, // as in the reference: what is not * alone says something

		{"TZ=Asia/Kolkata 0 8 * * *", "2026-01-01T00:00:00Z", "2026-01-01T02:30:00Z"},
		// The list of changes of these zones ends with 2037; a rule follows.
		{"TZ=Europe/Berlin 0 0 ? 2 4#5", "2026-01-01T00:00:00Z", "2052-02-28T23:00:00Z"},
		{"TZ=America/New_York 0 0 31 2 *", "2026-01-01T00:00:00Z", ""},
		{"TZ=Europe/Berlin 0 12 * * *", "2040-12-31T10:59:00Z", "2040-12-31T11:00:00Z"},
		{"TZ=Europe/Berlin 0 12 * * *", "2040-12-31T11:00:00Z", "2041-01-01T11:00:00Z"},
		{"TZ=Australia/Lord_Howe 0 12 * * *", "2040-12-30T23:00:00Z", "2040-12-31T01:00:00Z"},
		{"TZ=Australia/Lord_Howe 0 12 * * *", "2040-12-31T01:00:00Z", "2041-01-01T01:00:00Z"},
		{"TZ=Europe/Berlin 30 2 L 3 0L", "2041-01-01T00:00:00Z", "2041-03-31T01:00:00Z"}, // the clocks jump over it
		{"CRON_TZ=Europe/Berlin 0 8 * * *", "2026-03-28T08:00:00Z", "2026-03-29T06:00:00Z"},
		// 29 March: from 2:00 to 3:00 in Berlin, at 1:00 UTC.
		{"TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"TZ=Europe/Berlin 30 2 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"TZ=Europe/Berlin 0 3 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"TZ=Europe/Berlin 0 2,3 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"},
		{"TZ=Europe/Berlin 30 * * * *", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"},
		{"TZ=Europe/Berlin */30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:00:00Z"},
		// 25 October: from 3:00 back to 2:00, at 1:00 UTC.
		{"TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"TZ=Europe/Berlin 30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"TZ=Europe/Berlin 30 2 * * *", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z"},
		{"TZ=Europe/Berlin 30 * * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
		{"TZ=Europe/Berlin 0 0 * * *", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"TZ=Australia/Lord_Howe 15 2 * * *", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z"}, // a jump of half an hour
	} {
		cron, err := flint.ParseCron(c.cron)
		if err != nil {
			t.Errorf("ParseCron(%q): %v", c.cron, err)
			continue
		}
		got := ""
		if at := cron.Next(moment(t, c.after)); !at.IsZero() {
			got = at.Format(time.RFC3339Nano)
		}
		if got != c.want {
			t.Errorf("%q: Next(%s) = %s, want %s", c.cron, c.after, got, c.want)
		}
	}
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// plainCron matches minutes one by one against the text of a schedule, as slowly and plainly as can be.
type plainCron struct {
	fields [5]string
	zone   *time.Location
}

// matches reports whether what clocks show, as a time in UTC, is one of the schedule's.
func (p plainCron) matches(at time.Time) bool {
	if !plainField(p.fields[0], at.Minute(), 59) || !plainField(p.fields[1], at.Hour(), 23) || !plainField(p.fields[3], int(at.Month()), 12) {
		return false
	}
	day, weekday := false, false
	for item := range strings.SplitSeq(p.fields[2], ",") {
		day = day || plainDay(item, at)
	}
	for item := range strings.SplitSeq(p.fields[4], ",") {
		weekday = weekday || plainWeekday(item, at)
	}
	free := func(s string) bool { return s == "*" || s == "?" }
	switch {
	case free(p.fields[2]):
		return weekday
	case free(p.fields[4]):
		return day
	}
	return day || weekday
}

func plainField(text string, n, most int) bool {
	for item := range strings.SplitSeq(text, ",") {
		span, step, _ := strings.Cut(item, "/")
		first, last, every := 0, most, 1
		if step != "" {
			every, _ = strconv.Atoi(step)
		}
		if span != "*" {
			from, to, ranged := strings.Cut(span, "-")
			first, _ = strconv.Atoi(from)
			last = first
			if ranged {
				last, _ = strconv.Atoi(to)
			}
		} else if most == 12 || most == 31 {
			first = 1
		}
		for v := first; v <= last; v += every {
			if v == n {
				return true
			}
		}
	}
	return false
}

func plainDay(item string, at time.Time) bool {
	working := func(t time.Time) bool { return t.Weekday() != time.Saturday && t.Weekday() != time.Sunday }
	tomorrow := at.AddDate(0, 0, 1)
	if item == "?" {
		return true
	}
	if item == "L" {
		return tomorrow.Day() == 1
	}
	if item == "LW" {
		for d := tomorrow; d.Day() != 1; d = d.AddDate(0, 0, 1) {
			if working(d) {
				return false
			}
		}
		return working(at)
	}
	text, nearest := strings.CutSuffix(item, "W")
	if !nearest {
		return plainField(item, at.Day(), 31)
	}
	n, _ := strconv.Atoi(text)
	for _, off := range []int{0, -1, 1, -2, 2} {
		wanted := time.Date(at.Year(), at.Month(), n, 0, 0, 0, 0, time.UTC)
		d := wanted.AddDate(0, 0, off)
		if wanted.Month() == at.Month() && d.Month() == at.Month() && working(d) {
			return d.Day() == at.Day()
		}
	}
	return false
}

func plainWeekday(item string, at time.Time) bool {
	if item == "?" {
		return true
	}
	if item == "L" {
		item = "0"
	}
	if text, last := strings.CutSuffix(item, "L"); last {
		n, _ := strconv.Atoi(text)
		return int(at.Weekday()) == n%7 && at.AddDate(0, 0, 7).Month() != at.Month()
	}
	if text, nth, found := strings.Cut(item, "#"); found {
		n, _ := strconv.Atoi(text)
		return int(at.Weekday()) == n%7 && strconv.Itoa((at.Day()+6)/7) == nth
	}
	return plainField(item, int(at.Weekday()), 7) || at.Weekday() == time.Sunday && plainField(item, 7, 7)
}

// next steps through the minutes up to a time.
func (p plainCron) next(after, until time.Time) time.Time {
	through := p.fields[0][0] == '*' || p.fields[1][0] == '*'
	shown := func(t time.Time) time.Time {
		_, offset := t.In(p.zone).Zone()
		return t.UTC().Add(time.Duration(offset) * time.Second)
	}
	for at := after.UTC().Truncate(time.Minute).Add(time.Minute); at.Before(until); at = at.Add(time.Minute) {
		now, before := shown(at), shown(at.Add(-time.Minute))
		if through {
			if p.matches(now) {
				return at
			}
			continue
		}
		if p.matches(now) && !slices.ContainsFunc([]int{30, 60, 120}, func(n int) bool { return shown(at.Add(-time.Duration(n) * time.Minute)).Equal(now) }) {
			return at
		}
		for jumped := before.Add(time.Minute); jumped.Before(now); jumped = jumped.Add(time.Minute) {
			if p.matches(jumped) {
				return at
			}
		}
	}
	return time.Time{}
}

// randomCron makes a schedule that comes often enough to be found by stepping.
func randomCron(r *rand.Rand) (fields [5]string) {
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	span := func(low, high int) string {
		a := low + r.IntN(high-low+1)
		b := a + r.IntN(high-a+1)
		return pick("*", strconv.Itoa(a), fmt.Sprintf("%d-%d", a, b), fmt.Sprintf("%d,%d", a, b), fmt.Sprintf("*/%d", 1+r.IntN(high)), fmt.Sprintf("%d-%d/%d", a, b, 1+r.IntN(high)), fmt.Sprintf("%d/%d", a, 1+r.IntN(high)))
	}
	day := 1 + r.IntN(31)
	fields = [5]string{span(0, 59), span(0, 23), "*", "*", "*"}
	fields[2] = pick("*", "?", "L", "LW", fmt.Sprintf("%dW", day), span(1, 31), fmt.Sprintf("%d,L", day), fmt.Sprintf("%dW,LW", day))
	fields[3] = pick("*", "*", "*", span(1, 12))
	fields[4] = pick("*", "?", "L", fmt.Sprintf("%dL", r.IntN(8)), fmt.Sprintf("%d#%d", r.IntN(8), 1+r.IntN(5)), span(0, 7), fmt.Sprintf("%d,%d#1", r.IntN(8), r.IntN(8)))
	return fields
}

func TestCronAgainstPlainMatcher(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", "America/Santiago", "Pacific/Apia"}
	begin := moment(t, "2025-01-01T00:00:00Z")
	for range 250 {
		fields, name := randomCron(r), zones[r.IntN(len(zones))]
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		text := "CRON_TZ=" + name + " " + strings.Join(fields[:], " ")
		cron, err := flint.ParseCron(text)
		if err != nil {
			t.Fatal(err)
		}
		at := begin.Add(time.Duration(r.Int64N(int64(20 * 365 * 24 * time.Hour))))     // beyond 2037 zones go by rules
		if _, change := at.In(zone).ZoneBounds(); !change.IsZero() && r.IntN(2) == 0 { // where it is difficult
			at = change.Add(time.Duration(r.Int64N(int64(8*time.Hour))) - 5*time.Hour)
		}
		for range 4 {
			until := at.Add(10 * 24 * time.Hour)
			want, got := plainCron{fields, zone}.next(at, until), cron.Next(at)
			if want.IsZero() && (got.IsZero() || !got.Before(until)) {
				break
			}
			if !got.Equal(want) {
				t.Fatalf("seed %d: %q: Next(%s) = %s, want %s", seed, text, at.UTC().Format(time.RFC3339Nano), got, want)
			}
			at = got
		}
	}
}

func FuzzCron(f *testing.F) {
	for _, seed := range []string{"*/5 * * * *", "0-30/2,45 8-18 LW JAN-dec mon#2", "? 0 15W * 5L", "@Daily", "60 24 0 13 8", "CRON_TZ=Europe/Berlin 30 2 * * *", "TZ=../x 0 0 * * *"} {
		f.Add(seed, int64(1_770_000_000))
	}
	f.Fuzz(func(t *testing.T, text string, seconds int64) {
		cron, err := flint.ParseCron(text)
		if err != nil {
			return
		}
		if !strings.Contains(text, "=") {
			if n := len(strings.Fields(text)); n != 5 && strings.TrimSpace(text)[0] != '@' {
				t.Errorf("%q has %d fields", text, n)
			}
			for _, same := range []string{strings.ToUpper(text), strings.ToLower(text)} {
				if _, err := flint.ParseCron(same); err != nil {
					t.Errorf("%q is valid, %q is not", text, same)
				}
			}
		}
		after := time.Unix(seconds%(1<<33), 0)
		at := cron.Next(after)
		if !at.IsZero() && (!at.After(after) || at.Sub(after) > 51*366*24*time.Hour) {
			t.Errorf("%q: %s comes after %s", text, at, after)
		}
	})
}

func BenchmarkCronNext(b *testing.B) {
	for _, text := range []string{"* * * * *", "0 8 * * 1-5", "0 0 29 2 *", "CRON_TZ=Europe/Berlin 30 2 * * *", "0 0 31 2 *"} {
		b.Run(text, func(b *testing.B) {
			cron, err := flint.ParseCron(text)
			if err != nil {
				b.Fatal(err)
			}
			at := time.Unix(1_770_000_000, 0)
			for b.Loop() {
				cron.Next(at)
			}
		})
	}
}
