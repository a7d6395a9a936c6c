// Package card reads the social security card: opening it, who holds it,
// whether it is genuine, its PIN, and every file of its profile with the access
// conditions that the card enforces (card specification, sections 1 to 7).
//
// A [Card] stands on a [Conn] to one card in one reader and is used by one
// goroutine:
//
//	c, err := card.Open(ctx, session)
//	if err != nil {
//		return err // errors.Is(err, card.ErrNotSocialSecurityCard), ...
//	}
//	id, err := c.Identity(ctx, hsm) // a KeyHolder, or nil for none
//	if err != nil {
//		return err // the reader or the card broke down
//	}
//	if !id.Authenticated {
//		log.Print(id.AuthError) // why nobody may settle with this card
//	}
//	if err := c.VerifyPIN(ctx, pin); err != nil {
//		return err // *card.WrongPINError tells the tries left
//	}
//	pension, err := c.Pension(ctx, hsm)
//
// # What a card can do to its reader
//
// Nothing: every answer is bounded and checked, and what can be read is
// delivered. A record that breaks its format is marked with a [RecordError];
// the others of the file stand. An element that holds nothing is absent, never
// a zero.
//
// # Commands
//
// Every command counts at a counter, so a Card sends as few as the card
// permits: it reads a whole file in one answer where the card can (READ RECORD
// mode 5 with a short file identifier), remembers what a card's operating
// system refuses, and never selects what is selected. Identity of a 3.0 card
// takes six commands.
//
// # State
//
// The card keeps the PIN state until reset, a key's state until another
// directory is selected. A Card keeps account of both. After an error of the
// Conn it assumes the worst: the next command begins with selecting the
// application again and comparing the identification code, the PIN has to be
// verified again, and another card is refused with [ErrOtherCard].
package card

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/card/profile"
)

// A Conn carries commands to one card. reader.Session is one. Exchange follows
// 61xx and 6Cxx; its error is the reader's, never a status word, and means that
// the card may have lost its state.
type Conn interface {
	Exchange(ctx context.Context, c apdu.Command) (apdu.Response, error)
	// ATR returns the card's answer to reset, or what PC/SC makes of an ATS.
	ATR() []byte
}

// A KeyHolder keeps the root keys and computes with the keys of a card: a PSAM
// or an HSM. It must be safe for use by several goroutines and must obey ctx.
// Its errors should wrap a coded one (OC-14xx).
type KeyHolder interface {
	// InternalAuth computes what a genuine card answers to INTERNAL
	// AUTHENTICATE with the key IRK, process factor and raw data.
	InternalAuth(ctx context.Context, s keys.Subject, process, raw [8]byte) (answer [8]byte, err error)
	// ExternalAuth answers a card's challenge with the named key ("RKSSSE").
	ExternalAuth(ctx context.Context, s keys.Subject, key string, challenge []byte, raw [8]byte) (auth [8]byte, err error)
}

// A Card is an open social security card. One goroutine uses it.
type Card struct {
	conn       Conn
	profile    *profile.Profile
	keyTable   *keys.Table
	random     io.Reader
	keyVersion byte

	root          apdu.Command // the SELECT that found the application
	issuer        Issuer
	first         []byte // record 1 of EF05 (the identification code) as read
	authenticated bool
	counterfeit   bool // internal authentication gave another answer than the key holder's

	// The card's state as far as this Card has brought it about.
	lost       bool            // nothing is known; select again and compare
	df         string          // selected directory, "" unknown
	ef         string          // selected EF, only where short identifiers are refused
	pin        bool            // PIN verified
	initialPIN bool            // and it is the one of a new card
	held       map[string]bool // keys authenticated in df
	failed     map[string]error

	// What this card's operating system was found to refuse.
	noSFI     bool
	noMode5   map[profile.Structure]bool
	selectEF0 bool // EFs are selected with P1=00
}

// An Option changes how a card is opened.
type Option func(*Card)

// WithProfile replaces the reference profile by an issuer's.
func WithProfile(p *profile.Profile) Option { return func(c *Card) { c.profile = p } }

// WithKeyTable replaces the numbers that keys have on the card (P2 of EXTERNAL
// AUTHENTICATE) by an issuer's.
func WithKeyTable(t *keys.Table) Option { return func(c *Card) { c.keyTable = t } }

// WithRandom replaces crypto/rand as the source of process factors and raw
// data, for tests.
func WithRandom(r io.Reader) Option { return func(c *Card) { c.random = r } }

// WithKeyVersion chooses the version (2 or 3) of the card's keys. By default
// the version is 1 and not named in commands.
func WithKeyVersion(v byte) Option { return func(c *Card) { c.keyVersion = v } }

func newCard(conn Conn, opts []Option) *Card {
	c := &Card{conn: conn, profile: profile.Reference(), keyTable: keys.Reference(), random: rand.Reader,
		held: map[string]bool{}, failed: map[string]error{}, noMode5: map[profile.Structure]bool{}}
	for _, o := range opts {
		o(c)
	}
	return c
}

// Issuer returns what SSSE/EF05 says, as read by Open.
func (c *Card) Issuer() Issuer { return c.issuer }

// Authenticated reports whether internal authentication has shown, since Open,
// that the card is genuine.
func (c *Card) Authenticated() bool { return c.authenticated }

// PINVerified reports whether the PIN was verified and the state still holds.
func (c *Card) PINVerified() bool { return c.pin && !c.lost }

// Profile returns the profile by which the card is read.
func (c *Card) Profile() *profile.Profile { return c.profile }

// ForgetSelection is for a card that other programs may use between two
// transactions: what one of them has selected since is not known, and a short
// file identifier would then read a file of another directory without a word.
// The next operation selects anew. PIN and authentication stay: only a reset
// ends them, and that is an error of the Conn.
func (c *Card) ForgetSelection() {
	c.df, c.ef = "", ""
	clear(c.held)
}

// exchange sends one command. An error of the Conn means that all state on the
// card may be gone.
func (c *Card) exchange(ctx context.Context, cmd apdu.Command) (apdu.Response, error) {
	r, err := c.conn.Exchange(ctx, cmd)
	if err != nil {
		c.lost, c.df, c.ef, c.pin, c.authenticated = true, "", "", false, false
		clear(c.held)
		return apdu.Response{}, err
	}
	return r, nil
}

// enter makes df the selected directory. Key states do not survive leaving a
// directory (card specification, section 2), so they are dropped here.
func (c *Card) enter(ctx context.Context, df string) error {
	if c.lost {
		if err := c.resume(ctx); err != nil {
			return err
		}
	}
	if c.df == df {
		return nil
	}
	c.df, c.ef = "", ""
	clear(c.held)
	if df == rootDF {
		r, err := c.exchange(ctx, c.root)
		if err != nil {
			return fmt.Errorf("select %s: %w", df, err)
		}
		if !r.Status.OK() {
			return refused("SELECT "+df, r.Status)
		}
		c.df = df
		return nil
	}
	dir, ok := c.profile.Directory(df)
	if !ok {
		return fmt.Errorf("select %s: %w", df, ErrFileUnknown)
	}
	if len(dir.AID) > 0 {
		r, err := c.exchange(ctx, selectByName(dir.AID))
		if err != nil {
			return fmt.Errorf("select %s: %w", df, err)
		}
		switch {
		case r.Status.OK():
			c.df = df
			return nil
		case r.Status == apdu.StatusAppBlocked, r.Status == apdu.StatusInvalidated:
			return fmt.Errorf("select %s: %w", df, ErrBlocked)
		}
	}
	// By file identifier a directory is found only from the one above it.
	if err := c.enter(ctx, rootDF); err != nil {
		return err
	}
	r, err := c.exchange(ctx, selectByFID(dir.FID))
	switch {
	case err != nil:
		return fmt.Errorf("select %s: %w", df, err)
	case r.Status == apdu.StatusAppBlocked, r.Status == apdu.StatusInvalidated:
		return fmt.Errorf("select %s: %w", df, ErrBlocked)
	case !r.Status.OK():
		return fmt.Errorf("select %s: %w (%w)", df, ErrFileMissing, r.Status.Err())
	}
	c.df = df
	return nil
}

// resume selects the application again after the Conn failed, and makes sure
// that it is still the same card.
func (c *Card) resume(ctx context.Context) error {
	r, err := c.exchange(ctx, c.root)
	if err != nil {
		return fmt.Errorf("select the application again: %w", err)
	}
	if !r.Status.OK() {
		return fmt.Errorf("select the application again: %w (%w)", ErrOtherCard, r.Status.Err())
	}
	// Compared byte by byte with what Open read, before anything else.
	c.lost, c.df = false, rootDF
	f, _ := c.profile.File(rootDF, "EF05")
	records, err := c.readLinear(ctx, f, 1)
	if err != nil {
		c.lost, c.df = true, ""
		return fmt.Errorf("read the identification code again: %w", err)
	}
	if len(records) == 0 || string(records[0].bytes) != string(c.first) {
		c.lost, c.df = true, ""
		return ErrOtherCard
	}
	return nil
}

// refused makes the error of a status word.
func refused(command string, s apdu.Status) error {
	return &RefusedError{Command: command, Status: s}
}

// rootDF is the directory of issuer and holder.
const rootDF = "SSSE"

func selectByName(aid []byte) apdu.Command {
	return apdu.Command{INS: 0xA4, P1: 0x04, Data: aid, Le: apdu.MaxShortLe}
}

func selectByFID(fid [2]byte) apdu.Command {
	return apdu.Command{INS: 0xA4, Data: fid[:], Le: apdu.MaxShortLe}
}

// A FileID names a file of the profile.
type FileID struct{ DF, EF string } // "DF03", "EF07"

// ParseFileID reads "DF03EF07", "SSSEEF05" or, for SSSE, "3F00EF05", in any
// case. It checks the form only; whether the profile has the file, ReadFile
// says. The error wraps [ErrFileUnknown].
func ParseFileID(s string) (FileID, error) {
	u := strings.ToUpper(strings.TrimSpace(s))
	if len(u) != 8 || u[4:6] != "EF" {
		return FileID{}, fmt.Errorf("%w: a file is written like DF03EF07", ErrFileUnknown)
	}
	if _, err := hex.DecodeString(u[6:]); err != nil {
		return FileID{}, fmt.Errorf("%w: a file is written like DF03EF07", ErrFileUnknown)
	}
	df := u[:4]
	switch {
	case df == "3F00":
		df = rootDF
	case df == rootDF, strings.HasPrefix(df, "DF"):
	default:
		return FileID{}, fmt.Errorf("%w: a file is written like DF03EF07", ErrFileUnknown)
	}
	return FileID{df, u[4:]}, nil
}

// String returns "DF03EF07".
func (id FileID) String() string { return id.DF + id.EF }

// MarshalText returns what String does.
func (id FileID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what [ParseFileID] reads.
func (id *FileID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseFileID(string(b))
	return err
}
