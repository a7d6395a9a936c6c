package settlement

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// An Answer is upstream's answer with infcode 0.
type Answer struct {
	Infno    string
	RefMsgID string          // inf_refmsgid: the receiver's own number, not an echo
	WarnMsg  string          // warn_msg, for a person
	Date     time.Time       // the gateway's clock (HTTP Date), zero where it sent none
	Output   json.RawMessage // an object, or nil
	Raw      []byte          // as it came, for the journal; holds personal data
}

// Decode reads the output into v, generously (see [Text], [List], [Node]). The
// error wraps ErrMalformed and never holds a value.
func (a Answer) Decode(v any) error {
	if len(a.Output) == 0 {
		return fmt.Errorf("%s: no output: %w", a.Infno, ErrMalformed)
	}
	if err := json.Unmarshal(a.Output, v); err != nil {
		return fmt.Errorf("%s: output: %v: %w", a.Infno, errJSON(err), ErrMalformed)
	}
	return nil
}

// String names the answer without its content.
func (a Answer) String() string {
	return fmt.Sprintf("%s answer %s (%d bytes)", a.Infno, printable(a.RefMsgID), len(a.Raw))
}

// answerEnvelope is the envelope of answers, and the members of the gateway's
// own refusals.
type answerEnvelope struct {
	Infcode  *Text           `json:"infcode"`
	RefMsgID Text            `json:"inf_refmsgid"`
	ErrMsg   json.RawMessage `json:"err_msg"`
	WarnMsg  json.RawMessage `json:"warn_msg"`
	Output   json.RawMessage `json:"output"`

	Code     *Text           `json:"code"`
	Message  json.RawMessage `json:"message"`
	Message2 json.RawMessage `json:"msg"`
}

// decodeAnswer reads a complete answer. A refusal is *RefusedError or
// *HTTPError; whatever does not follow the interface wraps ErrMalformed. Raw is
// set in every case.
func decodeAnswer(infno string, status int, body []byte) (Answer, error) {
	a, err := readAnswer(infno, status, body)
	a.Infno, a.Raw = infno, body
	return a, err
}

func readAnswer(infno string, status int, body []byte) (Answer, error) {
	success := status >= 200 && status < 300
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	var e answerEnvelope
	if err := json.Unmarshal(body, &e); err != nil {
		if !success {
			return Answer{}, &HTTPError{Infno: infno, Status: status}
		}
		return Answer{}, fmt.Errorf("%s: %v: %w", infno, errJSON(err), ErrMalformed)
	}
	refMsgID := bounded(string(e.RefMsgID), 64)
	if e.Infcode == nil || *e.Infcode == "" {
		if e.Code != nil {
			message := words(e.Message)
			if message == "" {
				message = words(e.Message2)
			}
			code, err := unmarshalDecimal([]byte(`"`+string(*e.Code)+`"`), 6, 0)
			if err != nil || code == 0 || code == 200 {
				return Answer{}, fmt.Errorf("%s: neither infcode nor a gateway refusal (HTTP status %d): %w", infno, status, ErrMalformed)
			}
			return Answer{}, &HTTPError{Infno: infno, Status: status, GatewayCode: int(code), Message: message}
		}
		if !success {
			return Answer{}, &HTTPError{Infno: infno, Status: status, Message: words(e.Message)}
		}
		return Answer{}, fmt.Errorf("%s: no infcode: %w", infno, ErrMalformed)
	}
	code, err := unmarshalDecimal([]byte(`"`+string(*e.Infcode)+`"`), 6, 0)
	switch {
	case err == nil && code == -1:
		return Answer{}, &RefusedError{Infno: infno, RefMsgID: refMsgID, Message: words(e.ErrMsg)}
	case err == nil && code == 0 && success:
	case err == nil && code == 0:
		return Answer{}, fmt.Errorf("%s: infcode 0 with HTTP status %d: %w", infno, status, ErrMalformed)
	default:
		return Answer{}, fmt.Errorf("%s: infcode is neither 0 nor -1: %w", infno, ErrMalformed)
	}
	a := Answer{RefMsgID: refMsgID, WarnMsg: words(e.WarnMsg)}
	output := e.Output
	if len(output) > 0 && output[0] == '"' {
		// Some gateways hand the output on as a text.
		var s string
		if json.Unmarshal(output, &s) == nil && json.Valid([]byte(s)) {
			output = json.RawMessage(s)
		}
	}
	switch output = bytes.TrimSpace(output); {
	case nothing(output):
	case output[0] == '{' || output[0] == '[':
		a.Output = output
	default:
		return Answer{}, fmt.Errorf("%s: output is no object: %w", infno, ErrMalformed)
	}
	return a, nil
}

// words reads a message for a person: a text, or whatever JSON stands there.
func words(raw json.RawMessage) string {
	s, _, err := lenientScalar(raw)
	if err != nil {
		s = string(raw)
	}
	return bounded(s, 1000)
}

// bounded cuts a text to at most n characters and drops control characters,
// which have no business on a clerk's screen or in a terminal.
func bounded(s string, n int) string {
	var b []byte
	for _, r := range s {
		if n == 0 {
			break
		}
		if r < ' ' && r != '\n' || r == 0x7f || r == utf8.RuneError {
			continue
		}
		b = utf8.AppendRune(b, r)
		n--
	}
	return string(b)
}
