package terminal

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"onecard/apdu"
	"onecard/card"
	"onecard/card/profile"
	"onecard/fault"
	"onecard/reader/pinpad"
)

// Bounds of raw commands.
const maxRawCommands = 64

// maskedCard is what the state shows of a card.
func maskedCard(id card.Identity) Card {
	i := id.Issuer
	c := Card{
		Version: i.Version, Algorithm: i.Algorithm.String(), Area: i.Area,
		Number: MaskNumber(i.Number, 2), Issued: i.Issued.String(), Expires: i.Expires.String(),
		Authenticated: id.Authenticated, AuthFault: Explain(id.AuthError),
	}
	if h := id.Holder; h.SocialSecurityNumber != "" || h.Name != "" {
		c.Holder = &Holder{
			Name: MaskName(h.Name), Number: MaskNumber(h.SocialSecurityNumber, 4),
			Sex: Coded{h.Sex, h.SexText.ZH, h.SexText.EN}, BirthDate: MaskDate(h.BirthDate.String()),
		}
	}
	if c.AuthFault == nil {
		c.AuthFault = Explain(id.HolderError)
	}
	return c
}

// words is nil where a code has no words.
func words(w profile.Words) *Text {
	if w.ZH == "" && w.EN == "" {
		return nil
	}
	return &Text{w.ZH, w.EN}
}

// Identity returns card and holder in clear. Every call is written to the audit
// log, without what it showed.
func (s *Service) Identity(ctx context.Context, id string) (IdentityDocument, error) {
	d, err := s.desk(id)
	if err != nil {
		return IdentityDocument{}, err
	}
	var doc IdentityDocument
	err = d.ask(ctx, 0, func(_ context.Context, h *held) error {
		doc = identityDocument(h.identity)
		return nil
	})
	if err != nil {
		return IdentityDocument{}, err
	}
	if view, _ := d.published(); view.Card != nil {
		doc.Commands = view.Card.Commands
	}
	s.audit("identity shown", d)
	return doc, nil
}

func identityDocument(id card.Identity) IdentityDocument {
	i, h := id.Issuer, id.Holder
	doc := IdentityDocument{
		Card: IdentityCard{
			IdentificationCode: i.IdentificationCode, Version: i.Version, Algorithm: i.Algorithm.String(),
			Number: i.Number, Issued: i.Issued.String(), Expires: i.Expires.String(), Area: i.Area,
		},
		Authenticated: id.Authenticated, AuthFault: Explain(id.AuthError), HolderFault: Explain(id.HolderError),
	}
	if h != (card.Holder{}) {
		doc.Holder = &IdentityHolder{
			SocialSecurityNumber: h.SocialSecurityNumber, Name: h.Name,
			Sex: h.Sex, SexText: words(h.SexText),
			EthnicGroup: h.EthnicGroup, EthnicGroupText: words(h.EthnicGroupText),
			BirthDate: h.BirthDate.String(),
		}
	}
	return doc
}

// audit notes that somebody saw personal data: what kind, never which.
func (s *Service) audit(what string, d *desk) {
	s.parts.Log.WithFields(map[string]any{"audit": what, "reader": d.id, "operator": s.cfg.Operator.No}).Info("audit")
}

// File reads and decodes one file. A file that the holder's PIN opens is read
// with it alone, although the key holder could open it, too: records are the
// holder's to show. Keys serve the files that no PIN opens.
func (s *Service) File(ctx context.Context, id, name string) (FileDocument, error) {
	file, err := card.ParseFileID(name)
	if err != nil {
		return FileDocument{}, err
	}
	d, err := s.desk(id)
	if err != nil {
		return FileDocument{}, err
	}
	var read card.File
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) error {
		f, known := h.card.Profile().File(file.DF, file.EF)
		if !known {
			return fmt.Errorf("read %s: %w", file, card.ErrFileUnknown)
		}
		if !h.card.PINVerified() && opensWithPIN(f.ReadAccess(h.identity.Issuer.Specification)) {
			return fmt.Errorf("read %s: %w", file, card.ErrPINRequired)
		}
		var err error
		read, err = h.card.ReadFile(ctx, file, s.keys())
		return err
	})
	if err != nil {
		return FileDocument{}, err
	}
	s.audit("file shown "+file.String(), d)
	return fileDocument(read), nil
}

// Files reads every file of the profile: what can be read is delivered, what
// cannot says why.
func (s *Service) Files(ctx context.Context, id string) ([]FileDocument, error) {
	d, err := s.desk(id)
	if err != nil {
		return nil, err
	}
	view, _ := d.published()
	if view.Card == nil {
		return nil, d.absent()
	}
	var files []profile.File
	if err := d.ask(ctx, view.Card.Insertion, func(_ context.Context, h *held) error {
		files = h.card.Profile().Files()
		return nil
	}); err != nil {
		return nil, err
	}
	docs := make([]FileDocument, 0, len(files))
	for _, f := range files {
		doc, err := s.File(ctx, d.id, f.ID())
		if err != nil {
			if view, _ := d.published(); view.Card == nil {
				return nil, err // the card is gone: nothing further can be read
			}
			doc = FileDocument{ID: f.ID(), Name: Text{f.NameZH, f.NameEN}, Records: []RecordDocument{}, Fault: Explain(err)}
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

func opensWithPIN(access profile.Access) bool {
	for _, alternative := range access {
		if alternative.PIN {
			return true
		}
	}
	return false
}

func fileDocument(f card.File) FileDocument {
	doc := FileDocument{ID: f.ID.String(), Name: Text{f.NameZH, f.NameEN}, Records: recordDocuments(f.Records)}
	if f.Data != nil {
		doc.Data = strings.ToUpper(hex.EncodeToString(f.Data))
	}
	return doc
}

func recordDocuments(records []card.Record) []RecordDocument {
	docs := make([]RecordDocument, 0, len(records))
	for _, r := range records {
		doc := RecordDocument{
			Tag: r.Tag, Name: Text{r.NameZH, r.NameEN}, Value: r.Value.String(), Text: words(r.Text),
			Unset: r.Unset, Fault: Explain(r.Malformed),
		}
		for _, p := range r.Parts {
			doc.Members = append(doc.Members, RecordDocument{Name: Text{p.NameZH, p.NameEN}, Value: p.Code, Text: words(p.Text)})
		}
		if len(r.Members) > 0 {
			doc.Members = append(doc.Members, recordDocuments(r.Members)...)
		}
		docs = append(docs, doc)
	}
	return docs
}

// PINState asks the card for the tries left, without using one.
func (s *Service) PINState(ctx context.Context, id string) (PIN, error) {
	d, err := s.desk(id)
	if err != nil {
		return PIN{}, err
	}
	var pin PIN
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) error {
		n, err := h.card.TriesLeft(ctx)
		if err != nil {
			return err
		}
		pin = PIN{Verified: h.pin, Phase: PINIdle, Initial: h.pin && h.card.PINIsInitial()}
		if n >= 0 {
			pin.TriesLeft = &n
		}
		return nil
	})
	if err != nil {
		return PIN{}, err
	}
	d.publish(func(v *Reader) {
		if v.Card != nil && pin.TriesLeft != nil {
			v.Card.PIN.TriesLeft = pin.TriesLeft
		}
	})
	return pin, nil
}

// VerifyPIN presents the holder's PIN to the card, once. digits is the PIN where
// the caller has it (it is wiped), nil to ask for it at the PIN pad.
func (s *Service) VerifyPIN(ctx context.Context, id string, digits []byte) error {
	d, err := s.desk(id)
	if err != nil {
		return err
	}
	view, _ := d.published()
	if view.Card == nil {
		return d.absent()
	}
	insertion := view.Card.Insertion
	pad, onCard := s.parts.Pad.(pinpad.OnCard)
	onCard = onCard && digits == nil
	pin := card.PIN(digits)
	verify := func(ctx context.Context, h *held) error { return h.card.VerifyPIN(ctx, pin) }
	if onCard {
		verify = func(ctx context.Context, h *held) error {
			defer d.waiting()()
			return h.card.VerifyPINAtPad(ctx, s.padDigits(), s.atPad(h, pad.Verify))
		}
	} else if digits == nil {
		if pin, err = s.enterPIN(ctx, d, pinpad.Enter); err != nil {
			return err
		}
	}
	defer pin.Wipe()
	var left *int
	var initial bool
	err = d.ask(ctx, insertion, func(ctx context.Context, h *held) error {
		err := verify(ctx, h)
		h.pin = h.card.PINVerified()
		initial = err == nil && h.card.PINIsInitial()
		if n, known := triesLeft(err); known {
			left = &n
		}
		return err
	})
	d.publish(func(v *Reader) {
		if v.Card == nil || v.Card.Insertion != insertion {
			return
		}
		v.Card.PIN.Initial = err == nil && initial
		switch {
		case err == nil:
			v.Card.PIN.Verified, v.Card.PIN.TriesLeft = true, nil
		case left != nil:
			v.Card.PIN.Verified, v.Card.PIN.TriesLeft = false, left
		case fault.Of(err).Code == fault.PINBlocked:
			none := 0
			v.Card.PIN.Verified, v.Card.PIN.TriesLeft = false, &none
		}
	})
	return err
}

// waiting shows that the holder is asked for the PIN, until what it returns is
// called.
func (d *desk) waiting() (done func()) {
	phase := func(p string) {
		d.publish(func(v *Reader) {
			if v.Card != nil {
				v.Card.PIN.Phase = p
			}
		})
	}
	phase(PINWaiting)
	return func() { phase(PINIdle) }
}

// padDigits is how many digits a PIN has that is entered at a reader's own pad.
func (s *Service) padDigits() int {
	if n := s.cfg.PINPad.Digits; n != 0 {
		return n
	}
	return card.PadDefault
}

// atPad lets a pad on the card's own session present a PIN.
func (s *Service) atPad(h *held, present func(context.Context, pinpad.Controller, pinpad.Template) (apdu.Response, error)) card.Presenter {
	return func(ctx context.Context, template apdu.Command) (apdu.Response, error) {
		return present(ctx, h.session, pinpad.Template{Command: template, Digits: s.padDigits(), Old: card.PadOld, New: card.PadNew(s.padDigits())})
	}
}

// enterPIN asks at the pad and shows meanwhile that it does.
func (s *Service) enterPIN(ctx context.Context, d *desk, prompt pinpad.Prompt) (card.PIN, error) {
	defer d.waiting()()
	ctx, cancel := context.WithTimeout(ctx, pinpad.EntryTime)
	defer cancel()
	digits, err := s.parts.Pad.Enter(ctx, prompt)
	if err != nil {
		return nil, fmt.Errorf("PIN pad: %w", err)
	}
	return card.PIN(digits), nil
}

// pinInstructions are the commands whose data hold a PIN: VERIFY (also with a
// format, 21), CHANGE PIN of this card and of ISO 7816-4, unblock and reload, and
// RESET RETRY COUNTER, which in class B0 is a debit.
var pinInstructions = map[byte]bool{0x20: true, 0x21: true, 0x24: true, 0x25: true, 0x2C: true, 0x5E: true}

// carriesPIN reports whether a command's data hold a PIN.
func carriesPIN(c apdu.Command) bool {
	return pinInstructions[c.INS] && len(c.Data) > 0 && !(c.INS == 0x2C && c.CLA == 0xB0)
}

// parseCommand reads a command in hexadecimal; blanks between digits are
// skipped.
func parseCommand(text string) (apdu.Command, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		return apdu.Command{}, err
	}
	return apdu.ParseCommand(raw)
}

// CarriesPIN reports whether one of the commands would carry a PIN. What is no
// command is sent to no card, so it carries none.
func CarriesPIN(commands []string) bool {
	for _, text := range commands {
		c, err := parseCommand(text)
		if err == nil && carriesPIN(c) {
			return true
		}
	}
	return false
}

// APDU sends raw commands, at most 64, in one transaction, and returns their
// answers up to the first that the reader did not carry. Selections and PIN of
// the open card may have changed by them, so it is read anew afterwards.
func (s *Service) APDU(ctx context.Context, id string, commands []string) ([]APDUExchange, error) {
	if len(commands) == 0 || len(commands) > maxRawCommands {
		return nil, detailed{ErrBody, fmt.Sprintf("1 to %d commands", maxRawCommands)}
	}
	parsed := make([]apdu.Command, len(commands))
	for i, text := range commands {
		var err error
		if parsed[i], err = parseCommand(text); err != nil {
			return nil, detailed{ErrBody, fmt.Sprintf("command %d is not a command APDU in hexadecimal", i+1)}
		}
	}
	d, err := s.desk(id)
	if err != nil {
		return nil, err
	}
	exchanges := []APDUExchange{}
	err = d.raw(ctx, func(ctx context.Context, x exchanger) error {
		for i, c := range parsed {
			r, err := x.Exchange(ctx, c)
			if err != nil {
				return err
			}
			shown := strings.ToUpper(commands[i])
			if carriesPIN(c) {
				shown = fmt.Sprintf("%02X%02X%02X%02X **", c.CLA, c.INS, c.P1, c.P2)
			}
			exchanges = append(exchanges, APDUExchange{
				Command: shown, Response: strings.ToUpper(hex.EncodeToString(r.Bytes())),
				Status: fmt.Sprintf("%04X", uint16(r.Status)), Text: r.Status.String(),
			})
		}
		return nil
	})
	s.audit("raw commands", d)
	return exchanges, err
}
