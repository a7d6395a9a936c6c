package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"onecard/terminal"
)

// metrics are counted per server: nothing is global.
type metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(desk *terminal.Service) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onecard_http_requests_total", Help: "Calls of the API by route and status.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onecard_http_request_seconds", Help: "Time to answer by route.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60},
		}, []string{"method", "route"}),
	}
	m.registry.MustRegister(m.calls, m.seconds, deskCollector{desk}, unknownCollector{desk}, booksCollector{desk},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// statusWriter remembers the status; the WebSocket needs Unwrap to hijack.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (m *metrics) measure(route Route, w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) {
	began := time.Now()
	sw := &statusWriter{w, http.StatusOK}
	serve(sw)
	m.calls.WithLabelValues(route.Method, route.Path, strconv.Itoa(sw.status)).Inc()
	if route.Path != "/v1/events" {
		m.seconds.WithLabelValues(route.Method, route.Path).Observe(time.Since(began).Seconds())
	}
}

// deskCollector reads the published state when somebody asks.
type deskCollector struct{ desk *terminal.Service }

var (
	settlementsDesc = prometheus.NewDesc("onecard_settlements_today", "Settlements of the day by outcome.", []string{"outcome"}, nil)
	unresolvedDesc  = prometheus.NewDesc("onecard_settlements_unresolved", "Settlements of any day whose outcome is unknown.", nil, nil)
	healthDesc      = prometheus.NewDesc("onecard_condition_ok", "1 while the condition holds.", []string{"condition"}, nil)
	waitingDesc     = prometheus.NewDesc("onecard_outbox_items", "Items of the outbox that are not closed, by kind and state.", []string{"kind", "state"}, nil)
	oldestDesc      = prometheus.NewDesc("onecard_outbox_oldest_seconds", "Age of the oldest item of the outbox that is not closed, by kind.", []string{"kind"}, nil)
	readersDesc     = prometheus.NewDesc("onecard_readers", "Readers by state.", []string{"state"}, nil)
)

func (c deskCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- settlementsDesc
	ch <- unresolvedDesc
	ch <- healthDesc
	ch <- waitingDesc
	ch <- oldestDesc
	ch <- readersDesc
}

func (c deskCollector) Collect(ch chan<- prometheus.Metric) {
	state := c.desk.State()
	gauge := func(d *prometheus.Desc, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	gauge(settlementsDesc, float64(state.Journal.Done), "done")
	gauge(settlementsDesc, float64(state.Journal.Refused), "refused")
	gauge(settlementsDesc, float64(state.Journal.Unknown), "unknown")
	ch <- prometheus.MustNewConstMetric(unresolvedDesc, prometheus.GaugeValue, float64(state.Journal.UnknownTotal))
	for _, h := range state.Health {
		v := 0.0
		if h.OK {
			v = 1
		}
		gauge(healthDesc, v, h.Name)
	}
	c.collectOutbox(ch, state.Time)
	byState := make(map[string]int)
	for _, r := range state.Readers {
		byState[r.State]++
	}
	for s, n := range byState {
		gauge(readersDesc, float64(n), s)
	}
}

// collectOutbox asks the outbox itself: it is small, and its age grows without a
// change. Where it cannot be read there is no number, and journal is not well.
func (c deskCollector) collectOutbox(ch chan<- prometheus.Metric, now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	kinds, err := c.desk.OutboxKinds(ctx)
	if err != nil {
		return
	}
	for _, k := range kinds {
		for state, n := range map[string]int{"waiting": k.Waiting, "held": k.Held, "dead": k.Dead} {
			ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(n), k.Kind, state)
		}
		ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, now.Sub(k.Oldest).Seconds(), k.Kind)
	}
}
