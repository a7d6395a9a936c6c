package terminal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"onecard/card"
	"onecard/fault"
	"onecard/reader"
	"onecard/reader/pinpad"
)

// ErrPINsDiffer means that the new PIN was not the same the second time.
var ErrPINsDiffer = fault.New(fault.PINsDiffer, "new PINs differ")

// errNoStore: a service without a place to write plans down writes no card.
var errNoStore = fmt.Errorf("no journal of card writes: %w", card.ErrPlanStore)

// maxChanges bounds one write.
const maxChanges = 64

// A WriteRequest changes records of one file. Set holds changes in the form of
// [card.ParseChange]: 71=510100, 40:2/57=408, +field^field, @16=hex:0102.
type WriteRequest struct {
	File   string   `json:"file"`
	Set    []string `json:"set"`
	DryRun bool     `json:"dry_run,omitempty"` // show what would change and write nothing
}

// WriteResult is what was, or would be, changed. It holds what is on the card.
type WriteResult struct {
	Plan        string            `json:"plan,omitempty"` // empty where nothing differs
	Differences []card.Difference `json:"differences"`
	Written     bool              `json:"written"`
}

// Write changes records of a card: the plan is made and checked before the first
// command, written down, carried out, read back and closed. A card that is torn
// out in between is finished or restored when it returns, before anything else.
func (s *Service) Write(ctx context.Context, id string, req WriteRequest) (WriteResult, error) {
	file, err := card.ParseFileID(req.File)
	if err != nil {
		return WriteResult{}, err
	}
	if len(req.Set) == 0 || len(req.Set) > maxChanges {
		return WriteResult{}, detailed{ErrBody, fmt.Sprintf("set: 1 to %d changes", maxChanges)}
	}
	changes := make([]card.Change, len(req.Set))
	for i, text := range req.Set {
		if changes[i], err = card.ParseChange(file, text); err != nil {
			return WriteResult{}, err
		}
	}
	d, err := s.writer(id)
	if err != nil {
		return WriteResult{}, err
	}
	var result WriteResult
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) error {
		if !h.identity.Authenticated {
			return errors.Join(ErrUnverified, h.identity.AuthError)
		}
		plan, err := h.card.NewPlan(ctx, s.keys(), changes...)
		if err != nil {
			return err
		}
		result.Differences = plan.Describe(h.card)
		if plan.Empty() || req.DryRun {
			return nil
		}
		result.Plan = plan.ID
		if err := h.card.Execute(ctx, s.keys(), s.parts.Plans, plan); err != nil {
			return err
		}
		result.Written = true
		if file.DF == "SSSE" {
			// Whose card it is may just have changed.
			h.identity, err = h.card.Identity(ctx, s.keys())
			if err == nil {
				d.ready(0, h.session.Commands())
			}
			return err
		}
		return nil
	})
	if result.Differences == nil {
		result.Differences = []card.Difference{}
	}
	s.audit("file written "+file.String(), d)
	return result, err
}

// writer returns the desk of a reader for something that changes its card.
func (s *Service) writer(id string) (*desk, error) {
	switch {
	case s.parts.Plans == nil || s.parts.Debits == nil:
		return nil, errNoStore
	case s.keys() == nil:
		return nil, card.ErrNoKeyHolder
	}
	return s.desk(id)
}

// settleAccounts ends what was begun on a card before it left a reader: write
// plans are finished or undone, transactions of the medical account decided.
// Nothing else may touch the card first. What cannot be ended is returned and
// shown with the card; reading it goes on.
func (s *Service) settleAccounts(ctx context.Context, c *card.Card) error {
	if s.parts.Plans == nil || s.keys() == nil {
		return nil
	}
	ended, err := c.Recover(ctx, s.keys(), s.parts.Plans)
	for _, e := range ended {
		s.parts.Log.WithField("plan", e.Plan.ID).WithField("outcome", e.Outcome).Warning("a write that was torn was ended")
	}
	decided, derr := c.Resolve(ctx, s.keys(), s.parts.Debits)
	for _, t := range decided {
		s.parts.Log.WithField("transaction", t.ID).WithField("state", t.State).Warning("a transaction that was torn was decided")
	}
	return errors.Join(err, derr)
}

// PINs are what a caller on the Unix socket has; nil asks at the pad.
type PINs struct{ Old, New []byte }

// ChangePIN replaces the PIN. At the pad the holder enters the old one and the
// new one twice.
func (s *Service) ChangePIN(ctx context.Context, id string, pins PINs) error {
	if pad, ok := s.parts.Pad.(pinpad.OnCard); ok && pins.New == nil {
		return s.changePINAtPad(ctx, id, pad)
	}
	return s.newPIN(ctx, id, pins, true, func(ctx context.Context, h *held, old, next card.PIN) error {
		return h.card.ChangePIN(ctx, old, next, card.DefaultPINPolicy(), h.identity.Holder)
	})
}

// changePINAtPad is ChangePIN where the reader's pad talks to the card itself.
func (s *Service) changePINAtPad(ctx context.Context, id string, pad pinpad.OnCard) error {
	d, err := s.writer(id)
	if err != nil {
		return err
	}
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) error {
		defer d.waiting()()
		err := h.card.ChangePINAtPad(ctx, s.padDigits(), s.atPad(h, pad.Modify))
		h.pin = h.pin || h.card.PINVerified()
		return err
	})
	s.showPIN(ctx, d)
	s.audit("PIN changed", d)
	return err
}

// ResetPIN sets a new PIN without the old one and gives all tries back. Whoever
// calls has made sure who the holder is.
func (s *Service) ResetPIN(ctx context.Context, id string, pins PINs) error {
	return s.newPIN(ctx, id, pins, false, func(ctx context.Context, h *held, _, next card.PIN) error {
		return h.card.ReloadPIN(ctx, s.keys(), next, card.DefaultPINPolicy(), h.identity.Holder)
	})
}

// UnblockPIN gives a blocked PIN all its tries back; it stays what it is.
func (s *Service) UnblockPIN(ctx context.Context, id string) error {
	d, err := s.writer(id)
	if err != nil {
		return err
	}
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) error { return h.card.UnblockPIN(ctx, s.keys()) })
	s.showPIN(ctx, d)
	s.audit("PIN unblocked", d)
	return err
}

func (s *Service) newPIN(ctx context.Context, id string, pins PINs, wantOld bool,
	change func(ctx context.Context, h *held, old, next card.PIN) error) error {
	defer clear(pins.Old)
	defer clear(pins.New)
	d, err := s.writer(id)
	if err != nil {
		return err
	}
	view, _ := d.published()
	if view.Card == nil {
		return d.absent()
	}
	if pins.New == nil {
		if pins, err = s.enterNewPIN(ctx, d, wantOld); err != nil {
			return err
		}
		defer clear(pins.Old)
		defer clear(pins.New)
	}
	err = d.ask(ctx, view.Card.Insertion, func(ctx context.Context, h *held) error {
		err := change(ctx, h, pins.Old, pins.New)
		h.pin = h.pin || h.card.PINVerified()
		return err
	})
	s.showPIN(ctx, d)
	s.audit("PIN changed", d)
	return err
}

// enterNewPIN asks at the pad: old (where wanted), new, and new again.
func (s *Service) enterNewPIN(ctx context.Context, d *desk, wantOld bool) (PINs, error) {
	var pins PINs
	var err error
	if wantOld {
		if pins.Old, err = s.enterPIN(ctx, d, pinpad.Old); err != nil {
			return PINs{}, err
		}
	}
	if pins.New, err = s.enterPIN(ctx, d, pinpad.New); err != nil {
		clear(pins.Old)
		return PINs{}, err
	}
	again, err := s.enterPIN(ctx, d, pinpad.Again)
	defer clear(again)
	if err == nil && !strings.EqualFold(string(pins.New), string(again)) {
		err = ErrPINsDiffer
	}
	if err != nil {
		clear(pins.Old)
		clear(pins.New)
		return PINs{}, err
	}
	return pins, nil
}

// showPIN publishes the tries that a card has left.
func (s *Service) showPIN(ctx context.Context, d *desk) {
	if _, err := s.PINState(ctx, d.id); err != nil && !errors.Is(err, reader.ErrNoCard) {
		s.parts.Log.WithError(err).Debug("tries left not known")
	}
}
