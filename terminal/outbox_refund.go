package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"onecard/fault"
	"onecard/settlement"
)

// QueueRefund has a settlement taken back that nobody waits for at the desk, by
// policy: when the centre can be asked, and through the journal as every refund.
// Nothing is paid back to anybody before the item is sent. The same settlement is
// queued once.
func (s *Service) QueueRefund(ctx context.Context, req RefundRequest) (OutboxDetail, error) {
	if s.outbox.box == nil {
		return OutboxDetail{}, errNoOutbox
	}
	if err := s.may(RightRefund); err != nil {
		return OutboxDetail{}, err
	}
	switch {
	case req.Entry <= 0:
		return OutboxDetail{}, detailed{errFieldMissing, "entry"}
	case utf8.RuneCountInString(req.Reason) > maxReason || !utf8.ValidString(req.Reason):
		return OutboxDetail{}, detailed{ErrBody, fmt.Sprintf("reason has at most %d characters", maxReason)}
	}
	e, err := s.parts.Journal.Get(ctx, req.Entry)
	if err != nil {
		return OutboxDetail{}, err
	}
	_, refundable := settlement.RefundInfno(e.Infno)
	switch {
	case !refundable:
		return OutboxDetail{}, settlement.ErrNotRefundable
	case e.ReversedBy != 0:
		return OutboxDetail{}, settlement.ErrRefunded
	case e.Outcome == settlement.Unknown, e.Outcome == settlement.Intended:
		return OutboxDetail{}, ErrUnresolved
	case e.Outcome != settlement.Done:
		return OutboxDetail{}, settlement.ErrNotRefundable
	}
	body, err := json.Marshal(req)
	if err != nil {
		return OutboxDetail{}, fmt.Errorf("queue refund: %w", err)
	}
	ids, err := s.outbox.box.Put(ctx, settlement.Letter{Lane: e.Visit, Kind: LetterRefund, Once: fmt.Sprint("refund ", e.ID), Body: body})
	if err != nil {
		return OutboxDetail{}, err
	}
	s.auditOutbox("refund queued", ids[0])
	s.posted(ctx)
	return s.outboxDetail(ctx, ids[0], false)
}

// sendRefund takes a settlement back through the journal. A refund of which
// nobody knows the outcome is in doubt there, and is not sent again from here:
// the item waits until it is decided.
func (s *Service) sendRefund(ctx context.Context, item settlement.Item) error {
	req, err := readLetter[RefundRequest](item.Body)
	if err != nil {
		return &settlement.Undeliverable{Cause: err}
	}
	e, err := s.parts.Journal.Get(ctx, req.Entry)
	if errors.Is(err, settlement.ErrEntryUnknown) {
		return &settlement.Undeliverable{Cause: err}
	}
	if err != nil {
		return &settlement.Postponed{Cause: err}
	}
	if e.ReversedBy != 0 {
		return nil // an earlier attempt, or somebody at a desk, has done it
	}
	// Whoever decides what is in doubt must not find the visit busy because it was
	// tried from here.
	if _, open, err := s.parts.Journal.Unresolved(ctx, e.Visit); err != nil || open {
		return &settlement.Postponed{Cause: errors.Join(ErrUnresolved, err)}
	}
	_, err = s.Refund(ctx, "", req)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, settlement.ErrRefunded):
		return nil // reversed meanwhile: it does not stand any more
	case settlement.OutcomeOf(err) == settlement.Refused:
		return err
	}
	switch fault.Of(err).Code {
	case fault.UpstreamUnreachable:
		return err
	case fault.EntryUnknown, fault.VisitState, fault.NotPermitted, fault.BodyInvalid, fault.FieldMissing:
		return &settlement.Undeliverable{Cause: err}
	}
	return &settlement.Postponed{Cause: err}
}
