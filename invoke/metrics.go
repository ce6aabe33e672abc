package invoke

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
)

type metrics struct {
	executions *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	queue      *prometheus.HistogramVec
	run        *prometheus.HistogramVec
	coldStart  *prometheus.HistogramVec
	cold       *prometheus.CounterVec
	requests   *prometheus.CounterVec
	responses  *prometheus.CounterVec
	late       prometheus.Counter
	retries    *prometheus.CounterVec

	mu    sync.Mutex
	known map[string]*meters
}

// meters are the metrics of one runtime. A target holds on to its own: looking them up costs as much as counting.
type meters struct {
	duration, queue, run, coldStart prometheus.Observer
	cold, requests, responses       prometheus.Counter

	executions *prometheus.CounterVec // of the runtime
	outcomes   [3 * 2 * outcomeClasses]atomic.Pointer[prometheus.Counter]
}

const outcomeClasses = 10 // 0xx to 9xx

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"runtime"}, labels...))
	}
	times := func(name, help string, least float64, buckets int) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(least, 2, buckets)}, []string{"runtime"})
	}
	m := &metrics{
		executions: counter("flint_executions_total", "Finished executions.", "trigger", "status", "class"),
		duration:   times("flint_execution_seconds", "Time from the request to the end of the response.", 0.0005, 18),
		queue:      times("flint_execution_queue_seconds", "Time that executions waited for a place in a worker, without its start.", 0.0005, 18),
		run:        times("flint_execution_run_seconds", "Time that workers had executions.", 0.0005, 18),
		coldStart:  times("flint_execution_cold_start_seconds", "Time that cold executions waited for the start of their worker.", 0.001, 15),
		cold:       counter("flint_cold_executions_total", "Executions that waited for a worker to start."),
		requests:   counter("flint_execution_request_bytes_total", "Bytes of request bodies that workers got."),
		responses:  counter("flint_execution_response_bytes_total", "Bytes of response bodies that workers sent."),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flint_late_results_total", Help: "Results of lost attempts that were dropped.",
		}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flint_retries_total", Help: "Attempts of asynchronous calls after which the call was to be made again.",
		}, []string{"outcome"}),
		known: map[string]*meters{},
	}
	r.MustRegister(m.retries, m.executions, m.duration, m.queue, m.run, m.coldStart, m.cold, m.requests, m.responses, m.late)
	return m
}

// of returns the metrics of a runtime.
func (m *metrics) of(runtime string) *meters {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.known[runtime]
	if one == nil {
		one = &meters{
			duration: m.duration.WithLabelValues(runtime), queue: m.queue.WithLabelValues(runtime), run: m.run.WithLabelValues(runtime),
			coldStart: m.coldStart.WithLabelValues(runtime), cold: m.cold.WithLabelValues(runtime),
			requests: m.requests.WithLabelValues(runtime), responses: m.responses.WithLabelValues(runtime),
			executions: m.executions.MustCurryWith(prometheus.Labels{"runtime": runtime}),
		}
		m.known[runtime] = one
	}
	return one
}

// finished counts an execution that has ended and has a receipt.
func (m *meters) finished(e *flint.Execution) {
	m.outcome(e).Inc()
	m.duration.Observe(e.Duration)
	r := e.Receipt
	m.queue.Observe(r.Queue.Seconds())
	m.run.Observe(r.Run.Seconds())
	m.requests.Add(float64(r.RequestBytes))
	m.responses.Add(float64(r.ResponseBytes))
	if r.Cold() {
		m.cold.Inc()
		m.coldStart.Observe(r.ColdStart.Seconds())
	}
}

// outcome is the counter of executions that ended like e.
func (m *meters) outcome(e *flint.Execution) prometheus.Counter {
	class := e.StatusCode / 100
	at := max(0, min(class, outcomeClasses-1))
	if e.Status == flint.ExecutionFailed {
		at += outcomeClasses
	}
	switch e.Trigger {
	case flint.TriggerHTTP:
	case flint.TriggerSchedule:
		at += 2 * outcomeClasses
	case flint.TriggerEvent:
		at += 4 * outcomeClasses
	}
	if c := m.outcomes[at].Load(); c != nil {
		return *c
	}
	c := m.executions.WithLabelValues(string(e.Trigger), string(e.Status), strconv.Itoa(class)+"xx")
	m.outcomes[at].Store(&c)
	return c
}
