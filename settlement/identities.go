package settlement

import (
	"fmt"

	"onecard/fault"
)

// Amounts are the four numbers a payer sees. Total = Fund + Account + Cash +
// what the hospital bears.
type Amounts struct {
	Total   Fen `json:"total"`   // medfee_sumamt
	Fund    Fen `json:"fund"`    // fund_pay_sumamt
	Account Fen `json:"account"` // acct_pay: personal account, family account included
	Cash    Fen `json:"cash"`    // psn_cash_pay: to pay
}

// A SumsError is an answer whose amounts do not add up. A person must look at
// it before anyone pays (OC-2203).
type SumsError struct {
	Identity    int    // 1 to 5 of the settlement facts, money
	Row         int    // of the fee line, from 0; -1 for the visit
	Left, Right Fen    // the announced sum and the sum of its terms
	Field       string // the announced sum's field
}

// Error names the identity and both sides.
func (e *SumsError) Error() string {
	where := ""
	if e.Row >= 0 {
		where = fmt.Sprintf("line %d: ", e.Row)
	}
	return fmt.Sprintf("%samounts disagree (identity %d): %s is %s, its terms give %s", where, e.Identity, e.Field, e.Left, e.Right)
}

// Code is OC-2203.
func (e *SumsError) Code() fault.Code { return fault.SumsDisagree }

// Outcome is Unknown: upstream may have booked what it answered.
func (e *SumsError) Outcome() Outcome { return Unknown }

// CheckSettlement checks the money identities 1 to 4 of a trial's, a
// settlement's or a refund's answer. It returns a *[SumsError], or an error
// that wraps ErrMalformed where too many terms are absent to know what is to
// be paid.
func CheckSettlement(s SetlInfo) error {
	_, err := s.Amounts()
	return err
}

// Amounts checks the identities and returns what is to be paid by whom. Null is
// not zero: psn_part_amt and hosp_part_amt, which answers may leave out, and
// one of acct_pay and psn_cash_pay are derived from the terms that are there
// (settlement facts, contradictions); a fund or a split share that is absent
// adds nothing, and the sum must hold without it.
func (s SetlInfo) Amounts() (Amounts, error) {
	funds := []NullFen{s.HifpPay, s.CvlservPay, s.HifesPay, s.HifmiPay, s.HifobPay, s.MafPay, s.OthPay, s.HifdmPay}
	split := []NullFen{s.FulamtOwnpayAmt, s.OverlmtSelfpay, s.PreselfpayAmt, s.InscpScpAmt}
	total, fund := s.MedfeeSumamt, s.FundPaySumamt
	if err := checkSum(2, -1, "fund_pay_sumamt", &fund, funds); err != nil {
		return Amounts{}, err
	}
	if err := checkSum(4, -1, "medfee_sumamt", &total, split); err != nil {
		return Amounts{}, err
	}
	part, account, cash, hospital := s.PsnPartAmt, s.AcctPay, s.PsnCashPay, s.HospPartAmt
	// Twice, because what one identity derives the other may need.
	for range 2 {
		if err := balance(3, "psn_part_amt", &part, &account, &cash); err != nil {
			return Amounts{}, err
		}
		if err := balance(1, "medfee_sumamt", &total, &fund, &part, &hospital); err != nil {
			return Amounts{}, err
		}
	}
	if !total.Valid || !fund.Valid || !account.Valid || !cash.Valid {
		return Amounts{}, fmt.Errorf("amounts: total, fund, account or cash is neither there nor to be derived: %w", ErrMalformed)
	}
	if m := s.AcctMulaidPay; m.Valid && magnitude(int64(m.Fen)) > magnitude(int64(account.Fen)) {
		return Amounts{}, &SumsError{Identity: 3, Row: -1, Field: "acct_mulaid_pay", Left: m.Fen, Right: account.Fen}
	}
	return Amounts{total.Fen, fund.Fen, account.Fen, cash.Fen}, nil
}

// checkSum checks left against the sum of the terms that are present, and
// derives an absent left. With no term at all there is nothing to check.
func checkSum(identity, row int, field string, left *NullFen, terms []NullFen) error {
	var sum Fen
	present := false
	for _, t := range terms {
		present = present || t.Valid
		sum += t.Fen
	}
	switch {
	case !left.Valid && present:
		*left = SomeFen(sum)
	case left.Valid && left.Fen != sum && (present || identity != 4):
		return &SumsError{Identity: identity, Row: row, Field: field, Left: left.Fen, Right: sum}
	}
	return nil
}

// balance checks left = sum of terms where all are present, and derives the
// one that is absent.
func balance(identity int, field string, left *NullFen, terms ...*NullFen) error {
	var sum Fen
	var absent *NullFen
	missing := 0
	for _, t := range terms {
		if !t.Valid {
			absent = t
			missing++
		}
		sum += t.Fen
	}
	switch {
	case missing == 0 && !left.Valid:
		*left = SomeFen(sum)
	case missing == 0 && left.Fen != sum:
		return &SumsError{Identity: identity, Row: -1, Field: field, Left: left.Fen, Right: sum}
	case missing == 1 && left.Valid:
		*absent = SomeFen(left.Fen - sum)
	}
	return nil
}

// A LineSplit is the sum of upstream's split over all lines of a visit: what
// 2207 wants repeated.
type LineSplit struct {
	Total           Fen // of det_item_fee_sumamt
	FulamtOwnpayAmt Fen
	OverlmtSelfpay  Fen // of overlmt_amt
	PreselfpayAmt   Fen
	InscpScpAmt     Fen
}

// SumSplit checks identity 4 of every line and returns the sums of the split.
// A line of which upstream left the split out altogether is an error that
// wraps ErrMalformed; a share that is absent adds nothing.
func SumSplit(results []FeeResult) (LineSplit, error) {
	var sum LineSplit
	for i, r := range results {
		terms := []NullFen{r.FulamtOwnpayAmt, r.OverlmtAmt, r.PreselfpayAmt, r.InscpScpAmt}
		amount := r.DetItemFeeSumamt
		if !terms[0].Valid && !terms[1].Valid && !terms[2].Valid && !terms[3].Valid {
			return LineSplit{}, fmt.Errorf("line %d: no split: %w", i, ErrMalformed)
		}
		if err := checkSum(4, i, "det_item_fee_sumamt", &amount, terms); err != nil {
			return LineSplit{}, err
		}
		sum.Total += amount.Fen
		sum.FulamtOwnpayAmt += terms[0].Fen
		sum.OverlmtSelfpay += terms[1].Fen
		sum.PreselfpayAmt += terms[2].Fen
		sum.InscpScpAmt += terms[3].Fen
	}
	for _, f := range []Fen{sum.Total, sum.FulamtOwnpayAmt, sum.OverlmtSelfpay, sum.PreselfpayAmt, sum.InscpScpAmt} {
		if f > MaxFen || f < -MaxFen {
			return LineSplit{}, fmt.Errorf("split: out of range: %w", ErrAmount)
		}
	}
	return sum, nil
}

// A FeeLineError is a fee line that must not be sent (OC-2007).
type FeeLineError struct {
	Row     int // from 0
	Problem string
}

// Error names the row and the problem.
func (e *FeeLineError) Error() string { return fmt.Sprintf("fee line %d: %s", e.Row, e.Problem) }

// Code is OC-2007.
func (e *FeeLineError) Code() fault.Code { return fault.FeeLineInvalid }

// Outcome is NotSent.
func (e *FeeLineError) Outcome() Outcome { return NotSent }

// CheckFeeLines checks that every line's amount is price x quantity rounded
// half up (identity 5), that serial numbers are unique and that all lines are
// of one visit, person and batch. It returns the visit's total.
func CheckFeeLines(lines []FeeDetail) (Fen, error) {
	return checkLines(len(lines), func(i int) feeLine {
		l := lines[i]
		return feeLine{l.FeedetlSN.Value, l.DetItemFeeSumamt, l.Pric, l.Cnt, [3]string{l.MdtrtID, l.PsnNo, l.ChrgBchno}}
	})
}

// A feeLine is what all kinds of fee lines have.
type feeLine struct {
	sn     string
	amount Fen
	pric   Price
	cnt    Quantity
	owner  [3]string // visit, person, batch; the same in all lines
}

// checkLines is CheckFeeLines for any kind of line.
func checkLines(n int, line func(int) feeLine) (Fen, error) {
	if n == 0 {
		return 0, &FeeLineError{0, "missing"}
	}
	var total Fen
	seen := make(map[string]bool, n)
	first := line(0)
	for i := range n {
		l := line(i)
		amount, err := LineAmount(l.pric, l.cnt)
		switch {
		case err != nil:
			return 0, &FeeLineError{i, "amount out of range"}
		case amount != l.amount:
			return 0, &FeeLineError{i, "amount is not price x quantity"}
		case l.cnt == 0:
			return 0, &FeeLineError{i, "no quantity"}
		case l.pric < 0:
			return 0, &FeeLineError{i, "negative price"}
		case seen[l.sn]:
			return 0, &FeeLineError{i, "serial number given twice"}
		case l.owner != first.owner:
			return 0, &FeeLineError{i, "of another visit, person or batch"}
		}
		seen[l.sn] = true
		if total += amount; total > MaxFen || total < -MaxFen {
			return 0, &FeeLineError{i, "total out of range"}
		}
	}
	return total, nil
}
