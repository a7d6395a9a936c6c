package card

import (
	"context"
	"fmt"
	"io"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/reader"
)

// subject is what a key holder has to know of this card.
func (c *Card) subject() (keys.Subject, error) {
	s := keys.Subject{Algorithm: c.issuer.Algorithm, Area: c.issuer.Area, Version: c.keyVersion}
	if s.Area == "" {
		return s, &RecordError{File: FileID{rootDF, "EF05"}, Tag: "01", Number: 1, Problem: "no area to find the card's keys by"}
	}
	h, err := historical(c.conn.ATR())
	if err != nil {
		return s, err
	}
	s.Historical = h
	return s, nil
}

// An outcome is what came of an authentication.
type outcome struct {
	internal error // why the card is not authenticated
	external error // why the key is not
	broken   error // the Conn failed, or ctx ended
}

type computed struct {
	answer [8]byte
	err    error
}

// authenticate runs INTERNAL AUTHENTICATE and, with a key name, EXTERNAL
// AUTHENTICATE. The key holder works while the card does; between is run while
// it may still be working. Both calls of the key holder have returned when
// authenticate returns.
func (c *Card) authenticate(ctx context.Context, kh KeyHolder, key string, between func() error) outcome {
	var process, raw [8]byte
	subject, err := c.subject()
	if err == nil {
		err = c.randomize(process[:], raw[:])
	}
	if err != nil {
		// Not to be authenticated, but perhaps to be read.
		if between != nil {
			return outcome{internal: err, broken: between()}
		}
		return outcome{internal: err}
	}
	c.counterfeit = false
	khctx, cancel := context.WithCancel(ctx)
	internal := start(func() ([8]byte, error) { return kh.InternalAuth(khctx, subject, process, raw) })
	defer internal.wait()
	defer cancel()

	data := append(append([]byte(nil), process[:]...), raw[:]...)
	r, err := c.exchange(ctx, apdu.Command{INS: 0x88, Data: c.versioned(data), Le: 8})
	if err != nil {
		return outcome{broken: fmt.Errorf("internal authentication: %w", err)}
	}
	if !r.Status.OK() {
		out := outcome{internal: refused("INTERNAL AUTHENTICATE", r.Status)}
		if between != nil {
			out.broken = between()
		}
		return out
	}
	answer := r.Data

	var ext *pending
	var extRaw [8]byte
	var challengeErr error
	if key != "" {
		ext, challengeErr = c.beginExternal(ctx, khctx, kh, subject, key, &extRaw, between == nil && internal.done())
		if c.lost {
			return outcome{broken: challengeErr}
		}
		if ext != nil {
			defer ext.end()
			defer cancel() // deferred last, runs first
		}
	}
	if between != nil {
		if err := between(); err != nil {
			return outcome{broken: err}
		}
	}
	want := internal.wait()
	switch {
	case ctx.Err() != nil:
		return outcome{broken: ctx.Err()}
	case want.err != nil:
		return outcome{internal: fmt.Errorf("internal authentication: %w", want.err)}
	case !keys.Equal(answer, want.answer[:]):
		return outcome{internal: ErrNotGenuine}
	}
	if key == "" || challengeErr != nil {
		return outcome{external: challengeErr}
	}
	err = c.finishExternal(ctx, ext, key, extRaw)
	if c.lost {
		return outcome{broken: err}
	}
	return outcome{external: err}
}

// A pending computation of the key holder: under way, or put off until somebody
// waits for it.
type pending struct {
	ch     chan computed
	putOff func() ([8]byte, error)
	result computed
}

func start(f func() ([8]byte, error)) *pending {
	p := &pending{ch: make(chan computed, 1)}
	go func() {
		defer close(p.ch)
		answer, err := f()
		p.ch <- computed{answer, err}
	}()
	return p
}

// done reports whether the result is there.
func (p *pending) done() bool {
	select {
	case r, ok := <-p.ch:
		if ok {
			p.result = r
		}
		return true
	default:
		return false
	}
}

// end waits for what is under way and gives up what was put off.
func (p *pending) end() {
	if p.putOff = nil; p.ch != nil {
		p.wait()
	}
}

// wait returns the result; it may be called more than once.
func (p *pending) wait() computed {
	if p.ch == nil {
		if p.putOff != nil {
			p.result.answer, p.result.err = p.putOff()
			p.putOff = nil
		}
		return p.result
	}
	if r, ok := <-p.ch; ok {
		p.result = r
	}
	return p.result
}

// authenticateKey runs EXTERNAL AUTHENTICATE with a key of the selected
// directory. A key that failed or is blocked is never tried again.
func (c *Card) authenticateKey(ctx context.Context, kh KeyHolder, key string) error {
	if c.held[key] {
		return nil
	}
	subject, err := c.subject()
	if err != nil {
		return err
	}
	var raw [8]byte
	khctx, cancel := context.WithCancel(ctx)
	p, err := c.beginExternal(ctx, khctx, kh, subject, key, &raw, true)
	if err != nil {
		cancel()
		return err
	}
	defer p.end()
	defer cancel()
	return c.finishExternal(ctx, p, key, raw)
}

// beginExternal gets a challenge and has the key holder answer it: at once, or,
// where the caller has nothing to do meanwhile, when it waits.
func (c *Card) beginExternal(ctx, khctx context.Context, kh KeyHolder, s keys.Subject, key string, raw *[8]byte, idle bool) (*pending, error) {
	if err := c.failed[key]; err != nil {
		return nil, err
	}
	if c.counterfeit {
		return nil, ErrNotGenuine
	}
	if err := c.randomize(raw[:]); err != nil {
		return nil, err
	}
	r, err := c.exchange(ctx, apdu.Command{INS: 0x84, Le: 8})
	if err != nil {
		return nil, fmt.Errorf("get challenge: %w", err)
	}
	if !r.Status.OK() {
		return nil, refused("GET CHALLENGE", r.Status)
	}
	if len(r.Data) != 8 {
		return nil, fmt.Errorf("get challenge: %w: %d bytes", apdu.ErrGarbage, len(r.Data))
	}
	challenge := append([]byte(nil), r.Data...)
	mine := *raw
	compute := func() ([8]byte, error) { return kh.ExternalAuth(khctx, s, key, challenge, mine) }
	if idle {
		return &pending{putOff: compute}, nil
	}
	return start(compute), nil
}

// finishExternal hands the key holder's answer to the card.
func (c *Card) finishExternal(ctx context.Context, p *pending, key string, raw [8]byte) error {
	id, ok := c.keyTable.KeyID(key)
	if !ok {
		return fmt.Errorf("external authentication: %w %s", keys.ErrKeyUnknown, key)
	}
	auth := p.wait()
	if auth.err != nil {
		return fmt.Errorf("external authentication with %s: %w", key, auth.err)
	}
	data := append(append([]byte(nil), auth.answer[:]...), raw[:]...)
	r, err := c.exchange(ctx, apdu.Command{INS: 0x82, P2: id, Data: c.versioned(data)})
	if err != nil {
		return fmt.Errorf("external authentication with %s: %w", key, err)
	}
	if r.Status.OK() {
		c.held[key] = true
		return nil
	}
	switch tries, counted := r.Status.TriesLeft(); {
	case counted:
		c.failed[key] = &ExternalAuthError{Key: key, TriesLeft: tries}
	case r.Status == apdu.StatusAuthFailed:
		c.failed[key] = &ExternalAuthError{Key: key, TriesLeft: -1}
	case r.Status == apdu.StatusBlocked:
		c.failed[key] = fmt.Errorf("external authentication with %s: %w", key, ErrKeyBlocked)
	default:
		return refused("EXTERNAL AUTHENTICATE "+key, r.Status)
	}
	return c.failed[key]
}

// versioned appends the key version where one was chosen.
func (c *Card) versioned(data []byte) []byte {
	if c.keyVersion > 1 {
		return append(data, c.keyVersion)
	}
	return data
}

func (c *Card) randomize(bufs ...[]byte) error {
	for _, b := range bufs {
		if _, err := io.ReadFull(c.random, b); err != nil {
			return fmt.Errorf("random: %w", err)
		}
	}
	return nil
}

// errHistorical: without the serial in the historical bytes the card's keys
// cannot be derived.
var errHistorical = fmt.Errorf("%w: the answer to reset has no 13 historical bytes", apdu.ErrGarbage)

// historical returns the 13 historical bytes of an answer to reset (card
// specification, section 6).
func historical(atr []byte) (h [13]byte, err error) {
	a, err := reader.ParseATR(atr)
	if err != nil {
		return h, fmt.Errorf("the card's historical bytes: %w", err)
	}
	if len(a.Historical) != len(h) {
		return h, errHistorical
	}
	copy(h[:], a.Historical)
	return h, nil
}
