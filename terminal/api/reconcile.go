package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"onecard/terminal"
)

// A ReconcileRequest names what is to be compared.
type ReconcileRequest struct {
	Period string `json:"period"` // yyyy-MM-dd or yyyy-MM
}

// periodParameters select a report.
func periodParameters(more ...Parameter) []Parameter {
	return append([]Parameter{{"day", "yyyy-MM-dd; yesterday without"}, {"month", "yyyy-MM, instead of a day"}}, more...)
}

func period(r *http.Request) (string, error) {
	day, month := r.URL.Query().Get("day"), r.URL.Query().Get("month")
	if day != "" && month != "" {
		return "", &bodyError{"day or month"}
	}
	return day + month, nil
}

// reconcileRoutes are the calls about the books.
func reconcileRoutes() []Route {
	return []Route{
		{Method: "GET", Path: "/v1/reconciliation", Summary: "The latest comparison of a day or month with the centre's books", Query: periodParameters(), Answer: terminal.Reconciliation{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				p, err := period(r)
				if err != nil {
					return nil, err
				}
				return s.desk.Reconciliation(r.Context(), p)
			})},
		{Method: "POST", Path: "/v1/reconciliation", Summary: "Compare a day or month with the centre's books now; it books nothing", Body: ReconcileRequest{}, Answer: terminal.Reconciliation{},
			serve: post(func(s *Server, r *http.Request, body ReconcileRequest) (any, error) {
				return s.desk.Reconcile(r.Context(), body.Period)
			})},
		{Method: "POST", Path: "/v1/reconciliation/{id}/rows/{n}/execute", Summary: "Have something done about a difference: action and reason; audited, and not done twice", Body: terminal.ReconcileOrder{}, Answer: terminal.Reconciliation{},
			serve: post(func(s *Server, r *http.Request, body terminal.ReconcileOrder) (any, error) {
				id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
				if err != nil {
					return nil, &bodyError{"the report is a number"}
				}
				n, err := strconv.Atoi(r.PathValue("n"))
				if err != nil {
					return nil, &bodyError{"the row is a number"}
				}
				return s.desk.ExecuteReconciliation(r.Context(), id, n, body)
			})},
		{Method: "GET", Path: "/v1/reconciliation/export", Summary: "The comparison as a table", Answer: "",
			Query: periodParameters(Parameter{"format", "csv (without) or xlsx"}, Parameter{"lang", "zh (without) or en"}),
			serve: (*Server).reconciliationTable},
	}
}

// reconciliationTable answers a file.
func (s *Server) reconciliationTable(w http.ResponseWriter, r *http.Request) {
	p, err := period(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q := r.URL.Query()
	t, err := s.desk.ReconciliationTable(r.Context(), p, q.Get("format"), q.Get("lang"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", t.Type)
	w.Header().Set("Content-Disposition", `attachment; filename="`+t.Name+`"`)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(t.Content)))
	// An error means that the caller has left.
	_, _ = w.Write(t.Content)
}

var (
	unbalancedDesc  = prometheus.NewDesc("onecard_reconciliation_unbalanced", "Days and months of late that do not balance with the centre's books.", nil, nil)
	differencesDesc = prometheus.NewDesc("onecard_reconciliation_open_differences", "Differences with the centre's books that nobody has dealt with.", nil, nil)
)

// booksCollector reads what is published of the books.
type booksCollector struct{ desk *terminal.Service }

func (booksCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- unbalancedDesc
	ch <- differencesDesc
}

func (c booksCollector) Collect(ch chan<- prometheus.Metric) {
	books := c.desk.State().Books
	ch <- prometheus.MustNewConstMetric(unbalancedDesc, prometheus.GaugeValue, float64(len(books.Unbalanced)))
	ch <- prometheus.MustNewConstMetric(differencesDesc, prometheus.GaugeValue, float64(books.Open))
}

// Reconciliation returns the latest comparison of a day or month; empty is
// yesterday.
func (c *Client) Reconciliation(ctx context.Context, period string) (out terminal.Reconciliation, err error) {
	return out, c.do(ctx, "GET", "/v1/reconciliation?"+periodQuery(period).Encode(), nil, &out)
}

// Reconcile compares a day or month.
func (c *Client) Reconcile(ctx context.Context, period string) (out terminal.Reconciliation, err error) {
	return out, c.do(ctx, "POST", "/v1/reconciliation", ReconcileRequest{period}, &out)
}

// ExecuteReconciliation has something done about row n of a report.
func (c *Client) ExecuteReconciliation(ctx context.Context, id int64, n int, o terminal.ReconcileOrder) (out terminal.Reconciliation, err error) {
	return out, c.do(ctx, "POST", fmt.Sprintf("/v1/reconciliation/%d/rows/%d/execute", id, n), o, &out)
}

func periodQuery(period string) url.Values {
	q := url.Values{}
	switch {
	case len(period) == len("2006-01"):
		q.Set("month", period)
	case period != "":
		q.Set("day", period)
	}
	return q
}

// ReconciliationTable returns the comparison as a file: format csv or xlsx, lang
// zh or en.
func (c *Client) ReconciliationTable(ctx context.Context, period, format, lang string) (content []byte, err error) {
	q := periodQuery(period)
	q.Set("format", format)
	q.Set("lang", lang)
	return content, c.do(ctx, "GET", "/v1/reconciliation/export?"+q.Encode(), nil, &content)
}
