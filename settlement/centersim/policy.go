package centersim

import "time"

// line is one fee line as booked: what was asked for and how it splits. The
// four parts sum up to the amount (settlement.md's identity 4, per line).
type line struct {
	FeedetlSn    string `json:"feedetl_sn"`
	MedListCodg  string `json:"med_list_codg"`
	Price        int64  `json:"pric"` // 10^-6 yuan
	Quantity     int64  `json:"cnt"`  // 10^-4
	Amount       fen    `json:"det_item_fee_sumamt"`
	Approved     bool   `json:"hosp_appr,omitempty"`
	Full         fen    `json:"fulamt_ownpay_amt"`
	OverLimit    fen    `json:"overlmt_amt"`
	PreSelf      fen    `json:"preselfpay_amt"`
	InScope      fen    `json:"inscp_scp_amt"`
	PriceCeiling int64  `json:"pric_uplmt_amt"` // 10^-6 yuan
	Selfpay      int64  `json:"selfpay_prop"`   // 10^-4
	Class        string `json:"chrgitm_lv"`
	ChargeType   string `json:"med_chrgitm_type"`
	Basic        bool   `json:"bas_medn,omitempty"`
	Limited      bool   `json:"lmt_used,omitempty"`

	// Older ledgers do not have these; only 5204 shows them.
	At             *time.Time `json:"fee_ocur_time,omitempty"`
	MedinsListCodg string     `json:"medins_list_codg,omitempty"`
}

// split divides the line's amount. A class C item, and a limited one that the
// hospital did not approve, is paid by the person alone. Of every other item
// the part above the price ceiling is taken off first, then the class B ratio
// of what is left; the rest is in scope.
func (l *line) split(it *item) {
	l.Class = map[string]string{"A": "01", "B": "02", "C": "03"}[it.Class]
	l.ChargeType, l.Basic, l.Limited = it.MedChrgitmType, it.Basic, it.Limited
	l.PriceCeiling = int64(it.Ceiling) * 100
	l.Selfpay = int64(it.Selfpay)
	if it.Class == "C" || (it.Limited && !l.Approved) {
		l.Selfpay = ratioOne
		l.Full = l.Amount
		return
	}
	rest := l.Amount
	if l.PriceCeiling > 0 && l.Price > l.PriceCeiling {
		// Cannot overflow: the ceiling is below the price, whose product fitted.
		within, _ := times(l.PriceCeiling, l.Quantity)
		l.OverLimit = l.Amount - within
		rest = within
	}
	l.PreSelf = share(rest, l.Selfpay)
	l.InScope = rest - l.PreSelf
}

// sums are the four parts of a batch and their total.
type sums struct {
	Total     fen `json:"medfee_sumamt"`
	Full      fen `json:"fulamt_ownpay_amt"`
	OverLimit fen `json:"overlmt_selfpay"`
	PreSelf   fen `json:"preselfpay_amt"`
	InScope   fen `json:"inscp_scp_amt"`
}

func sumOf(lines []line) sums {
	var s sums
	for _, l := range lines {
		s.Total += l.Amount
		s.Full += l.Full
		s.OverLimit += l.OverLimit
		s.PreSelf += l.PreSelf
		s.InScope += l.InScope
	}
	return s
}

// settlement is one settlement as booked, or, without SetlID, a trial.
type settlement struct {
	sums
	SetlID      string    `json:"setl_id,omitempty"`
	MdtrtID     string    `json:"mdtrt_id"`
	ChrgBchno   string    `json:"chrg_bchno"`
	PsnNo       string    `json:"psn_no"`
	Insutype    string    `json:"insutype"`
	MedType     string    `json:"med_type"`
	CertType    string    `json:"mdtrt_cert_type"`
	CareArea    string    `json:"mdtrtarea_admvs"`
	Year        int       `json:"year"`
	SetlTime    time.Time `json:"setl_time"`
	MsgID       string    `json:"medins_setl_id"`
	Institution string    `json:"fixmedins_code"`
	Infno       string    `json:"infno,omitempty"`    // that booked it; older ledgers have none: 2207
	Refunds     string    `json:"refunds,omitempty"`  // setl_id of the settlement that this is the opposite of
	Reversal    bool      `json:"reversal,omitempty"` // by 2601
	Kind        string    `json:"kind,omitempty"`     // of care; outpatient, chronic, pharmacy or inpatient
	InsuArea    string    `json:"insuplc_admdvs,omitempty"`
	Cut         int64     `json:"ratio_cut,omitempty"` // 10^-4 off the ratio: no filing

	Deductible fen    `json:"act_pay_dedc"`      // of the yearly deductible, used up here
	Ratio      int64  `json:"pool_prop_selfpay"` // 10^-4
	FundRoom   fen    `json:"crt_payb_lmt_amt"`  // left of the yearly ceiling before
	Fund       fen    `json:"hifp_pay"`
	Supplement fen    `json:"supplement_pay"`
	SuppField  string `json:"supplement_field,omitempty"`
	Person     fen    `json:"psn_part_amt"`
	Account    fen    `json:"acct_pay"`
	Cash       fen    `json:"psn_cash_pay"`
	Balance    fen    `json:"balc"` // of the account, afterwards
}

// used is what a person has had from one insurance in one year.
type used struct{ Deductible, Fund fen }

// compute fills the money of s from its sums. Every part is a remainder of the
// one before, so that the identities hold by construction:
//
//	deductible = min(in scope, what is left of the year's deductible)
//	fund       = round half up((in scope - deductible) x ratio), at most what is left of the ceiling
//	supplement = round half up(what the ceiling cut off x its ratio)
//	person     = total - fund - supplement
//	account    = min(person, balance) if the account is used
//	cash       = person - account
func (s *settlement) compute(p *benefit, account bool, psnType string, alsoInsured bool, before used, balance fen, useAccount bool) {
	s.Deductible = min(s.InScope, max(0, p.Deductible-before.Deductible))
	s.Ratio = max(0, p.ratioFor(psnType)-s.Cut)
	s.FundRoom = max(0, p.Ceiling-before.Fund)
	wanted := share(s.InScope-s.Deductible, s.Ratio)
	s.Fund = min(wanted, s.FundRoom)
	if sup := p.Supplement; sup != nil && alsoInsured {
		s.Supplement = share(wanted-s.Fund, int64(sup.Ratio))
		s.SuppField = sup.Field
	}
	s.Person = s.Total - s.Fund - s.Supplement
	if useAccount && account {
		s.Account = min(s.Person, balance)
	}
	s.Cash = s.Person - s.Account
	s.Balance = balance - s.Account
}
