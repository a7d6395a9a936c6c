package card

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/card/profile"
)

// An Identity is who holds the card and whether the card is genuine.
type Identity struct {
	Issuer Issuer
	Holder Holder

	// HolderError says why Holder is empty or not complete, nil when it is
	// complete. On a 3.0 card the holder needs a key holder.
	HolderError error
	// Problems are the malformed records of the holder, *RecordError; those of
	// the issuer are in Issuer.
	Problems []error

	// Authenticated: the card has passed internal authentication. Only then
	// may anything be settled with it.
	Authenticated bool
	// AuthError says why not: ErrNoKeyHolder, the key holder's error, or
	// ErrNotGenuine.
	AuthError error
}

// A Holder is SSSE/EF06. What the card does not say is empty.
type Holder struct {
	SocialSecurityNumber string        `json:"social_security_number,omitempty"` // tag 08, 18 characters
	Name                 string        `json:"name,omitempty"`                   // tags 09 and 4E joined
	Sex                  string        `json:"sex,omitempty"`                    // tag 0A: 1, 2, 9
	SexText              profile.Words `json:"sex_text,omitzero"`
	EthnicGroup          string        `json:"ethnic_group,omitempty"` // tag 0B: two digits of GB 3304
	EthnicGroupText      profile.Words `json:"ethnic_group_text,omitzero"`
	BirthPlace           string        `json:"birth_place,omitempty"` // tag 0C: GB/T 2260
	BirthPlaceText       profile.Words `json:"birth_place_text,omitzero"`
	BirthDate            Date          `json:"birth_date,omitzero"` // tag 0D
}

// MarshalJSON returns the members card, holder (left out where it could not be
// read), holder_error, problems, authenticated and auth_error.
func (id Identity) MarshalJSON() ([]byte, error) {
	var holder *Holder
	if id.Holder != (Holder{}) {
		holder = &id.Holder
	}
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	return json.Marshal(struct {
		Card          Issuer  `json:"card"`
		Holder        *Holder `json:"holder,omitempty"`
		HolderError   string  `json:"holder_error,omitempty"`
		Problems      []error `json:"problems,omitempty"`
		Authenticated bool    `json:"authenticated"`
		AuthError     string  `json:"auth_error,omitempty"`
	}{id.Issuer, holder, text(id.HolderError), id.Problems, id.Authenticated, text(id.AuthError)})
}

// keyRKSSSE reads the holder of a 3.0 card.
const keyRKSSSE = "RKSSSE"

// Identity authenticates the card and reads its holder, after Open in the
// fewest commands: on a 3.0 card INTERNAL AUTHENTICATE, GET CHALLENGE, EXTERNAL
// AUTHENTICATE, READ EF06; before 3.0 INTERNAL AUTHENTICATE, READ EF06. The key
// holder computes while the card does. A card that fails internal
// authentication gets no EXTERNAL AUTHENTICATE, which could use up a try.
//
// The error is the Conn's or ctx's only; all else is in the Identity. Without a
// key holder (kh nil, or not reachable) a card before 3.0 is read and marked as
// not authenticated; of a 3.0 card there is the issuer's part only.
func (c *Card) Identity(ctx context.Context, kh KeyHolder) (Identity, error) {
	id := Identity{Issuer: c.issuer, AuthError: ErrNoKeyHolder}
	fail := func(err error) (Identity, error) { return id, fmt.Errorf("identity: %w", err) }
	if err := c.enter(ctx, rootDF); err != nil {
		return fail(err)
	}
	f, ok := c.profile.File(rootDF, "EF06")
	if !ok {
		return fail(ErrFileUnknown)
	}
	free := f.ReadAccess(c.issuer.Specification).Met(c.pin, func(key string) bool { return c.held[key] })
	read := func() error {
		raws, err := c.readLinear(ctx, f, 0)
		if c.lost {
			return err
		}
		id.Holder, id.Problems = c.holder(f, raws)
		id.HolderError = err
		return nil
	}
	if kh == nil {
		if !free {
			id.HolderError = ErrNoKeyHolder
		} else if err := read(); err != nil {
			return fail(err)
		}
		return id, nil
	}
	between, key := read, ""
	if !free {
		between, key = nil, keyRKSSSE
	}
	a := c.authenticate(ctx, kh, key, between)
	if a.broken != nil {
		return fail(a.broken)
	}
	id.AuthError = a.internal
	id.Authenticated = a.internal == nil
	c.authenticated = id.Authenticated
	c.counterfeit = errors.Is(a.internal, ErrNotGenuine)
	switch {
	case free && (!id.Authenticated || !isSecurity(id.HolderError)):
		return id, nil
	case free:
		// A card before 3.0 that guards its holder as a 3.0 one does.
		a.external = c.authenticateKey(ctx, kh, keyRKSSSE)
		if c.lost {
			return fail(a.external)
		}
	case !id.Authenticated:
		id.HolderError = fmt.Errorf("the holder was not read: %w", a.internal)
		return id, nil
	}
	if a.external != nil {
		id.HolderError = a.external
		return id, nil
	}
	if err := read(); err != nil {
		return fail(err)
	}
	return id, nil
}

func isSecurity(err error) bool {
	var answer *RefusedError
	return errors.As(err, &answer) && answer.Status == apdu.StatusSecurity
}

// holder decodes the records of EF06.
func (c *Card) holder(f profile.File, raws []rawRecord) (Holder, []error) {
	file := decodeFile(c.profile, f, c.issuer.Specification, raws)
	var h Holder
	for _, r := range file.Records {
		text := r.Value.String()
		switch r.Tag {
		case "08":
			h.SocialSecurityNumber = text
		case "09":
			h.Name = text
		case "0A":
			h.Sex, h.SexText = text, r.Text
		case "0B":
			h.EthnicGroup, h.EthnicGroupText = text, r.Text
		case "0C":
			h.BirthPlace, h.BirthPlaceText = text, r.Text
		case "0D":
			h.BirthDate = r.Value.Date()
		}
	}
	return h, file.Problems()
}

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
		ext, challengeErr = c.beginExternal(ctx, khctx, kh, subject, key, &extRaw)
		if c.lost {
			return outcome{broken: challengeErr}
		}
		if ext != nil {
			defer ext.wait()
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

// A pending computation of the key holder.
type pending struct {
	ch     chan computed
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

// wait returns the result; it may be called more than once.
func (p *pending) wait() computed {
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
	p, err := c.beginExternal(ctx, khctx, kh, subject, key, &raw)
	if err != nil {
		cancel()
		return err
	}
	defer p.wait()
	defer cancel()
	return c.finishExternal(ctx, p, key, raw)
}

// beginExternal gets a challenge and has the key holder answer it.
func (c *Card) beginExternal(ctx, khctx context.Context, kh KeyHolder, s keys.Subject, key string, raw *[8]byte) (*pending, error) {
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
	return start(func() ([8]byte, error) { return kh.ExternalAuth(khctx, s, key, challenge, mine) }), nil
}

// finishExternal hands the key holder's answer to the card.
func (c *Card) finishExternal(ctx context.Context, p *pending, key string, raw [8]byte) error {
	id, ok := keys.KeyID(key)
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

// historical returns the 13 historical bytes of an answer to reset (ISO 7816-3,
// 8.2; card specification, section 6).
func historical(atr []byte) (h [13]byte, err error) {
	if len(atr) < 2 || atr[1]&0x0F != byte(len(h)) {
		return h, errHistorical
	}
	// The high half of T0 and of every TDi says which of TA, TB, TC, TD follow.
	at, y := 2, atr[1]>>4
	for {
		for bit := byte(1); bit < 8; bit <<= 1 {
			if y&bit != 0 {
				at++
			}
		}
		if y&8 == 0 {
			break
		}
		if at >= len(atr) {
			return h, errHistorical
		}
		y = atr[at] >> 4
		at++
	}
	if len(atr)-at < len(h) {
		return h, errHistorical
	}
	copy(h[:], atr[at:])
	return h, nil
}
