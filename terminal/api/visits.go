package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"onecard/terminal"
)

// Visits is the answer of GET /v1/visits.
type Visits struct {
	Visits []terminal.Visit `json:"visits"`
}

// visitRoutes are the calls about a visit beside its ordinary way from
// registration to settlement.
func visitRoutes() []Route {
	return []Route{
		{Method: "GET", Path: "/v1/visits", Summary: "Visits of a state, the latest changed first",
			Query:  []Parameter{{"state", "open, or a state of a visit; open without"}, {"limit", "1 to 200; 50 without"}},
			Answer: Visits{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				limit, err := number(r, "limit", 50, 200)
				if err != nil {
					return nil, err
				}
				state := r.URL.Query().Get("state")
				if state == "" {
					state = terminal.OpenVisits
				}
				list, err := s.desk.Visits(r.Context(), state, limit)
				return Visits{list}, err
			})},
		{Method: "POST", Path: "/v1/visits/{id}/register", Summary: "Register once more a visit whose registration got no answer", Body: Empty{}, Answer: terminal.Visit{},
			serve: post(func(s *Server, r *http.Request, _ Empty) (any, error) {
				return s.desk.Register(r.Context(), r.PathValue("id"))
			})},
		{Method: "POST", Path: "/v1/visits/{id}/set-aside", Summary: "Take an open visit from the page, so that another can be begun", Body: Empty{}, Answer: terminal.Visit{},
			serve: post(func(s *Server, r *http.Request, _ Empty) (any, error) {
				return s.desk.SetAside(r.Context(), r.PathValue("id"))
			})},
		{Method: "POST", Path: "/v1/visits/{id}/resume", Summary: "Bring a visit back to the page: it goes on, or shows its receipt", Body: terminal.ResumeRequest{}, Answer: terminal.Visit{},
			serve: post(func(s *Server, r *http.Request, body terminal.ResumeRequest) (any, error) {
				return s.desk.Resume(r.Context(), r.PathValue("id"), body)
			})},
		{Method: "POST", Path: "/v1/visits/{id}/discharge", Summary: "End a stay, so that it can be settled", Body: terminal.DischargeRequest{}, Answer: terminal.Visit{},
			serve: post(func(s *Server, r *http.Request, body terminal.DischargeRequest) (any, error) {
				return s.desk.Discharge(r.Context(), r.PathValue("id"), body)
			})},
		{Method: "POST", Path: "/v1/visits/{id}/readmit", Summary: "Take a discharge back: the stay goes on", Body: Empty{}, Answer: terminal.Visit{},
			serve: post(func(s *Server, r *http.Request, _ Empty) (any, error) {
				return s.desk.Readmit(r.Context(), r.PathValue("id"))
			})},
		{Method: "POST", Path: "/v1/visits/{id}/refund", Summary: "Take the visit's settlement back, all of it; a repeated call returns the same refund", Body: terminal.RefundRequest{}, Answer: terminal.Refund{},
			serve: post(func(s *Server, r *http.Request, body terminal.RefundRequest) (any, error) {
				return s.desk.Refund(r.Context(), r.PathValue("id"), body)
			})},
		{Method: "POST", Path: "/v1/journal/{id}/refund", Summary: "The same by the number of the settlement's entry, of any day", Body: terminal.RefundReason{}, Answer: terminal.Refund{},
			serve: post(func(s *Server, r *http.Request, body terminal.RefundReason) (any, error) {
				id, err := entryNumber(r)
				if err != nil {
					return nil, err
				}
				return s.desk.Refund(r.Context(), "", terminal.RefundRequest{Entry: id, Reason: body.Reason})
			})},
	}
}

func visitPath(id, rest string) string { return "/v1/visits/" + url.PathEscape(id) + rest }

// Visits returns the visits of a state; empty is every open one.
func (c *Client) Visits(ctx context.Context, state string, limit int) ([]terminal.Visit, error) {
	q := url.Values{}
	if state != "" {
		q.Set("state", state)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var out Visits
	err := c.do(ctx, "GET", "/v1/visits?"+q.Encode(), nil, &out)
	return out.Visits, err
}

// Register registers a visit once more.
func (c *Client) Register(ctx context.Context, id string) (out terminal.Visit, err error) {
	return out, c.do(ctx, "POST", visitPath(id, "/register"), Empty{}, &out)
}

// SetAside takes an open visit from the page.
func (c *Client) SetAside(ctx context.Context, id string) (out terminal.Visit, err error) {
	return out, c.do(ctx, "POST", visitPath(id, "/set-aside"), Empty{}, &out)
}

// Resume brings a visit back to the page.
func (c *Client) Resume(ctx context.Context, id, reader string) (out terminal.Visit, err error) {
	return out, c.do(ctx, "POST", visitPath(id, "/resume"), terminal.ResumeRequest{Reader: reader}, &out)
}

// Discharge ends a stay.
func (c *Client) Discharge(ctx context.Context, id string, r terminal.DischargeRequest) (out terminal.Visit, err error) {
	return out, c.do(ctx, "POST", visitPath(id, "/discharge"), r, &out)
}

// Readmit takes a discharge back.
func (c *Client) Readmit(ctx context.Context, id string) (out terminal.Visit, err error) {
	return out, c.do(ctx, "POST", visitPath(id, "/readmit"), Empty{}, &out)
}

// Refund takes the settlement of a journal entry back; visit may be empty.
func (c *Client) Refund(ctx context.Context, visit string, r terminal.RefundRequest) (out terminal.Refund, err error) {
	if visit == "" {
		return out, c.do(ctx, "POST", "/v1/journal/"+strconv.FormatInt(r.Entry, 10)+"/refund", terminal.RefundReason{Reason: r.Reason}, &out)
	}
	return out, c.do(ctx, "POST", visitPath(visit, "/refund"), r, &out)
}
