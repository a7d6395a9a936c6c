package settlement

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"
)

// Config is how this institution reaches its insurance centre. What varies by
// region is here and never in code.
type Config struct {
	URL      string            // the one endpoint, http or https
	Paths    map[string]string // infno to path, in regions with one path per infno; others go to URL
	Variants map[string]string // infno to the region's number, such as "2203": "2203A"

	Regional Regional // what else differs

	Style        Style      // nil: none
	Catalogue    *Catalogue // nil: the national one
	Institution  Institution
	Operator     Operator
	RecerSysCode string      // "": MBS_LOCAL
	Infver       string      // "": V1.0
	DevNo        string      // optional
	Vendor       string      // fixmedins_soft_fcty, optional
	MsgIDs       MsgIDSource // nil: numbers without memory, for tools that book nothing

	TLS            *tls.Config                                                          // nil: the system's roots
	ConnectTimeout time.Duration                                                        // connection and TLS, 0: 10 s
	AnswerTimeout  time.Duration                                                        // from the connection to the last byte of the answer, 0: 60 s
	AnswerLimit    int64                                                                // bytes, 0: 8 MiB
	LateTimeout    time.Duration                                                        // how long a late answer is awaited beyond that, 0: as long again, at most 60 s; see Client.TakeLate
	Dial           func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer

	Now func() time.Time // nil: time.Now
}

// A Client calls transactions. It is safe for concurrent use. It sends every
// request at most once: no retry, no redirect, no proxy from the environment.
type Client struct {
	cfg       Config
	endpoint  *url.URL
	paths     map[string]*url.URL
	transport *http.Transport
	drains    drains
}

// idleConnections is how long a connection is kept for the next call of the
// same visit. A gateway closes idle connections after its own time, and a
// request that crosses with that closing has an unknown outcome; so ours is
// shorter than any gateway's.
const idleConnections = 2 * time.Second

// NewClient checks the configuration and returns a client. It connects to
// nothing.
func NewClient(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, paths: make(map[string]*url.URL)}
	var err error
	if c.endpoint, err = endpoint(cfg.URL); err != nil {
		return nil, err
	}
	for infno, path := range cfg.Paths {
		ref, err := url.Parse(path)
		if err != nil || ref.Host != "" || ref.Scheme != "" {
			return nil, fmt.Errorf("upstream path of %s: not a path", printable(infno))
		}
		c.paths[infno] = c.endpoint.ResolveReference(ref)
	}
	set := func(s *string, to string) {
		if *s == "" {
			*s = to
		}
	}
	set(&c.cfg.RecerSysCode, "MBS_LOCAL")
	set(&c.cfg.Infver, "V1.0")
	set(&c.cfg.Operator.Type, "1")
	if c.cfg.Now == nil {
		c.cfg.Now = time.Now
	}
	if c.cfg.Style == nil {
		c.cfg.Style = unsigned{}
	}
	if c.cfg.Catalogue == nil {
		if c.cfg.Catalogue, err = NewCatalogue(); err != nil {
			return nil, err
		}
	}
	if err := cfg.Regional.Check(c.cfg.Catalogue); err != nil {
		return nil, fmt.Errorf("region: %w", err)
	}
	if c.cfg.MsgIDs == nil {
		if c.cfg.MsgIDs, err = NewMsgIDs(cfg.Institution.Code, nil, c.cfg.Now, 0, 0); err != nil {
			return nil, err
		}
	}
	if c.cfg.ConnectTimeout <= 0 {
		c.cfg.ConnectTimeout = 10 * time.Second
	}
	if c.cfg.AnswerTimeout <= 0 {
		c.cfg.AnswerTimeout = 60 * time.Second
	}
	if c.cfg.LateTimeout <= 0 {
		c.cfg.LateTimeout = min(c.cfg.AnswerTimeout, time.Minute)
	}
	if c.cfg.AnswerLimit <= 0 {
		c.cfg.AnswerLimit = 8 << 20
	}
	dial := c.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: c.cfg.ConnectTimeout}).DialContext
	}
	var http1 http.Protocols
	http1.SetHTTP1(true)
	c.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
			defer cancel()
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &watchedConn{Conn: conn}, nil
		},
		TLSClientConfig:        c.cfg.TLS.Clone(),
		TLSHandshakeTimeout:    c.cfg.ConnectTimeout,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        idleConnections,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		// HTTP/2 has repetitions of its own (GOAWAY, REFUSED_STREAM).
		Protocols: &http1,
	}
	return c, nil
}

func endpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// The error would quote the URL, which may hold credentials.
		return nil, errors.New("upstream url: malformed")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("upstream url: must begin with http:// or https:// and name a host")
	case u.User != nil:
		return nil, errors.New("upstream url: must not hold credentials")
	}
	return u, nil
}

// Close gives up idle connections, and the answers that are awaited beyond their
// time-out. Calls in flight are not disturbed.
func (c *Client) Close() {
	c.drains.close()
	c.transport.CloseIdleConnections()
}

// Catalogue returns the catalogue that requests are checked against.
func (c *Client) Catalogue() *Catalogue { return c.cfg.Catalogue }

// Prepare draws a message number where the request has none, builds the
// envelope and validates it and the input. Its errors mean that nothing was
// sent.
func (c *Client) Prepare(ctx context.Context, r Request) (*Prepared, error) {
	infno := r.Infno
	if v := c.cfg.Variants[infno]; v != "" {
		infno = v
	}
	if r.MsgID == "" {
		var err error
		if r.MsgID, err = c.cfg.MsgIDs.Next(ctx); err != nil {
			return nil, &unsentError{fmt.Errorf("prepare %s: %w", infno, err)}
		}
	}
	e := Envelope{
		Infno: infno, Msgid: r.MsgID,
		MdtrtareaAdmvs: c.cfg.Institution.Area, InsuplcAdmdvs: r.InsuplcAdmdvs,
		RecerSysCode: c.cfg.RecerSysCode, DevNo: c.cfg.DevNo, Infver: c.cfg.Infver,
		OpterType: c.cfg.Operator.Type, Opter: c.cfg.Operator.No, OpterName: c.cfg.Operator.Name,
		InfTime:       FormatTime(c.cfg.Now()),
		FixmedinsCode: c.cfg.Institution.Code, FixmedinsName: c.cfg.Institution.Name, SoftFactory: c.cfg.Vendor,
		SignNo: r.SignNo,
	}
	input := r.Input
	if s, ok := input.(serialInput); ok {
		if c.cfg.Regional.SerialText {
			input = s.serialAsText()
		} else if err := checkSerials(infno, s); err != nil {
			return nil, &unsentError{fmt.Errorf("prepare %s: %w", infno, err)}
		}
	}
	if a, ok := input.(areaInput); ok {
		input = a.withAreas(e.InsuplcAdmdvs, e.MdtrtareaAdmvs)
	}
	body, err := e.seal(c.cfg.Catalogue, input)
	if err == nil {
		body, err = c.cfg.Regional.request(infno, body)
	}
	if err != nil {
		return nil, &unsentError{fmt.Errorf("prepare %s: %w", infno, err)}
	}
	return &Prepared{Infno: infno, MsgID: r.MsgID, Body: body}, nil
}

// unsentError marks failures before anything was sent.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error  { return e.error }
func (*unsentError) Outcome() Outcome { return NotSent }

// Call is Prepare and Do, for transactions that need no journal.
func (c *Client) Call(ctx context.Context, r Request) (Answer, error) {
	p, err := c.Prepare(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	return c.Do(ctx, p)
}

// Do sends a prepared request once and returns upstream's answer. Errors wrap:
//
//   - ErrUnreachable: not one byte of the request left this machine;
//   - ErrAnswerLost: bytes may have left and no complete answer came;
//   - ErrMalformed, ErrTooLarge: an answer that cannot be used;
//   - *HTTPError, ErrCredentials: the gateway's refusal or failure;
//   - *RefusedError: upstream's refusal.
//
// [OutcomeOf] tells what each means.
func (c *Client) Do(ctx context.Context, p *Prepared) (Answer, error) {
	m := &Message{Infno: p.Infno, Header: make(http.Header), Body: p.Body, Now: c.cfg.Now(), late: c.lateFor(p)}
	if err := c.cfg.Style.Sign(m); err != nil {
		return Answer{}, &unsentError{fmt.Errorf("%s: sign: %w", p.Infno, err)}
	}
	r, err := c.exchange(ctx, m)
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", p.Infno, err)
	}
	return c.read(p.Infno, r)
}

// read opens and decodes a complete HTTP answer.
func (c *Client) read(infno string, r reply) (Answer, error) {
	body := r.body
	if o, ok := c.cfg.Style.(Opener); ok {
		var err error
		if body, err = o.Open(infno, body); err != nil {
			return Answer{}, fmt.Errorf("%s: open answer: %v: %w", infno, err, ErrMalformed)
		}
	}
	a, err := decodeAnswer(infno, r.status, body)
	a.Date, a.Output = r.date, c.cfg.Regional.output(infno, a.Output)
	return a, err
}

// A reply is a complete HTTP answer.
type reply struct {
	status int
	date   time.Time
	body   []byte
}

var errAnswerTimeout = errors.New("no answer in time")

// exchange posts a message and reads the whole answer. Where a kept connection
// turns out to be closed before one byte was handed to it, it takes another,
// once: nothing is sent twice by that.
func (c *Client) exchange(ctx context.Context, m *Message) (r reply, err error) {
	for first := true; ; first = false {
		var stale bool
		r, stale, err = c.post(ctx, m)
		if !stale || !first || ctx.Err() != nil {
			return r, err
		}
	}
}

// post sends a message on one connection. stale says that the connection was a
// kept one and that nothing was sent on it.
func (c *Client) post(ctx context.Context, m *Message) (r reply, stale bool, err error) {
	if m.late != nil {
		return c.postAwaiting(ctx, m)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(math.MaxInt64, func() { cancel(errAnswerTimeout) })
	defer timer.Stop()
	return c.roundTrip(ctx, m, new(sightings), timer)
}

// roundTrip sends a message and reads the whole answer. timer is set to the
// answer's time-out once there is a connection.
func (c *Client) roundTrip(ctx context.Context, m *Message, line *sightings, timer *time.Timer) (r reply, stale bool, err error) {
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		line.add(info.Conn, info.Reused)
		timer.Reset(c.cfg.AnswerTimeout)
	}}
	u := c.endpoint
	if path := c.paths[m.Infno]; path != nil {
		u = path
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, u.String(), nil)
	if err != nil {
		return reply{}, false, &unsentError{fmt.Errorf("request: %w", err)}
	}
	req.Header = m.Header
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("Accept", "application/json")
	// A body without GetBody is what keeps net/http from sending it again on
	// another connection when a kept one turns out to be closed.
	req.Body = &onceBody{rest: m.Body}
	req.ContentLength = int64(len(m.Body))

	// The transport itself, without http.Client: no redirect is followed.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if line.unused() {
			return reply{}, line.kept, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return reply{}, false, fmt.Errorf("%w: %w", ErrAnswerLost, err)
	}
	defer resp.Body.Close()
	if resp.ContentLength > c.cfg.AnswerLimit {
		return reply{}, false, tooLarge(resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.AnswerLimit+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return reply{}, false, fmt.Errorf("%w: %w", ErrAnswerLost, context.Cause(ctx))
	case err != nil:
		return reply{}, false, fmt.Errorf("%w: %w", ErrAnswerLost, err)
	case int64(len(body)) > c.cfg.AnswerLimit:
		return reply{}, false, tooLarge(resp.StatusCode)
	}
	// Some gateways send no date, or none that can be read: then it is zero.
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		date = time.Time{}
	}
	return reply{resp.StatusCode, date, body}, false, nil
}

func tooLarge(status int) error {
	return fmt.Errorf("%w (HTTP status %d)", ErrTooLarge, status)
}
