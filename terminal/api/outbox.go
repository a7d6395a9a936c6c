package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"onecard/terminal"
)

// outboxRoutes are the calls about what waits until the centre takes it.
func outboxRoutes() []Route {
	return []Route{
		{Method: "GET", Path: "/v1/outbox", Summary: "What waits until the centre takes it, the latest first, and how much of each kind",
			Query:  []Parameter{{"state", "held, waiting, sending, dead, sent, dropped, void or all; what is not closed without"}, {"kind", "withdraw, upload, refund or debit"}, {"before", "only smaller numbers"}, {"limit", "1 to 1000; 200 without"}},
			Answer: terminal.OutboxList{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				limit, err := number(r, "limit", 200, 1000)
				if err != nil {
					return nil, err
				}
				q := r.URL.Query()
				var before int64
				if text := q.Get("before"); text != "" {
					if before, err = strconv.ParseInt(text, 10, 64); err != nil || before < 1 {
						return nil, &bodyError{"before is a number"}
					}
				}
				return s.desk.Outbox(r.Context(), q.Get("state"), q.Get("kind"), before, limit)
			})},
		{Method: "GET", Path: "/v1/outbox/{id}", Summary: "One item with what would be sent, decrypted, and who decided about it; audited", Answer: terminal.OutboxDetail{}, NoPage: true,
			serve: get(func(s *Server, r *http.Request) (any, error) {
				id, err := itemNumber(r)
				if err != nil {
					return nil, err
				}
				return s.desk.OutboxContent(r.Context(), id)
			})},
		{Method: "POST", Path: "/v1/outbox", Summary: "Queue an upload that may wait; the same is not queued twice", Body: terminal.UploadRequest{}, Answer: terminal.OutboxDetail{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, body terminal.UploadRequest) (any, error) {
				return s.desk.QueueUpload(r.Context(), body)
			})},
		{Method: "POST", Path: "/v1/outbox/refund", Summary: "Have a settlement taken back that nobody waits for; the same is queued once", Body: terminal.RefundRequest{}, Answer: terminal.OutboxDetail{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, body terminal.RefundRequest) (any, error) {
				return s.desk.QueueRefund(r.Context(), body)
			})},
		{Method: "POST", Path: "/v1/outbox/{id}/retry", Summary: "Send an item again that could not be delivered: who, why", Body: terminal.OutboxOrder{}, Answer: terminal.OutboxDetail{}, NoPage: true,
			serve: decideItem((*terminal.Service).RetryLetter)},
		{Method: "POST", Path: "/v1/outbox/{id}/drop", Summary: "Give an item up, it is never sent: who, why", Body: terminal.OutboxOrder{}, Answer: terminal.OutboxDetail{}, NoPage: true,
			serve: decideItem((*terminal.Service).DropLetter)},
	}
}

func decideItem(do func(*terminal.Service, context.Context, int64, terminal.OutboxOrder) (terminal.OutboxDetail, error)) func(*Server, http.ResponseWriter, *http.Request) {
	return post(func(s *Server, r *http.Request, body terminal.OutboxOrder) (any, error) {
		id, err := itemNumber(r)
		if err != nil {
			return nil, err
		}
		return do(s.desk, r.Context(), id, body)
	})
}

func itemNumber(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, &bodyError{"the item is a number"}
	}
	return id, nil
}

// Outbox lists what waits, or what is in a state, or "all".
func (c *Client) Outbox(ctx context.Context, state, kind string, limit int) (out terminal.OutboxList, err error) {
	q := url.Values{}
	for name, value := range map[string]string{"state": state, "kind": kind} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return out, c.do(ctx, "GET", "/v1/outbox?"+q.Encode(), nil, &out)
}

// OutboxItem returns one item with what would be sent.
func (c *Client) OutboxItem(ctx context.Context, id int64) (out terminal.OutboxDetail, err error) {
	return out, c.do(ctx, "GET", fmt.Sprintf("/v1/outbox/%d", id), nil, &out)
}

// QueueUpload puts an upload into the outbox.
func (c *Client) QueueUpload(ctx context.Context, r terminal.UploadRequest) (out terminal.OutboxDetail, err error) {
	return out, c.do(ctx, "POST", "/v1/outbox", r, &out)
}

// QueueRefund has a settlement taken back when the centre can be asked.
func (c *Client) QueueRefund(ctx context.Context, r terminal.RefundRequest) (out terminal.OutboxDetail, err error) {
	return out, c.do(ctx, "POST", "/v1/outbox/refund", r, &out)
}

// RetryLetter has an item sent again.
func (c *Client) RetryLetter(ctx context.Context, id int64, o terminal.OutboxOrder) (out terminal.OutboxDetail, err error) {
	return out, c.do(ctx, "POST", fmt.Sprintf("/v1/outbox/%d/retry", id), o, &out)
}

// DropLetter gives an item up.
func (c *Client) DropLetter(ctx context.Context, id int64, o terminal.OutboxOrder) (out terminal.OutboxDetail, err error) {
	return out, c.do(ctx, "POST", fmt.Sprintf("/v1/outbox/%d/drop", id), o, &out)
}
