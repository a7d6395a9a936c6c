package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"onecard/fault"
	"onecard/terminal"
)

// Refusals of a request's form.
var (
	ErrBody       = fault.New(fault.BodyInvalid, "request body not valid")
	ErrTooLarge   = fault.New(fault.BodyTooLarge, "request body too large")
	ErrPath       = fault.New(fault.PathUnknown, "no such resource")
	ErrMethod     = fault.New(fault.MethodNotAllowed, "method not allowed")
	ErrPINNetwork = fault.New(fault.PINOverNetwork, "PIN over the network")
)

// maxBody bounds a request: 500 fee lines need a tenth of it.
const maxBody = 1 << 20

// bodyError says where a body is wrong without repeating any of it.
type bodyError struct{ detail string }

func (e *bodyError) Error() string       { return "request: " + e.detail }
func (e *bodyError) Unwrap() error       { return ErrBody }
func (e *bodyError) FaultDetail() string { return e.detail }

// decode reads a JSON body strictly: one value, no unknown field. An empty
// body is the empty object.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return &bodyError{"Content-Type must be application/json"}
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return ErrTooLarge
		}
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err = dec.Decode(into)
	clear(text) // it may have held a PIN
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return &bodyError{fmt.Sprintf("field %s has the wrong kind of value", kind.Field)}
	case errors.As(err, &syntax):
		return &bodyError{fmt.Sprintf("not JSON at byte %d", syntax.Offset)}
	case err != nil:
		return &bodyError{"not the JSON of this call; see /openapi.json"}
	}
	if dec.More() {
		return &bodyError{"more than one JSON value"}
	}
	return nil
}

// A FaultAnswer is the body of every answer that is not a success.
type FaultAnswer struct {
	Fault *terminal.Fault `json:"fault"`
}

// answer writes JSON. It is never cached: it is about a person.
func (s *Server) answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		// Every body is a type of ours without cycles or odd values.
		s.log.WithError(err).Error("answer cannot be written as JSON")
		status, text = http.StatusInternalServerError, []byte(`{}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(append(text, '\n')); err != nil {
		s.log.WithError(err).Debug("caller left before its answer")
	}
}

// fail answers with the fault of an error and its status in the catalogue.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.Of(err)
	entry := s.log.WithField("code", e.Code).WithField("path", routeOf(r)).WithError(err)
	if e.Code == fault.Internal {
		entry.Error("request failed")
	} else {
		entry.Info("request refused")
	}
	s.answer(w, e.HTTP, FaultAnswer{terminal.Explain(err)})
}
