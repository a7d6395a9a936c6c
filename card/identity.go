package card

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"onecard/apdu"
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
