package api

import (
	"context"
	"net/http"
	"strconv"

	"onecard/terminal"
)

// A Route is one call of the interface.
type Route struct {
	Method  string
	Path    string // in the form of net/http: {id} is a parameter
	Summary string
	Query   []Parameter
	Body    any  // zero value of the request's body, nil for none
	Answer  any  // zero value of the answer's body, nil for 204
	Public  bool // no token
	NoPage  bool // the page's session is not enough: it changes a card, or looks anybody up
	serve   func(*Server, http.ResponseWriter, *http.Request)
}

// A Parameter is one value of a query.
type Parameter struct{ Name, Summary string }

// Readers is the answer of GET /v1/readers.
type Readers struct {
	Readers []terminal.Reader `json:"readers"`
}

// File is the answer of GET /v1/readers/{id}/files/{file}.
type File struct {
	File terminal.FileDocument `json:"file"`
}

// PINRequest asks for the PIN: at the pad, or, on the Unix socket alone, with
// the digits in it.
type PINRequest struct {
	PIN Digits `json:"pin,omitempty"`
}

// Verified is the answer of a PIN verification.
type Verified struct {
	Verified bool `json:"verified"`
}

// NewPINRequest sets a new PIN: entered at the pad, or, on the Unix socket alone,
// in the body. Old is for a change only.
type NewPINRequest struct {
	Old Digits `json:"old,omitempty"`
	New Digits `json:"new,omitempty"`
}

// SignRequest asks for a signature over a message, in base64. The PIN is that of
// the certificate environment: entered at the pad, or, on the Unix socket alone,
// in the body.
type SignRequest struct {
	PIN     Digits `json:"pin,omitempty"`
	Message []byte `json:"message"`
}

// Changed is the answer of what sets or unblocks a PIN.
type Changed struct {
	Changed bool `json:"changed"`
}

// Files is the answer of GET /v1/readers/{id}/files.
type Files struct {
	Files []terminal.FileDocument `json:"files"`
}

// Commands are raw commands in hexadecimal.
type Commands struct {
	Commands []string `json:"commands"`
}

// Exchanges are the answers to [Commands], in order.
type Exchanges struct {
	Responses []terminal.APDUExchange `json:"responses"`
}

// Prices is the answer of GET /v1/catalogue.
type Prices struct {
	Items []terminal.PriceItem `json:"items"`
}

// Checks is the answer of GET /v1/doctor.
type Checks struct {
	Checks []terminal.Check `json:"checks"`
}

// Empty is a body without content.
type Empty struct{}

// Digits are a PIN in transit. They are wiped after use and print as stars.
type Digits []byte

// UnmarshalJSON takes a JSON string of digits without making a Go string of it.
func (d *Digits) UnmarshalJSON(text []byte) error {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' || len(text) > 66 {
		return &bodyError{"pin is a string of digits"}
	}
	*d = append(make(Digits, 0, len(text)), text[1:len(text)-1]...) // not nil: it was there
	return nil
}

// MarshalJSON writes the digits: only the client does so, to the socket.
func (d Digits) MarshalJSON() ([]byte, error) {
	for _, c := range d {
		if c < '0' || c > '9' {
			return nil, &bodyError{"pin is a string of digits"}
		}
	}
	return append(append([]byte{'"'}, d...), '"'), nil
}

// String prints stars.
func (d Digits) String() string { return "****" }

// GoString prints stars.
func (d Digits) GoString() string { return "****" }

// Routes lists every call.
func Routes() []Route {
	return append([]Route{
		{Method: "GET", Path: "/v1/state", Summary: "Everything a page shows: readers, card, visit, health, journal of the day", Answer: terminal.State{},
			serve: get(func(s *Server, r *http.Request) (any, error) { return s.desk.State(), nil })},
		{Method: "GET", Path: "/v1/events", Summary: "WebSocket: the state at once and after every change", Answer: Event{},
			serve: (*Server).events},
		{Method: "GET", Path: "/v1/readers", Summary: "The slots for a user's card", Answer: Readers{},
			serve: get(func(s *Server, r *http.Request) (any, error) { return Readers{s.desk.State().Readers}, nil })},
		{Method: "GET", Path: "/v1/readers/{id}/identity", Summary: "Card and holder, not masked; every call is written to the audit log", Answer: terminal.IdentityDocument{},
			serve: get(func(s *Server, r *http.Request) (any, error) { return s.desk.Identity(r.Context(), r.PathValue("id")) })},
		{Method: "GET", Path: "/v1/readers/{id}/files/{file}", Summary: "One file of the card, decoded, e.g. DF03EF07", Answer: File{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				f, err := s.desk.File(r.Context(), r.PathValue("id"), r.PathValue("file"))
				return File{f}, err
			})},
		{Method: "GET", Path: "/v1/readers/{id}/pin", Summary: "Tries left, asked without using one", Answer: terminal.PIN{},
			serve: get(func(s *Server, r *http.Request) (any, error) { return s.desk.PINState(r.Context(), r.PathValue("id")) })},
		{Method: "POST", Path: "/v1/readers/{id}/pin/verify", Summary: "Verify the PIN that the holder enters at the pad; only the Unix socket takes it in the body", Body: PINRequest{}, Answer: Verified{},
			serve: post(func(s *Server, r *http.Request, body PINRequest) (any, error) {
				defer clear(body.PIN)
				if body.PIN != nil && doorOf(r) != overSocket {
					return nil, ErrPINNetwork
				}
				err := s.desk.VerifyPIN(r.Context(), r.PathValue("id"), body.PIN)
				return Verified{err == nil}, err
			})},
		{Method: "POST", Path: "/v1/readers/{id}/apdu", Summary: "Send raw commands; those that carry a PIN are taken on the Unix socket alone", Body: Commands{}, Answer: Exchanges{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, body Commands) (any, error) {
				if doorOf(r) != overSocket && terminal.CarriesPIN(body.Commands) {
					return nil, ErrPINNetwork
				}
				out, err := s.desk.APDU(r.Context(), r.PathValue("id"), body.Commands)
				return Exchanges{out}, err
			})},
		{Method: "GET", Path: "/v1/readers/{id}/files", Summary: "Every file of the card that can be read, decoded, and why the others cannot", Answer: Files{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				files, err := s.desk.Files(r.Context(), r.PathValue("id"))
				return Files{files}, err
			})},
		{Method: "GET", Path: "/v1/readers/{id}/summary", Summary: "What a person wants to know of the own card, in one answer; after the PIN", Answer: terminal.SummaryDocument{},
			serve: get(func(s *Server, r *http.Request) (any, error) { return s.desk.Summary(r.Context(), r.PathValue("id")) })},
		{Method: "GET", Path: "/v1/readers/{id}/certificate", Summary: "Public key for signatures and certificate of a 3.0 card", Answer: terminal.Certificate{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				return s.desk.Certificate(r.Context(), r.PathValue("id"))
			})},
		{Method: "POST", Path: "/v1/readers/{id}/certificate/key", Summary: "Have the card make a new key pair for signatures", Body: PINRequest{}, Answer: terminal.Certificate{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, body PINRequest) (any, error) {
				defer clear(body.PIN)
				if body.PIN != nil && doorOf(r) != overSocket {
					return nil, ErrPINNetwork
				}
				return s.desk.GenerateKey(r.Context(), r.PathValue("id"), body.PIN)
			})},
		{Method: "POST", Path: "/v1/readers/{id}/certificate/sign", Summary: "Have the card sign a message with SM2", Body: SignRequest{}, Answer: terminal.Signature{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, body SignRequest) (any, error) {
				defer clear(body.PIN)
				if body.PIN != nil && doorOf(r) != overSocket {
					return nil, ErrPINNetwork
				}
				return s.desk.Sign(r.Context(), r.PathValue("id"), body.PIN, body.Message)
			})},
		{Method: "POST", Path: "/v1/readers/{id}/write", Summary: "Change records of one file, or with dry_run show what would change", Body: terminal.WriteRequest{}, Answer: terminal.WriteResult{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, body terminal.WriteRequest) (any, error) {
				return s.desk.Write(r.Context(), r.PathValue("id"), body)
			})},
		{Method: "POST", Path: "/v1/readers/{id}/pin/change", Summary: "Change the PIN: old and new at the pad; only the Unix socket takes them in the body", Body: NewPINRequest{}, Answer: Changed{}, NoPage: true,
			serve: newPIN(func(s *Server, r *http.Request, pins terminal.PINs) error {
				return s.desk.ChangePIN(r.Context(), r.PathValue("id"), pins)
			})},
		{Method: "POST", Path: "/v1/readers/{id}/pin/reset", Summary: "Set a new PIN without the old one; the caller knows who the holder is", Body: NewPINRequest{}, Answer: Changed{}, NoPage: true,
			serve: newPIN(func(s *Server, r *http.Request, pins terminal.PINs) error {
				return s.desk.ResetPIN(r.Context(), r.PathValue("id"), pins)
			})},
		{Method: "POST", Path: "/v1/readers/{id}/pin/unblock", Summary: "Give a blocked PIN its tries back", Body: Empty{}, Answer: Changed{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, _ Empty) (any, error) {
				err := s.desk.UnblockPIN(r.Context(), r.PathValue("id"))
				return Changed{err == nil}, err
			})},
		{Method: "GET", Path: "/v1/readers/{id}/account", Summary: "The medical account on the card; after the PIN", Answer: terminal.Account{},
			serve: get(func(s *Server, r *http.Request) (any, error) { return s.desk.Account(r.Context(), r.PathValue("id")) })},
		{Method: "POST", Path: "/v1/readers/{id}/account/debit", Summary: "Take an amount from the medical account; after the PIN", Body: terminal.DebitRequest{}, Answer: terminal.CardTransaction{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, body terminal.DebitRequest) (any, error) {
				return s.desk.Debit(r.Context(), r.PathValue("id"), body)
			})},
		{Method: "GET", Path: "/v1/readers/{id}/account/proof", Summary: "The card's proof of its latest purchase", Query: []Parameter{{"sequence", "the purchase's sequence number on the card"}}, Answer: terminal.CardProof{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				n, err := number(r, "sequence", 0, 65535)
				if err != nil {
					return nil, err
				}
				return s.desk.Proof(r.Context(), r.PathValue("id"), uint16(n))
			})},
		{Method: "POST", Path: "/v1/visits", Summary: "Begin a visit: sign in, fetch the person, register", Body: terminal.VisitRequest{}, Answer: terminal.Visit{},
			serve: post(func(s *Server, r *http.Request, body terminal.VisitRequest) (any, error) {
				return s.desk.OpenVisit(r.Context(), body)
			})},
		{Method: "GET", Path: "/v1/visits/{id}", Summary: "One visit", Answer: terminal.Visit{},
			serve: get(func(s *Server, r *http.Request) (any, error) { return s.desk.Visit(r.PathValue("id")) })},
		{Method: "DELETE", Path: "/v1/visits/{id}", Summary: "Give a visit up and take back what the centre has of it, or put a finished one away",
			serve: func(s *Server, w http.ResponseWriter, r *http.Request) {
				if err := s.desk.Abandon(context.WithoutCancel(r.Context()), r.PathValue("id")); err != nil {
					s.fail(w, r, err)
					return
				}
				w.WriteHeader(http.StatusNoContent)
			}},
		{Method: "PUT", Path: "/v1/visits/{id}/lines", Summary: "Replace the fee lines", Body: terminal.LinesRequest{}, Answer: terminal.Visit{},
			serve: post(func(s *Server, r *http.Request, body terminal.LinesRequest) (any, error) {
				return s.desk.SetLines(r.Context(), r.PathValue("id"), body)
			})},
		{Method: "POST", Path: "/v1/visits/{id}/trial", Summary: "Upload diagnoses and lines and ask for the split", Body: Empty{}, Answer: terminal.Visit{},
			serve: post(func(s *Server, r *http.Request, _ Empty) (any, error) {
				return s.desk.Trial(r.Context(), r.PathValue("id"))
			})},
		{Method: "POST", Path: "/v1/visits/{id}/settle", Summary: "Settle for the agreed amounts; a repeated call returns the same receipt", Body: terminal.SettleRequest{}, Answer: terminal.Visit{},
			serve: post(func(s *Server, r *http.Request, body terminal.SettleRequest) (any, error) {
				return s.desk.Settle(r.Context(), r.PathValue("id"), body)
			})},
		{Method: "GET", Path: "/v1/journal", Summary: "The journal of a day",
			Query:  []Parameter{{"day", "yyyy-MM-dd, or all; today without"}, {"outcome", "intended, done, refused or unknown"}, {"limit", "1 to 1000; 200 without"}},
			Answer: terminal.JournalDay{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				limit, err := number(r, "limit", 200, 1000)
				if err != nil {
					return nil, err
				}
				q := r.URL.Query()
				return s.desk.Journal(r.Context(), q.Get("day"), q.Get("outcome"), limit)
			})},
		{Method: "GET", Path: "/v1/journal/{id}", Summary: "One entry of the journal, with what was asked about it where it was in doubt", Answer: terminal.EntryView{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
				if err != nil {
					return nil, &bodyError{"the entry is a number"}
				}
				return s.desk.EntryView(r.Context(), id)
			})},
		{Method: "POST", Path: "/v1/call/{infno}", Summary: "Send one transaction that books nothing and belongs to no visit, such as a look-up", Body: terminal.CallRequest{}, Answer: terminal.CallAnswer{}, NoPage: true,
			serve: post(func(s *Server, r *http.Request, body terminal.CallRequest) (any, error) {
				return s.desk.Call(r.Context(), r.PathValue("infno"), body)
			})},
		{Method: "GET", Path: "/v1/catalogue", Summary: "Search the institution's price list", Query: []Parameter{{"q", "part of a code or name"}}, Answer: Prices{},
			serve: get(func(s *Server, r *http.Request) (any, error) {
				return Prices{s.desk.Prices(r.URL.Query().Get("q"))}, nil
			})},
		{Method: "GET", Path: "/v1/doctor", Summary: "What is wrong with this machine", Answer: Checks{},
			serve: get(func(s *Server, r *http.Request) (any, error) { return Checks{s.desk.Doctor(r.Context())}, nil })},
		{Method: "GET", Path: "/healthz", Summary: "200 while all is well, 503 while a condition fails", Answer: Health{}, Public: true,
			serve: (*Server).health},
		{Method: "GET", Path: "/metrics", Summary: "Metrics in the text form of Prometheus", Answer: "", Public: true,
			serve: (*Server).metricsHandler},
		{Method: "GET", Path: "/openapi.json", Summary: "This description", Answer: map[string]any{}, Public: true,
			serve: func(s *Server, w http.ResponseWriter, _ *http.Request) {
				s.answer(w, http.StatusOK, OpenAPI(s.desk.State().Version))
			}},
	}, append(append(append(journalRoutes(), visitRoutes()...), outboxRoutes()...), append(reconcileRoutes(), unitRoutes()...)...)...)
}

// newPIN serves a call that sets a PIN.
func newPIN(do func(*Server, *http.Request, terminal.PINs) error) func(*Server, http.ResponseWriter, *http.Request) {
	return post(func(s *Server, r *http.Request, body NewPINRequest) (any, error) {
		defer clear(body.Old)
		defer clear(body.New)
		if (body.Old != nil || body.New != nil) && doorOf(r) != overSocket {
			return nil, ErrPINNetwork
		}
		err := do(s, r, terminal.PINs{Old: body.Old, New: body.New})
		return Changed{err == nil}, err
	})
}

// get serves a call without a body.
func get(do func(*Server, *http.Request) (any, error)) func(*Server, http.ResponseWriter, *http.Request) {
	return func(s *Server, w http.ResponseWriter, r *http.Request) {
		body, err := do(s, r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.answer(w, http.StatusOK, body)
	}
}

// post serves a call with a body. What it began goes on when the caller hangs
// up: a settlement must not depend on a browser tab.
func post[T any](do func(*Server, *http.Request, T) (any, error)) func(*Server, http.ResponseWriter, *http.Request) {
	return func(s *Server, w http.ResponseWriter, r *http.Request) {
		var body T
		if err := decode(w, r, &body); err != nil {
			s.fail(w, r, err)
			return
		}
		answer, err := do(s, r.WithContext(context.WithoutCancel(r.Context())), body)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.answer(w, http.StatusOK, answer)
	}
}
