package settlement

import (
	"context"
	"fmt"
)

// A Settling is an outpatient visit that is to be settled.
type Settling struct {
	Visit  string // the terminal's number of the visit
	Holder string // masked, for the journal's list
	Scope  Scope
	Input  SettleInput
	Trial  Amounts // of the last trial
	Agreed Amounts // what the payer saw and agreed to
}

// A Receipt is a settlement that is booked, checked and in the journal.
type Receipt struct {
	EntryID  int64
	MsgID    string
	SetlID   string
	MdtrtID  string
	SetlTime string // upstream's
	Amounts  Amounts
	// Differs says that upstream booked another split of the same total than
	// the payer agreed to, because something changed after the trial. The
	// amounts booked are the ones to collect; the payer must be told.
	Differs bool
	Warning string // upstream's warn_msg
	Detail  Settlement
	Lines   []FeeResult // of a sale, in the order sent; none where upstream left them out
}

// String names the receipt without its holder.
func (r Receipt) String() string {
	return fmt.Sprintf("receipt %s of %s, cash %s", r.SetlID, r.Amounts.Total, r.Amounts.Cash)
}

// Settle is 2207. It writes the intention down, sends once, checks the answer
// and closes the entry; after the intention nothing cancels it but its own
// deadlines. [OutcomeOf] the error tells what is known: where it is Unknown the
// entry stays unresolved, the visit cannot be settled again, and no receipt
// exists.
func (s *Settler) Settle(ctx context.Context, in Settling) (Receipt, error) {
	i := in.Input
	err := agreedOn(in.Trial, in.Agreed, i.MedfeeSumamt, SomeFen(i.FulamtOwnpayAmt), SomeFen(i.OverlmtSelfpay), SomeFen(i.PreselfpayAmt), SomeFen(i.InscpScpAmt))
	if err != nil {
		return Receipt{}, fmt.Errorf("settle: %w", err)
	}
	return s.settle(ctx, booking{
		infno: "2207", scope: in.Scope, input: map[string]SettleInput{"data": i},
		entry: Entry{Visit: in.Visit, MdtrtID: i.MdtrtID, PsnNo: i.PsnNo, Holder: in.Holder, Agreed: in.Agreed},
	}, readSettlement)
}

// settle books a settlement and makes its receipt. read takes the output
// apart; its lines are checked already.
func (s *Settler) settle(ctx context.Context, b booking, read func(Answer) (Settlement, error)) (Receipt, error) {
	var out Settlement
	b.accept = func(a Answer, msgID string) (is accepted, err error) {
		out, err = read(a)
		is.setlID = string(out.SetlInfo.Value.SetlID)
		if err != nil {
			return is, err
		}
		is.amounts, err = out.accept(b.infno, msgID, b.entry.MdtrtID, b.entry.PsnNo, b.entry.Agreed.Total)
		return is, err
	}
	done, err := s.book(ctx, b)
	if err != nil {
		return Receipt{}, fmt.Errorf("settle: %w", err)
	}
	info := out.SetlInfo.Value
	return Receipt{
		EntryID: done.entryID, MsgID: done.msgID, SetlID: done.setlID, MdtrtID: string(info.MdtrtID),
		SetlTime: string(info.SetlTime), Amounts: done.amounts, Differs: done.amounts != b.entry.Agreed,
		Warning: done.warning, Detail: out,
	}, nil
}

// agreedOn checks what is about to be settled: the payer agreed to the trial,
// the trial is of these fees, and the split of the fees adds up. Its errors
// are NotSent.
func agreedOn(trial, agreed Amounts, total Fen, split ...NullFen) error {
	if agreed != trial || agreed.Total != total {
		return &unsentError{ErrAgreedDiffers}
	}
	if total < 0 {
		return &unsentError{fmt.Errorf("negative total: %w", ErrAmount)}
	}
	sum := SomeFen(total)
	if err := checkSum(4, -1, "medfee_sumamt", &sum, split); err != nil {
		return &unsentError{err}
	}
	return nil
}

// accept checks that an answer is the settlement that was asked for and returns
// its amounts. A sale has no mdtrtID before it is answered.
func (s Settlement) accept(infno, msgID, mdtrtID, psnNo string, total Fen) (Amounts, error) {
	i := s.SetlInfo.Value
	if string(i.MedinsSetlID) != msgID {
		return Amounts{}, fmt.Errorf("%s: medins_setl_id is not the msgid sent: %w", infno, ErrMismatch)
	}
	if i.SetlID == "" || i.MdtrtID == "" {
		return Amounts{}, fmt.Errorf("%s: no setl_id or mdtrt_id: %w", infno, ErrMalformed)
	}
	if mdtrtID == "" {
		mdtrtID = string(i.MdtrtID)
	}
	if err := s.check(infno, mdtrtID, psnNo, total); err != nil {
		return Amounts{}, err
	}
	return i.Amounts()
}
