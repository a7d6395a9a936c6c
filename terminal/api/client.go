package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"

	"onecard/fault"
	"onecard/terminal"
)

// ErrDaemon means that nobody answers at the address.
var ErrDaemon = fault.New(fault.DaemonUnreachable, "onecardd does not answer")

// Names of the files in the state directory.
const (
	TokenFile  = "token"
	SocketFile = "onecard.sock"
)

// maxAnswer bounds what a client reads.
const maxAnswer = 64 << 20

// A Client calls a daemon. Its methods return errors that explain themselves
// through terminal.Explain as the daemon's own do.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// NewClient talks to addr, http://127.0.0.1:8750, with the token of stateDir.
func NewClient(addr, stateDir string) (*Client, error) {
	u, err := url.Parse(addr)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("address: http://host:port expected: %w", ErrDaemon)
	}
	token, err := os.ReadFile(filepath.Join(stateDir, TokenFile))
	if err != nil {
		return nil, fmt.Errorf("token of the state directory: %w: %w", ErrDaemon, err)
	}
	return &Client{
		base:  strings.TrimSuffix(addr, "/"),
		token: strings.TrimSpace(string(token)),
		http:  &http.Client{Timeout: 3 * time.Minute},
	}, nil
}

// Through returns the same client over another transport, such as one that keeps
// a connection for each of many callers.
func (c *Client) Through(t http.RoundTripper) *Client {
	over := *c
	over.http = &http.Client{Timeout: c.http.Timeout, Transport: t}
	return &over
}

// NewSocketClient talks to the Unix socket of stateDir: the only door for a PIN.
func NewSocketClient(stateDir string) *Client {
	path := filepath.Join(stateDir, SocketFile)
	return &Client{
		base: "http://onecard",
		http: &http.Client{Timeout: 3 * time.Minute, Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", path)
			},
		}},
	}
}

// A RemoteError is a fault that the daemon answered.
type RemoteError struct {
	Status int
	Fault  terminal.Fault
}

// Error returns the English sentence with its code.
func (e *RemoteError) Error() string { return fmt.Sprintf("%s %s", e.Fault.Code, e.Fault.Text.English) }

// Code implements the interface of [fault.Of].
func (e *RemoteError) Code() fault.Code { return e.Fault.Code }

// FaultDetail returns the daemon's detail.
func (e *RemoteError) FaultDetail() string { return e.Fault.Detail }

// Left returns the tries that a PIN or key has left.
func (e *RemoteError) Left() (int, bool) {
	if e.Fault.TriesLeft == nil {
		return 0, false
	}
	return *e.Fault.TriesLeft, true
}

// do calls and decodes the answer into out, which may be nil, *json.RawMessage, or
// *[]byte for an answer that is no JSON.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var uerr *url.Error
		if errors.As(err, &uerr) {
			err = uerr.Err // the address is the caller's own
		}
		return fmt.Errorf("%w: %w", ErrDaemon, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDaemon, err)
	}
	if resp.StatusCode >= 400 && path != "/healthz" {
		var failure FaultAnswer
		if err := json.Unmarshal(text, &failure); err != nil || failure.Fault == nil {
			return fmt.Errorf("answer %d is not onecard's: %w", resp.StatusCode, ErrDaemon)
		}
		return &RemoteError{resp.StatusCode, *failure.Fault}
	}
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if content, ok := out.(*[]byte); ok {
		*content = text
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("answer of %s: %w: %w", path, ErrDaemon, err)
	}
	return nil
}

// State returns the published state.
func (c *Client) State(ctx context.Context) (s terminal.State, err error) {
	return s, c.do(ctx, "GET", "/v1/state", nil, &s)
}

// Health returns /healthz.
func (c *Client) Health(ctx context.Context) (h Health, err error) {
	return h, c.do(ctx, "GET", "/healthz", nil, &h)
}

// Identity returns card and holder, not masked.
func (c *Client) Identity(ctx context.Context, reader string) (d terminal.IdentityDocument, err error) {
	return d, c.do(ctx, "GET", "/v1/readers/"+url.PathEscape(reader)+"/identity", nil, &d)
}

// File returns one file of the card, decoded.
func (c *Client) File(ctx context.Context, reader, file string) (terminal.FileDocument, error) {
	var f File
	err := c.do(ctx, "GET", "/v1/readers/"+url.PathEscape(reader)+"/files/"+url.PathEscape(file), nil, &f)
	return f.File, err
}

func readerPath(reader, rest string) string { return "/v1/readers/" + url.PathEscape(reader) + rest }

// Files returns every file of the card, decoded.
func (c *Client) Files(ctx context.Context, reader string) ([]terminal.FileDocument, error) {
	var f Files
	err := c.do(ctx, "GET", readerPath(reader, "/files"), nil, &f)
	return f.Files, err
}

// Write changes records of one file.
func (c *Client) Write(ctx context.Context, reader string, w terminal.WriteRequest) (out terminal.WriteResult, err error) {
	return out, c.do(ctx, "POST", readerPath(reader, "/write"), w, &out)
}

// ChangePIN changes the PIN: at the pad, or with pins over the socket.
func (c *Client) ChangePIN(ctx context.Context, reader string, pins terminal.PINs) error {
	return c.do(ctx, "POST", readerPath(reader, "/pin/change"), NewPINRequest{Old: pins.Old, New: pins.New}, nil)
}

// ResetPIN sets a new PIN: at the pad, or with pins.New over the socket.
func (c *Client) ResetPIN(ctx context.Context, reader string, pins terminal.PINs) error {
	return c.do(ctx, "POST", readerPath(reader, "/pin/reset"), NewPINRequest{New: pins.New}, nil)
}

// UnblockPIN gives a blocked PIN its tries back.
func (c *Client) UnblockPIN(ctx context.Context, reader string) error {
	return c.do(ctx, "POST", readerPath(reader, "/pin/unblock"), Empty{}, nil)
}

// Account returns the medical account.
func (c *Client) Account(ctx context.Context, reader string) (out terminal.Account, err error) {
	return out, c.do(ctx, "GET", readerPath(reader, "/account"), nil, &out)
}

// Debit takes an amount from the medical account.
func (c *Client) Debit(ctx context.Context, reader string, d terminal.DebitRequest) (out terminal.CardTransaction, err error) {
	return out, c.do(ctx, "POST", readerPath(reader, "/account/debit"), d, &out)
}

// Proof returns the card's proof of its latest purchase.
func (c *Client) Proof(ctx context.Context, reader string, sequence uint16) (out terminal.CardProof, err error) {
	return out, c.do(ctx, "GET", readerPath(reader, fmt.Sprintf("/account/proof?sequence=%d", sequence)), nil, &out)
}

// Summary returns what a person wants to know of the own card.
func (c *Client) Summary(ctx context.Context, reader string) (out json.RawMessage, err error) {
	return out, c.do(ctx, "GET", readerPath(reader, "/summary"), nil, &out)
}

// Certificate returns public key and certificate.
func (c *Client) Certificate(ctx context.Context, reader string) (out terminal.Certificate, err error) {
	return out, c.do(ctx, "GET", readerPath(reader, "/certificate"), nil, &out)
}

// GenerateKey has the card make a new key pair.
func (c *Client) GenerateKey(ctx context.Context, reader string, pin []byte) (out terminal.Certificate, err error) {
	return out, c.do(ctx, "POST", readerPath(reader, "/certificate/key"), PINRequest{PIN: pin}, &out)
}

// Sign has the card sign a message.
func (c *Client) Sign(ctx context.Context, reader string, pin, message []byte) (out terminal.Signature, err error) {
	return out, c.do(ctx, "POST", readerPath(reader, "/certificate/sign"), SignRequest{PIN: pin, Message: message}, &out)
}

// PIN returns the state of the card's PIN.
func (c *Client) PIN(ctx context.Context, reader string) (p terminal.PIN, err error) {
	return p, c.do(ctx, "GET", "/v1/readers/"+url.PathEscape(reader)+"/pin", nil, &p)
}

// VerifyPIN verifies the PIN that the holder enters at the pad, or pin where
// the client talks to the socket.
func (c *Client) VerifyPIN(ctx context.Context, reader string, pin []byte) error {
	return c.do(ctx, "POST", "/v1/readers/"+url.PathEscape(reader)+"/pin/verify", PINRequest{PIN: pin}, nil)
}

// APDU sends raw commands.
func (c *Client) APDU(ctx context.Context, reader string, commands []string) ([]terminal.APDUExchange, error) {
	var x Exchanges
	err := c.do(ctx, "POST", "/v1/readers/"+url.PathEscape(reader)+"/apdu", Commands{commands}, &x)
	return x.Responses, err
}

// OpenVisit begins a visit.
func (c *Client) OpenVisit(ctx context.Context, v terminal.VisitRequest) (out terminal.Visit, err error) {
	return out, c.do(ctx, "POST", "/v1/visits", v, &out)
}

// Visit returns one visit.
func (c *Client) Visit(ctx context.Context, id string) (out terminal.Visit, err error) {
	return out, c.do(ctx, "GET", "/v1/visits/"+url.PathEscape(id), nil, &out)
}

// SetLines replaces the fee lines.
func (c *Client) SetLines(ctx context.Context, id string, lines terminal.LinesRequest) (out terminal.Visit, err error) {
	return out, c.do(ctx, "PUT", "/v1/visits/"+url.PathEscape(id)+"/lines", lines, &out)
}

// Trial asks for the split.
func (c *Client) Trial(ctx context.Context, id string) (out terminal.Visit, err error) {
	return out, c.do(ctx, "POST", "/v1/visits/"+url.PathEscape(id)+"/trial", Empty{}, &out)
}

// Settle settles for the agreed amounts.
func (c *Client) Settle(ctx context.Context, id string, agreed terminal.Agreed) (out terminal.Visit, err error) {
	return out, c.do(ctx, "POST", "/v1/visits/"+url.PathEscape(id)+"/settle", terminal.SettleRequest{Agreed: agreed}, &out)
}

// Abandon gives a visit up.
func (c *Client) Abandon(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", "/v1/visits/"+url.PathEscape(id), nil, nil)
}

// Call sends one transaction that books nothing.
func (c *Client) Call(ctx context.Context, infno string, req terminal.CallRequest) (out terminal.CallAnswer, err error) {
	return out, c.do(ctx, "POST", "/v1/call/"+url.PathEscape(infno), req, &out)
}

// Journal returns the journal of a day; empty is today, every outcome.
func (c *Client) Journal(ctx context.Context, day, outcome string, limit int) (out terminal.JournalDay, err error) {
	q := url.Values{}
	if day != "" {
		q.Set("day", day)
	}
	if outcome != "" {
		q.Set("outcome", outcome)
	}
	if limit > 0 {
		q.Set("limit", fmt.Sprint(limit))
	}
	return out, c.do(ctx, "GET", "/v1/journal?"+q.Encode(), nil, &out)
}

// Entry returns one entry of the journal, with what was asked about it.
func (c *Client) Entry(ctx context.Context, id int64) (out terminal.EntryView, err error) {
	return out, c.do(ctx, "GET", fmt.Sprintf("/v1/journal/%d", id), nil, &out)
}

// Doctor returns what the daemon finds wrong with its machine.
func (c *Client) Doctor(ctx context.Context) ([]terminal.Check, error) {
	var out Checks
	err := c.do(ctx, "GET", "/v1/doctor", nil, &out)
	return out.Checks, err
}

// Await follows the events until want is content with a state, which it returns.
// It ends with ctx or with the connection.
func (c *Client) Await(ctx context.Context, want func(terminal.State) bool) (terminal.State, error) {
	var none terminal.State
	header := http.Header{}
	if c.token != "" {
		header.Set("Authorization", "Bearer "+c.token)
	}
	conn, resp, err := websocket.Dial(ctx, c.base+"/v1/events", &websocket.DialOptions{HTTPClient: &http.Client{Transport: c.http.Transport}, HTTPHeader: header})
	if err != nil {
		if resp != nil && resp.StatusCode >= 400 {
			return none, fmt.Errorf("events: status %d: %w", resp.StatusCode, ErrDaemon)
		}
		return none, fmt.Errorf("events: %w: %w", ErrDaemon, err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxAnswer)
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return none, ctx.Err()
			}
			return none, fmt.Errorf("events: %w: %w", ErrDaemon, err)
		}
		var e Event
		if err := json.Unmarshal(text, &e); err != nil {
			return none, fmt.Errorf("events: %w: %w", ErrDaemon, err)
		}
		if want(e.State) {
			return e.State, nil
		}
	}
}
