package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"onecard/terminal"
)

// journalRoutes are the calls about the journal. What shows more than the counter
// page needs is not for its session.
func journalRoutes() []Route {
	return []Route{
		{Method: "GET", Path: "/v1/journal/{id}/content", Summary: "One entry with request and answer, decrypted; audited", Answer: terminal.EntryDetail{}, NoPage: true,
			serve: get(func(s *Server, r *http.Request) (any, error) {
				id, err := entryNumber(r)
				if err != nil {
					return nil, err
				}
				return s.desk.EntryContent(r.Context(), id)
			})},
		{Method: "POST", Path: "/v1/journal/{id}/resolve", Summary: "Decide an entry of unknown outcome as a person found it at the centre", Body: terminal.ResolveRequest{}, Answer: terminal.EntryDetail{},
			serve: post(func(s *Server, r *http.Request, body terminal.ResolveRequest) (any, error) {
				id, err := entryNumber(r)
				if err != nil {
					return nil, err
				}
				return s.desk.Resolve(r.Context(), id, body)
			})},
		{Method: "POST", Path: "/v1/journal/{id}/ask", Summary: "Ask the centre now what became of an entry of unknown outcome", Body: Empty{}, Answer: terminal.EntryDetail{},
			serve: post(func(s *Server, r *http.Request, _ Empty) (any, error) {
				id, err := entryNumber(r)
				if err != nil {
					return nil, err
				}
				return s.desk.Ask(r.Context(), id)
			})},
		{Method: "GET", Path: "/v1/journal/export", Summary: "The entries of a day, the earliest first, in parts", NoPage: true,
			Query:  []Parameter{{"day", "yyyy-MM-dd"}, {"after", "the next of the part before; 0 without"}, {"personal", "true: with requests and answers, audited"}},
			Answer: terminal.JournalExport{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				q := r.URL.Query()
				var after int64
				if text := q.Get("after"); text != "" {
					var err error
					if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
						return nil, &bodyError{"after is a number"}
					}
				}
				personal := false
				if text := q.Get("personal"); text != "" {
					var err error
					if personal, err = strconv.ParseBool(text); err != nil {
						return nil, &bodyError{"personal is true or false"}
					}
				}
				return s.desk.ExportJournal(r.Context(), q.Get("day"), after, personal)
			})},
		{Method: "POST", Path: "/v1/journal/verify", Summary: "Read the whole journal and recompute its chain", Body: Empty{}, Answer: terminal.JournalVerification{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, _ Empty) (any, error) { return s.desk.VerifyJournal(r.Context()) })},
		{Method: "POST", Path: "/v1/journal/backup", Summary: "Write a verified copy of the journal into the state directory", Body: Empty{}, Answer: terminal.JournalBackup{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, _ Empty) (any, error) { return s.desk.BackupJournal(r.Context()) })},
	}
}

func entryNumber(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, &bodyError{"the entry is a number"}
	}
	return id, nil
}

// EntryContent returns one entry with everything that is kept of it.
func (c *Client) EntryContent(ctx context.Context, id int64) (out terminal.EntryDetail, err error) {
	return out, c.do(ctx, "GET", fmt.Sprintf("/v1/journal/%d/content", id), nil, &out)
}

// Resolve decides an entry of unknown outcome.
func (c *Client) Resolve(ctx context.Context, id int64, r terminal.ResolveRequest) (out terminal.EntryDetail, err error) {
	return out, c.do(ctx, "POST", fmt.Sprintf("/v1/journal/%d/resolve", id), r, &out)
}

// Ask has the centre asked now what became of an entry of unknown outcome.
func (c *Client) Ask(ctx context.Context, id int64) (out terminal.EntryDetail, err error) {
	return out, c.do(ctx, "POST", fmt.Sprintf("/v1/journal/%d/ask", id), Empty{}, &out)
}

// ExportJournal returns a part of a day's entries.
func (c *Client) ExportJournal(ctx context.Context, day string, after int64, personal bool) (out terminal.JournalExport, err error) {
	q := url.Values{"day": {day}, "after": {fmt.Sprint(after)}, "personal": {fmt.Sprint(personal)}}
	return out, c.do(ctx, "GET", "/v1/journal/export?"+q.Encode(), nil, &out)
}

// VerifyJournal has the daemon recompute the journal's chain.
func (c *Client) VerifyJournal(ctx context.Context) (out terminal.JournalVerification, err error) {
	return out, c.do(ctx, "POST", "/v1/journal/verify", Empty{}, &out)
}

// BackupJournal has the daemon write a copy of the journal.
func (c *Client) BackupJournal(ctx context.Context) (out terminal.JournalBackup, err error) {
	return out, c.do(ctx, "POST", "/v1/journal/backup", Empty{}, &out)
}
