package settlement

import (
	"context"
	"fmt"
)

// A StaySettling is a stay that is to be settled. A stay that is settled more
// than once (mid_setl_flag 1) needs a Visit of its own for each.
type StaySettling struct {
	Visit  string // the terminal's number of the stay
	Holder string // masked, for the journal's list
	Scope  Scope
	Input  StaySettleInput
	Trial  Amounts // of the last trial (2303)
	Agreed Amounts // what the payer saw and agreed to
}

// SettleStay is 2304. It does for a stay what [Settler.Settle] does for a
// visit.
func (s *Settler) SettleStay(ctx context.Context, in StaySettling) (Receipt, error) {
	i := in.Input
	if err := agreedOn(in.Trial, in.Agreed, i.MedfeeSumamt, i.split()...); err != nil {
		return Receipt{}, fmt.Errorf("settle stay: %w", err)
	}
	r, err := s.settle(ctx, booking{
		infno: "2304", scope: in.Scope, input: staySettleInput{i},
		entry: Entry{Visit: in.Visit, MdtrtID: i.MdtrtID, PsnNo: i.PsnNo, Holder: in.Holder, Agreed: in.Agreed},
	}, readSettlement)
	if err != nil {
		return Receipt{}, fmt.Errorf("stay: %w", err)
	}
	return r, nil
}
