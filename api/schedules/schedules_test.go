package schedules_test

import (
	"testing"
	"time"

	"flint"
	"flint/api/apitest"
	"flint/api/schedules"
	"flint/store"
)

func TestSchedules(t *testing.T) {
	t.Parallel()
	b := apitest.New(t)
	ctx := t.Context()
	for id, f := range map[flint.FunctionID]flint.Function{
		"none": {}, "bare": {Schedule: "0 0 * * *"}, "yearly": {Schedule: "CRON_TZ=Europe/Berlin 0 0 1 1 *", DeploymentID: "d"}, "run": {Schedule: "* * * * *", DeploymentID: "d"},
	} {
		f.Project, f.ID, f.Name, f.Runtime = apitest.Project, id, string(id), "node-22"
		if err := b.Store.CreateFunction(ctx, &f, nil); err != nil {
			t.Fatal(err)
		}
	}
	fire(t, b.Store)
	const root = "/v1/flint/functions/"
	year := time.Now().In(time.FixedZone("", 3600)).Year() + 1
	first := time.Date(year, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600)).UTC().Format("2006-01-02T15:04:05.000+00:00")
	apitest.Run(t, b.Serve(schedules.New(schedules.Config{Store: b.Store}).Routes()), []apitest.Scenario{
		{Name: "no schedule", As: apitest.Key, Method: "GET", Path: root + "none/schedule", Status: 200, Want: `{"functionId":"none","schedule":"","timezone":"","state":"inactive",
			"reason":"The function has no schedule.","paused":false,"missed":"default","missedLimit":0,"missedAge":0,"overlap":"allow","jitter":"default","delay":0,"nextRuns":[],
			"lastRunTime":"","lastRunExecutionId":"","lastRunStatus":"","runs":0,"skipped":0,"lastSkipTime":"","lastSkipReason":""}`},
		{Name: "no deployment", As: apitest.Key, Method: "GET", Path: root + "bare/schedule", Status: 200, Want: `{"state":"inactive","reason":"The function has no active deployment."}`},
		{Name: "all settings", As: apitest.Key, Method: "PUT", Path: root + "yearly/schedule", Body: map[string]any{"missed": "all", "missedLimit": 3, "missedAge": 600, "overlap": "skip", "jitter": "none"}, Status: 200, Want: `{"schedule":"CRON_TZ=Europe/Berlin 0 0 1 1 *","timezone":"Europe/Berlin","state":"active","reason":"","missed":"all","missedLimit":3,"missedAge":600,"overlap":"skip","jitter":"none",
			"nextRuns":["` + first + `","*","*","*","*"]}`},
		{
			Name: "paused", As: apitest.Key, Method: "PUT", Path: root + "yearly/schedule", Body: map[string]any{"paused": true}, Status: 200,
			Want: `{"state":"paused","reason":"The schedule is paused.","paused":true,"missed":"default","nextRuns":[]}`,
		},
		{
			Name: "what it did", As: apitest.Key, Method: "GET", Path: root + "run/schedule", Status: 200,
			Want: `{"lastRunExecutionId":"e1","lastRunStatus":"waiting","lastRunTime":"*","runs":1,"skipped":2,"lastSkipTime":"2026-01-01T00:00:00.000+00:00","lastSkipReason":"missed"}`,
		},
		{
			Name: "a policy that is none", As: apitest.Key, Method: "PUT", Path: root + "run/schedule", Body: map[string]any{"missed": "some"}, Status: 400, Type: "general_argument_invalid",
			Message: "Invalid `missed` param: Value must be one of (default, skip, once, all)",
		},
		{Name: "no function", As: apitest.Key, Method: "PUT", Path: root + "nope/schedule", Body: map[string]any{}, Status: 404, Type: "function_not_found"},
		{Name: "guests", As: apitest.Guest, Method: "GET", Path: root + "run/schedule", Status: 401, Type: "general_unauthorized_scope"},
	})
}

// fire has the function run once, and two times missed.
func fire(t *testing.T, s *store.Store) {
	t.Helper()
	due, err := s.DueSchedules(t.Context(), time.Now().Add(time.Hour), 10)
	if err != nil || len(due) != 1 {
		t.Fatalf("%d due, %v", len(due), err)
	}
	next := due[0].Next.Add(time.Minute)
	e := &flint.Execution{Project: apitest.Project, ID: "e1", Function: "run", Trigger: flint.TriggerSchedule, CreatedAt: time.Now()}
	if err := s.FireSchedules(t.Context(), []*store.Firing{{
		Of: due[0], Next: next, Due: next, Missed: 2, Skip: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Runs: []store.ScheduledRun{{Time: due[0].Next, Execution: e, Call: &store.QueuedCall{Method: "POST", Path: "/"}}},
	}}); err != nil {
		t.Fatal(err)
	}
}
