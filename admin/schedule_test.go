package admin

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flint"
	"flint/client"
)

func TestSchedules(t *testing.T) {
	t.Parallel()
	c, s := setup(t, nil)
	ctx := t.Context()
	if err := s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "g", Name: "G", Runtime: "node-22", Schedule: "TZ=UTC 0 0 1 1 *", DeploymentID: "d"}, nil); err != nil {
		t.Fatal(err)
	}
	all, err := c.Schedules(ctx, "p")
	if err != nil || len(all) != 1 || all[0].Function != "g" || all[0].Zone != "UTC" || all[0].State != "active" || len(all[0].NextRuns) != 5 {
		t.Fatalf("%+v, %v", all, err)
	}
	yes, once, age, jitter := true, "once", 60, "30"
	got, err := c.UpdateSchedule(ctx, "p", "g", client.SchedulePolicy{Paused: &yes, Missed: &once})
	if err != nil || got.State != "paused" || !got.Next.IsZero() {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err = c.UpdateSchedule(ctx, "p", "g", client.SchedulePolicy{MissedAge: &age, Jitter: &jitter}); err != nil { // the rest stays
		t.Fatal(err)
	}
	f, err := s.Function(ctx, "p", "g")
	if d := cmp.Diff(flint.ScheduleSettings{Paused: true, Missed: flint.MissedOnce, MissedAge: 60, Jitter: 30}, f.Scheduling); d != "" || err != nil {
		t.Errorf("settings (-want +got):\n%s%v", d, err)
	}
	if got, err = c.Schedule(ctx, "p", "f"); err != nil || got.State != "inactive" || got.Reason == "" {
		t.Errorf("one without a schedule: %+v, %v", got, err)
	}
	bad, low := "x", -1
	for says, p := range map[string]client.SchedulePolicy{"missed": {Missed: &bad}, "overlap": {Overlap: &bad}, "jitter": {Jitter: &bad}, "missedLimit": {MissedLimit: &low}, "missedAge": {MissedAge: &low}} {
		_, err := c.UpdateSchedule(ctx, "p", "g", p)
		var refused *client.Error
		if !errors.As(err, &refused) || !strings.HasPrefix(refused.Message, says+":") {
			t.Errorf("%s: %v", says, err)
		}
	}
	if _, err := c.Schedule(ctx, "p", "nope"); err == nil || !strings.Contains(err.Error(), "nope") {
		t.Errorf("no function: %v", err)
	}
}
