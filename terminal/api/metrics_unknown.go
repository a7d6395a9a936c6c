package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"onecard/terminal"
)

// unknownCollector reads what is published of the settlements in doubt.
type unknownCollector struct{ desk *terminal.Service }

var (
	unknownDesc      = prometheus.NewDesc("onecard_unknown_settlements", "Transactions of any day whose outcome is unknown, by who has to find out: asked, or given up to a person.", []string{"state"}, nil)
	unknownAgeDesc   = prometheus.NewDesc("onecard_unknown_oldest_seconds", "For how long the oldest of them has been in doubt, 0 without any.", nil, nil)
	unknownAskedDesc = prometheus.NewDesc("onecard_unknown_attempts_total", "Attempts to find out, since the start.", nil, nil)
	contradictedDesc = prometheus.NewDesc("onecard_contradicted_settlements", "Closed entries that a late answer contradicts and that nobody has seen to.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c unknownCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- unknownDesc
	ch <- unknownAgeDesc
	ch <- unknownAskedDesc
	ch <- contradictedDesc
}

// Collect implements prometheus.Collector.
func (c unknownCollector) Collect(ch chan<- prometheus.Metric) {
	state := c.desk.State()
	u := state.Unknown
	age := 0.0
	if u.Oldest != nil {
		age = max(0, state.Time.Sub(*u.Oldest).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(unknownDesc, prometheus.GaugeValue, float64(u.Count-u.GivenUp), "asked")
	ch <- prometheus.MustNewConstMetric(unknownDesc, prometheus.GaugeValue, float64(u.GivenUp), "given_up")
	ch <- prometheus.MustNewConstMetric(unknownAgeDesc, prometheus.GaugeValue, age)
	ch <- prometheus.MustNewConstMetric(unknownAskedDesc, prometheus.CounterValue, float64(u.Attempts))
	ch <- prometheus.MustNewConstMetric(contradictedDesc, prometheus.GaugeValue, float64(len(u.Contradicted)))
}
