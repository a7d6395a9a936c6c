package settlement

import (
	"context"
	"fmt"
)

// A Selling is a sale that is to be settled.
type Selling struct {
	Visit  string // the terminal's number of the sale
	Holder string // masked, for the journal's list
	Scope  Scope
	Input  SaleInput
	Trial  Amounts // of the last trial (2101)
	Agreed Amounts // what the payer saw and agreed to
}

// Sell is 2102. It does for a sale what [Settler.Settle] does for a visit;
// there is nothing upstream before it, and its answer brings mdtrt_id and the
// split of the lines. The sale's number is what keeps it from being sold
// twice.
func (s *Settler) Sell(ctx context.Context, in Selling) (Receipt, error) {
	i := in.Input
	err := i.check("2102")
	if err == nil {
		err = agreedOn(in.Trial, in.Agreed, i.DrugInfo.MedfeeSumamt)
	}
	if err != nil {
		return Receipt{}, &unsentError{fmt.Errorf("sell: %w", err)}
	}
	var lines []FeeResult
	r, err := s.settle(ctx, booking{
		infno: "2102", scope: in.Scope, input: i,
		entry: Entry{Visit: in.Visit, PsnNo: i.DrugInfo.PsnNo, Holder: in.Holder, Agreed: in.Agreed},
	}, func(a Answer) (out Settlement, err error) {
		out, lines, err = readSale(a, i)
		return out, err
	})
	if err != nil {
		return Receipt{}, fmt.Errorf("sale: %w", err)
	}
	r.Lines = lines
	return r, nil
}
