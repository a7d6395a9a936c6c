package card

import (
	"context"
	"encoding/json"
	"errors"

	"onecard/card/profile"
	"onecard/fault"
)

// A Summary is what a person at a kiosk wants to know of his own card. What
// could not be read is nil or empty and stands in Missing with the reason; what
// the card's version need not have is left out without a word.
type Summary struct {
	Identity Identity `json:"identity"`

	Household    *Household              `json:"household,omitempty"`
	Residence    *Residence              `json:"residence,omitempty"`
	Status       *Coded                  `json:"status,omitempty"`
	Employer     *Employer               `json:"employer,omitempty"`
	Registration *EmploymentRegistration `json:"registration,omitempty"`
	Jobs         []Job                   `json:"jobs,omitempty"`

	Unemployment *Unemployment `json:"unemployment,omitempty"`
	Pension      *Pension      `json:"pension,omitempty"`
	RuralPension *Pension      `json:"rural_pension,omitempty"` // 1.0 cards
	WorkInjury   *WorkInjury   `json:"work_injury,omitempty"`
	Maternity    *Maternity    `json:"maternity,omitempty"`
	Dependant    *Dependant    `json:"dependant,omitempty"`
	Vouchers     []Voucher     `json:"vouchers,omitempty"`

	Medical      *MedicalInsurance    `json:"medical,omitempty"`
	Balance      *Balance             `json:"balance,omitempty"`
	Offline      *OfflineSettlement   `json:"offline,omitempty"`
	Transactions []MedicalTransaction `json:"transactions,omitempty"` // newest first
	Special      []SpecialSettlement  `json:"special,omitempty"`

	Missing []Missing `json:"missing,omitempty"`
}

// A Missing is a part of the summary that could not be read, and why.
type Missing struct {
	File   FileID `json:"file"` // DF04EF08 stands for the medical account, too
	NameZH string `json:"name_zh"`
	NameEN string `json:"name_en"`
	Reason error  `json:"-"`
}

// MarshalJSON returns file, name_zh, name_en, code and reason.
func (m Missing) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		File   FileID     `json:"file"`
		NameZH string     `json:"name_zh"`
		NameEN string     `json:"name_en"`
		Code   fault.Code `json:"code"`
		Reason string     `json:"reason"`
	}{m.File, m.NameZH, m.NameEN, fault.Of(m.Reason).Code, m.Reason.Error()})
}

// into stores what read returns, when there is something.
func into[T any](to **T, read func() (T, error)) error {
	v, err := read()
	if err == nil {
		*to = &v
	}
	return err
}

func listInto[T any](to *[]T, read func() ([]T, error)) error {
	v, err := read()
	*to = v // what was read before an error is worth showing
	return err
}

// A part is one step of the summary.
type part struct {
	file FileID
	read func() error
}

// Summary reads everything that a person may want to know and that the PIN (if
// it was verified) and the keys of kh (may be nil) permit: identity, then one
// directory after the other, so that a key is authenticated once for all the
// files of its directory. With the PIN that is one SELECT for each directory,
// one READ RECORD for each file, three commands for the balance, and one
// authentication (two commands) for the file that wants PIN and key.
//
// A file that cannot be read is Missing and no error; neither is a key holder
// that is down, which is asked once. The error is the reader's; what was read
// before it is returned.
func (c *Card) Summary(ctx context.Context, kh KeyHolder) (Summary, error) {
	var s Summary
	var err error
	if s.Identity, err = c.Identity(ctx, kh); err != nil {
		return s, err
	}
	keyless := error(nil) // why no key can be had any more
	if kh == nil {
		keyless = ErrNoKeyHolder
	} else if err := s.Identity.AuthError; err != nil {
		// A card that is not genuine gets no keys, a holder that is down is not
		// asked again for every file.
		keyless, kh = err, nil
	}
	for _, p := range c.parts(ctx, &s, &kh) {
		f, ok := c.profile.File(p.file.DF, p.file.EF)
		if !ok || !c.has(f) {
			continue
		}
		err := c.readPart(f, p, keyless)
		if c.lost || ctx.Err() != nil {
			return s, err
		}
		if err == nil {
			continue
		}
		var refusal *RefusedError
		if kh != nil && !errors.As(err, &refusal) && holderFailed(err) {
			keyless, kh = err, nil
		}
		// Files of a 1.0 card are its issuer's choice; later cards have them all.
		if c.issuer.Specification != profile.V10 || !errors.Is(err, ErrFileMissing) {
			s.Missing = append(s.Missing, Missing{p.file, f.NameZH, f.NameEN, err})
		}
	}
	return s, nil
}

// readPart reads a part, unless it is clear that it needs a key that cannot be
// had.
func (c *Card) readPart(f profile.File, p part, keyless error) error {
	if keyless != nil {
		open := false
		for _, alt := range f.ReadAccess(c.issuer.Specification) {
			open = open || len(alt.Keys) == 0 && (c.pin || !alt.PIN)
		}
		if !open {
			if access := f.ReadAccess(c.issuer.Specification); !c.pin && wantsPIN(access) {
				return prefer(ErrPINRequired, keyless)
			}
			return keyless
		}
	}
	return p.read()
}

func wantsPIN(access profile.Access) bool {
	for _, alt := range access {
		if alt.PIN {
			return true
		}
	}
	return false
}

// holderFailed reports whether the key holder, and not the card, is the reason.
func holderFailed(err error) bool {
	switch fault.Of(err).Code {
	case fault.HSMUnreachable, fault.HSMProtocol, fault.NoPSAM, fault.NoKeyHolder:
		return true
	}
	return false
}

// parts are the steps in the order of directories; kh may be taken away in
// between.
func (c *Card) parts(ctx context.Context, s *Summary, kh *KeyHolder) []part {
	at := func(df, ef string, read func() error) part { return part{FileID{df, ef}, read} }
	return []part{
		at("DF01", "EF05", func() error { return into(&s.Household, func() (Household, error) { return c.Household(ctx, *kh) }) }),
		at("DF01", "EF06", func() error { return into(&s.Residence, func() (Residence, error) { return c.Residence(ctx, *kh) }) }),
		at("DF01", "EF07", func() error { return into(&s.Status, func() (Coded, error) { return c.EmploymentStatus(ctx, *kh) }) }),
		at("DF01", "EF09", func() error { return into(&s.Employer, func() (Employer, error) { return c.Employer(ctx, *kh) }) }),
		at("DF02", "EF06", func() error {
			return into(&s.Registration, func() (EmploymentRegistration, error) { return c.EmploymentRegistration(ctx, *kh) })
		}),
		at("DF02", "EF07", func() error { return listInto(&s.Jobs, func() ([]Job, error) { return c.Jobs(ctx, *kh) }) }),
		at("DF03", "EF05", func() error {
			return into(&s.Unemployment, func() (Unemployment, error) { return c.Unemployment(ctx, *kh) })
		}),
		at("DF03", "EF07", func() error { return into(&s.Pension, func() (Pension, error) { return c.Pension(ctx, *kh) }) }),
		at("DF03", "EF0A", func() error {
			return into(&s.RuralPension, func() (Pension, error) { return c.RuralPension(ctx, *kh) })
		}),
		at("DF03", c.byVersion("EF08", "EF15"), func() error { return into(&s.WorkInjury, func() (WorkInjury, error) { return c.WorkInjury(ctx, *kh) }) }),
		at("DF03", c.byVersion("EF09", "EF16"), func() error { return into(&s.Maternity, func() (Maternity, error) { return c.Maternity(ctx, *kh) }) }),
		at("DF03", "EF18", func() error { return into(&s.Dependant, func() (Dependant, error) { return c.Dependant(ctx, *kh) }) }),
		at("DF03", "EF19", func() error { return listInto(&s.Vouchers, func() ([]Voucher, error) { return c.Vouchers(ctx, *kh) }) }),
		at("DF04", "EF05", func() error {
			return into(&s.Medical, func() (MedicalInsurance, error) { return c.MedicalInsurance(ctx, *kh) })
		}),
		at("DF04", "EF08", func() error {
			if !c.pin {
				return ErrPINRequired
			}
			// A 1.0 card has its balance in EF06.
			if err := into(&s.Balance, func() (Balance, error) { return c.Balance(ctx) }); err != nil && c.issuer.Specification != profile.V10 {
				return err
			}
			return listInto(&s.Transactions, func() ([]MedicalTransaction, error) { return c.MedicalTransactions(ctx, *kh) })
		}),
		at("DF04", "EF15", func() error {
			return listInto(&s.Special, func() ([]SpecialSettlement, error) { return c.SpecialSettlements(ctx, *kh) })
		}),
		at("DF04", "EF06", func() error {
			return into(&s.Offline, func() (OfflineSettlement, error) { return c.OfflineSettlement(ctx, *kh) })
		}),
	}
}
