package schedule

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	runs               prometheus.Counter
	missed, overlapped prometheus.Counter
	lag                prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	skipped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "flint_schedule_skipped_total", Help: "Times of schedules that did not become an execution.",
	}, []string{"reason"})
	m := &metrics{
		runs:   prometheus.NewCounter(prometheus.CounterOpts{Name: "flint_schedule_runs_total", Help: "Times of schedules that became an execution."}),
		missed: skipped.WithLabelValues("missed"), overlapped: skipped.WithLabelValues("overlap"),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "flint_schedule_lag_seconds", Help: "Time from when a run was due until its execution waited.", Buckets: prometheus.ExponentialBuckets(0.005, 3, 11),
		}),
	}
	r.MustRegister(m.runs, skipped, m.lag)
	return m
}
