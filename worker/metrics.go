package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	starts   *prometheus.HistogramVec
	failures *prometheus.CounterVec
	crashes  *prometheus.CounterVec
	cpu      *prometheus.CounterVec
	refused  prometheus.Counter
	stemHits prometheus.Counter
}

func newMetrics(r prometheus.Registerer, p *Pool) *metrics {
	m := &metrics{
		starts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "flint_worker_start_seconds", Help: "Time from wanting a worker to its being ready.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"runtime"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flint_worker_start_failures_total", Help: "Workers that did not become ready.",
		}, []string{"runtime"}),
		crashes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flint_worker_crashes_total", Help: "Workers that ended although they were wanted.",
		}, []string{"runtime"}),
		cpu: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flint_worker_cpu_seconds_total", Help: "Processor time of workers, as far as the host accounts for it.",
		}, []string{"runtime"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flint_worker_refused_calls_total", Help: "Calls refused because there was no worker and no room to wait.",
		}),
		stemHits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flint_worker_stem_hits_total", Help: "Cold starts that found a stem waiting.",
		}),
	}
	live := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "flint_workers", Help: "Workers that live or start."}, func() float64 {
		p.mu.Lock()
		defer p.mu.Unlock()
		return float64(p.reserved)
	})
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "flint_stems", Help: "Stems that wait for a function."}, func() float64 {
		return float64(p.stems.count())
	})
	queued := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "flint_waiting_calls", Help: "Calls that wait for a worker."}, func() float64 {
		return float64(p.queued.Load())
	})
	r.MustRegister(m.starts, m.failures, m.crashes, m.cpu, m.refused, m.stemHits, live, waiting, queued)
	return m
}

func (m *metrics) started(runtime string, took time.Duration, err error) {
	if err != nil {
		m.failures.WithLabelValues(runtime).Inc()
		return
	}
	m.starts.WithLabelValues(runtime).Observe(took.Seconds())
}
