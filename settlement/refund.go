package settlement

import (
	"context"
	"encoding/json"
	"fmt"
)

// refundInfno names what takes a settlement back.
var refundInfno = map[string]string{"2207": "2208", "2304": "2305", "2102": "2103"}

// RefundInfno returns the transaction that takes a settlement of infno back;
// ok is false where infno is no settlement.
func RefundInfno(infno string) (refund string, ok bool) {
	refund, ok = refundInfno[nationalInfno(infno)]
	return refund, ok
}

// nationalInfno is the national number of a settlement. Journals written before
// the number was always the national one hold 2207A.
func nationalInfno(infno string) string {
	if len(infno) == 5 && infno[4] >= 'A' && infno[4] <= 'Z' {
		return infno[:4]
	}
	return infno
}

// A Refunding is a settlement that is to be taken back, all of it.
type Refunding struct {
	Entry int64 // the settlement's entry in the journal
	Scope Scope // InsuplcAdmdvs may be empty: the settlement's is taken
	// MdtrtID is needed only of a sale whose outcome a person decided: its
	// mdtrt_id was in the answer that was lost.
	MdtrtID    string
	ExpContent string
}

// A Refund is a settlement taken back, in the journal and checked against it.
type Refund struct {
	EntryID  int64
	Undoes   int64 // the settlement's entry
	MsgID    string
	SetlID   string // of the refund, not of the settlement
	MdtrtID  string
	SetlTime string  // upstream's
	Amounts  Amounts // negative: what goes back to fund, account and payer
	Warning  string  // upstream's warn_msg
	Detail   Settlement
}

// String names the refund without its holder.
func (r Refund) String() string {
	return fmt.Sprintf("refund %s of %s, cash %s", r.SetlID, r.Amounts.Total, r.Amounts.Cash)
}

// RefundInput is the input of 2208, 2305 and 2103, node data.
type RefundInput struct {
	SetlID     string `json:"setl_id"`
	MdtrtID    string `json:"mdtrt_id"`
	PsnNo      string `json:"psn_no"`
	ExpContent string `json:"exp_content,omitempty"`
}

// Refund takes back a settlement of the journal that is done: 2208 of 2207,
// 2305 of 2304, 2103 of 2102. There is no partial refund upstream: take back
// the whole, then settle the lines that stay. The answer's amounts must be the
// settlement's, negative. The refund is an entry of its own: where its outcome
// is unknown neither refund nor settlement can be sent again for the visit.
// What does not stand is ErrNotRefundable, ErrRefunded, ErrInProgress or
// ErrUnknownUnresolved.
func (s *Settler) Refund(ctx context.Context, in Refunding) (Refund, error) {
	e, err := s.journal.Get(ctx, in.Entry)
	if err != nil {
		return Refund{}, &unsentError{fmt.Errorf("refund: %w", err)}
	}
	infno, ok := RefundInfno(e.Infno)
	switch {
	case !ok || e.Undoes != 0 || e.Outcome == Refused && e.ReversedBy == 0:
		err = ErrNotRefundable
	case e.ReversedBy != 0:
		err = ErrRefunded
	case e.Outcome == Intended:
		err = ErrInProgress
	case e.Outcome == Unknown:
		err = ErrUnknownUnresolved
	}
	if err != nil {
		return Refund{}, &unsentError{fmt.Errorf("refund of entry %d: %w", in.Entry, err)}
	}
	if e.MdtrtID == "" {
		e.MdtrtID = in.MdtrtID
		if answered := answeredVisit(e.Answer); answered != "" {
			e.MdtrtID = answered
		}
	}
	var out Settlement
	b := booking{
		infno: infno, scope: in.Scope.of(e),
		input: map[string]RefundInput{"data": {SetlID: e.SetlID, MdtrtID: e.MdtrtID, PsnNo: e.PsnNo, ExpContent: in.ExpContent}},
		entry: Entry{Visit: e.Visit, MdtrtID: e.MdtrtID, PsnNo: e.PsnNo, Holder: e.Holder, Undoes: e.ID, Agreed: e.opposite()},
		accept: func(a Answer, msgID string) (is accepted, err error) {
			if out, err = readSettlement(a); err != nil {
				return is, err
			}
			is.setlID = string(out.SetlInfo.Value.SetlID)
			is.amounts, err = out.acceptRefund(infno, msgID, e)
			return is, err
		},
	}
	done, err := s.book(ctx, b)
	if err != nil {
		return Refund{}, fmt.Errorf("refund of entry %d: %w", in.Entry, err)
	}
	return Refund{
		EntryID: done.entryID, Undoes: e.ID, MsgID: done.msgID, SetlID: done.setlID, MdtrtID: e.MdtrtID,
		SetlTime: string(out.SetlInfo.Value.SetlTime), Amounts: done.amounts, Warning: done.warning, Detail: out,
	}, nil
}

// opposite is what a refund of the entry has to book.
func (e Entry) opposite() Amounts { return Amounts{-e.Total, -e.Fund, -e.Account, -e.Cash} }

// acceptRefund checks that an answer takes back the settlement of an entry:
// all of it, and nothing else.
func (s Settlement) acceptRefund(infno, msgID string, e Entry) (Amounts, error) {
	i := s.SetlInfo.Value
	switch {
	case string(i.MedinsSetlID) != msgID:
		return Amounts{}, fmt.Errorf("%s: medins_setl_id is not the msgid sent: %w", infno, ErrMismatch)
	case i.SetlID == "":
		return Amounts{}, fmt.Errorf("%s: no setl_id: %w", infno, ErrMalformed)
	case string(i.SetlID) == e.SetlID:
		return Amounts{}, fmt.Errorf("%s: setl_id is the settlement's: %w", infno, ErrMismatch)
	case string(i.MdtrtID) != e.MdtrtID || differs(i.PsnNo, e.PsnNo):
		return Amounts{}, fmt.Errorf("%s: visit or person differs: %w", infno, ErrMismatch)
	}
	got, err := i.Amounts()
	if err != nil {
		return Amounts{}, fmt.Errorf("%s: %w", infno, err)
	}
	want := e.opposite()
	for _, x := range []struct {
		field     string
		got, want Fen
	}{
		{"medfee_sumamt", got.Total, want.Total}, {"fund_pay_sumamt", got.Fund, want.Fund},
		{"acct_pay", got.Account, want.Account}, {"psn_cash_pay", got.Cash, want.Cash},
	} {
		if x.got != x.want {
			return Amounts{}, fmt.Errorf("%s: not the settlement's opposite: %w", infno, &SumsError{Identity: 5, Row: -1, Field: x.field, Left: x.got, Right: x.want})
		}
	}
	return got, nil
}

// of completes a scope with what an entry's request said.
func (s Scope) of(e Entry) Scope {
	if s.InsuplcAdmdvs == "" {
		s.InsuplcAdmdvs = requestOf(e).InsuplcAdmdvs
	}
	return s
}

// requestOf reads the envelope of an entry's request.
func requestOf(e Entry) Envelope {
	var sent Envelope
	// Our own text, sealed since; without it the fields are empty, and what
	// needs them is refused before it is sent.
	_ = json.Unmarshal(e.Request, &sent)
	return sent
}

// answeredVisit is the mdtrt_id of a kept answer, "" where there is none.
// Regions name the node in their own ways.
func answeredVisit(raw []byte) string {
	a, err := decodeAnswer("", 200, raw)
	if err != nil {
		return ""
	}
	var nodes map[string]json.RawMessage
	if json.Unmarshal(a.Output, &nodes) != nil {
		return ""
	}
	id := ""
	for _, text := range nodes {
		var n Node[struct {
			MdtrtID Text `json:"mdtrt_id"`
		}]
		if json.Unmarshal(text, &n) != nil || n.Value.MdtrtID == "" {
			continue
		}
		if id != "" && id != string(n.Value.MdtrtID) {
			return ""
		}
		id = string(n.Value.MdtrtID)
	}
	return id
}

// A ReversalInput is the input of 2601, node data.
type ReversalInput struct {
	PsnNo  string `json:"psn_no"`
	Omsgid string `json:"omsgid"` // the msgid of what is taken back
	Oinfno string `json:"oinfno"` // its infno, as it was sent
}

// Reverse is 2601: it takes back a 2207, 2304 or 2102 of unknown outcome, by
// the msgid it was sent with. It is the last resort, after the look-ups: done
// means that the original is refused in the journal and its visit may be
// settled again. It is itself an entry; where its outcome is unknown it is not
// sent again. The answer has no number of its own: the entry's setl_id is its
// msgid. What is not in doubt is ErrNotRefundable or ErrRefunded.
func (s *Settler) Reverse(ctx context.Context, entry int64, scope Scope) error {
	e, err := s.journal.Get(ctx, entry)
	if err != nil {
		return &unsentError{fmt.Errorf("reverse: %w", err)}
	}
	if _, ok := RefundInfno(e.Infno); !ok || e.Outcome != Unknown {
		err = ErrNotRefundable
		if e.ReversedBy != 0 {
			err = ErrRefunded
		}
		return &unsentError{fmt.Errorf("reverse entry %d: %w", entry, err)}
	}
	sent := requestOf(e)
	if sent.Msgid != e.MsgID {
		return &unsentError{fmt.Errorf("reverse entry %d: its request cannot be read: %w", entry, ErrNotRefundable)}
	}
	_, err = s.book(ctx, booking{
		infno: infnoReversal, scope: scope.of(e),
		input: map[string]ReversalInput{"data": {PsnNo: e.PsnNo, Omsgid: e.MsgID, Oinfno: sent.Infno}},
		entry: Entry{Visit: e.Visit, MdtrtID: e.MdtrtID, PsnNo: e.PsnNo, Holder: e.Holder, Undoes: e.ID, Agreed: e.opposite()},
		accept: func(_ Answer, msgID string) (accepted, error) {
			return accepted{setlID: msgID, amounts: e.opposite()}, nil
		},
	})
	if err != nil {
		return fmt.Errorf("reverse entry %d: %w", entry, err)
	}
	return nil
}
