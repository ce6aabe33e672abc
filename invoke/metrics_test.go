package invoke

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"flint"
)

// gathered returns the counters, and the sums of the histograms, by name and labels.
func gathered(t *testing.T, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				name = append(name, l.GetValue())
			}
			all[strings.Join(name, " ")] = m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}
	return all
}

func TestFinishedExecutionsAreCounted(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	m := newMetrics(r)
	if one := m.of("node-22"); one != m.of("node-22") || one == m.of("go-1.26") {
		t.Error("a runtime has not its own metrics")
	}
	done := func(trigger flint.Trigger, status flint.ExecutionStatus, code int, receipt flint.Receipt) {
		m.of("node-22").finished(&flint.Execution{Trigger: trigger, Status: status, StatusCode: code, Duration: 2, Receipt: &receipt})
	}
	done(flint.TriggerHTTP, flint.ExecutionCompleted, 200, flint.Receipt{Queue: time.Second, Run: 500 * time.Millisecond, RequestBytes: 3, ResponseBytes: 5, CPU: -1})
	done(flint.TriggerHTTP, flint.ExecutionCompleted, 204, flint.Receipt{ColdStart: 250 * time.Millisecond})
	done(flint.TriggerSchedule, flint.ExecutionFailed, 500, flint.Receipt{})
	done(flint.TriggerEvent, flint.ExecutionFailed, 404, flint.Receipt{})
	got := gathered(t, r)
	want := map[string]float64{
		"flint_executions_total 2xx node-22 completed http": 2, "flint_executions_total 5xx node-22 failed schedule": 1, "flint_executions_total 4xx node-22 failed event": 1,
		"flint_execution_seconds node-22": 8, "flint_execution_queue_seconds node-22": 1, "flint_execution_run_seconds node-22": 0.5,
		"flint_execution_cold_start_seconds node-22": 0.25, "flint_cold_executions_total node-22": 1,
		"flint_execution_request_bytes_total node-22": 3, "flint_execution_response_bytes_total node-22": 5, "flint_late_results_total": 0,
	}
	for name := range got {
		if strings.Contains(name, "go-1.26") {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAsynchronousCallsWaitSinceTheyWereDue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	created, scheduled := now.Add(-time.Hour), now.Add(-time.Minute)
	for name, c := range map[string]struct {
		due  time.Time
		want time.Duration
	}{
		"synchronous":        {time.Time{}, 0},
		"queued":             {dueAt(&flint.Execution{CreatedAt: created}), time.Hour},
		"delayed":            {dueAt(&flint.Execution{CreatedAt: created, ScheduledAt: scheduled}), time.Minute},
		"by another's clock": {now.Add(time.Second), 0},
	} {
		if got := waitedBefore(now, c.due); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func BenchmarkFinished(b *testing.B) {
	m := newMetrics(prometheus.NewRegistry()).of("node-22")
	e := &flint.Execution{Trigger: flint.TriggerHTTP, Status: flint.ExecutionCompleted, StatusCode: 200, Duration: 0.001, Receipt: &flint.Receipt{Run: time.Millisecond, RequestBytes: 1}}
	for b.Loop() {
		m.finished(e)
	}
}
