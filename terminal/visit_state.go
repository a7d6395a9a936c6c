package terminal

import "time"

// The states of a visit. Each is reached only from those before it; unknown is
// left only by a person who has looked the settlement up.
const (
	VisitOpening    = "opening"    // stored, 2201 not answered yet
	VisitRegistered = "registered" // 2201 answered: the centre knows the visit
	VisitLines      = "lines"      // fee lines are entered, not yet tried
	VisitTried      = "tried"      // 2206 answered: the split is known
	VisitSettling   = "settling"   // the intention is in the journal
	VisitSettled    = "settled"    // 2207 answered, sums checked: a receipt
	VisitRefunding  = "refunding"  // the intention to take the settlement back is in the journal
	VisitUnknown    = "unknown"    // 2207 or 2208 was sent and its outcome is not known
	VisitClosed     = "closed"     // given up before settlement, or after a refund
)

// The kinds of visits. The numbers above are an outpatient visit's; a stay has
// 2401, 2301, 2303, 2304 and 2305 in their place, a pharmacy's sale 2101, 2102
// and 2103, and nothing before.
const (
	KindOutpatient = "outpatient"
	KindInpatient  = "inpatient"
	KindPharmacy   = "pharmacy"
)

// A Visit is one visit at this desk, from registration to receipt: an
// outpatient's, a stay in hospital, or a pharmacy's sale. Money is in yuan with
// two decimals. Holder and person are masked.
type Visit struct {
	ID         string      `json:"id"` // ipt_otp_no of the visit, ipt_no of a stay
	Kind       string      `json:"kind"`
	State      string      `json:"state"`
	Reader     string      `json:"reader"`
	Opened     time.Time   `json:"opened"`
	Holder     VisitHolder `json:"holder"`
	Person     Person      `json:"person"`
	MdtrtID    string      `json:"mdtrt_id"`
	MedType    Coded       `json:"med_type"`
	Department Named       `json:"department"`
	Doctor     Named       `json:"doctor"`
	Diagnoses  []Named     `json:"diagnoses"`
	Lines      []Line      `json:"lines"`
	Total      string      `json:"total"`
	Trial      *Split      `json:"trial"`
	Receipt    *Receipt    `json:"receipt"`
	Journal    int64       `json:"journal,omitempty"` // the entry of the settlement, or of the refund that is in doubt
	// Undoing says that this entry is a refund.
	Undoing bool     `json:"undoing,omitempty"`
	Refunds []Refund `json:"refunds,omitempty"` // of this visit, the earliest first
	// Begin is when a stay began, Discharged when it ended; until it has ended it
	// cannot be settled.
	Begin      *time.Time `json:"begin,omitempty"`
	Discharged *time.Time `json:"discharged,omitempty"`
	Bed        string     `json:"bed,omitempty"`
	Emergency  bool       `json:"emergency,omitempty"`
	Filing     *Filing    `json:"filing,omitempty"`    // of care elsewhere, or of a chronic disease
	SetAside   bool       `json:"set_aside,omitempty"` // not on any page until it is resumed
	Fault      *Fault     `json:"fault"`
	// Earlier says that a settlement of the same person is in doubt: it may be
	// what this visit is about to settle again.
	Earlier *Fault   `json:"earlier,omitempty"`
	Next    []string `json:"next"`
}

// VisitHolder is the visit's card holder, masked.
type VisitHolder struct {
	Name string `json:"name"`
}

// A Person is what the centre says about the holder's insurance.
type Person struct {
	Insurance Coded  `json:"insutype"`
	Class     Coded  `json:"psn_type"`
	Balance   string `json:"balance"`
	Area      string `json:"area"` // insuplc_admdvs
}

// A Line is one fee line. Amount is price x quantity, rounded half up.
type Line struct {
	SN       string     `json:"sn,omitempty"`
	Code     string     `json:"code"`
	Name     string     `json:"name"`
	Quantity string     `json:"quantity"`
	Price    string     `json:"price"`
	Amount   string     `json:"amount,omitempty"`
	Date     string     `json:"date,omitempty"` // yyyy-MM-dd, where not the day the visit began
	Split    *LineSplit `json:"split,omitempty"`
}

// A LineSplit is the centre's split of one line.
type LineSplit struct {
	FullSelfPay string `json:"full_self_pay"` // fulamt_ownpay_amt
	OverLimit   string `json:"over_limit"`    // overlmt_amt
	PreSelfPay  string `json:"pre_self_pay"`  // preselfpay_amt
	InScope     string `json:"in_scope"`      // inscp_scp_amt
}

// A Split is who pays what.
type Split struct {
	Total       string `json:"total"`    // medfee_sumamt
	Fund        string `json:"fund"`     // fund_pay_sumamt
	Account     string `json:"account"`  // acct_pay
	Cash        string `json:"cash"`     // psn_cash_pay
	Hospital    string `json:"hospital"` // hosp_part_amt
	Deductible  string `json:"deductible"`
	FullSelfPay string `json:"full_self_pay"`
	OverLimit   string `json:"over_limit"`
	PreSelfPay  string `json:"pre_self_pay"`
	InScope     string `json:"in_scope"`
}

// A Receipt is what the patient takes home. It exists only for a settlement
// whose answer was checked.
type Receipt struct {
	SettlementID string      `json:"settlement_id"` // setl_id
	Time         string      `json:"time"`          // setl_time as the centre gave it
	MsgID        string      `json:"msgid"`
	Balance      string      `json:"balance"`
	Institution  Institution `json:"institution"`
	Operator     Operator    `json:"operator"`
	Holder       VisitHolder `json:"holder"`
	Lines        []Line      `json:"lines"`
	// Differs: the centre booked another split of the same total than the payer
	// agreed to. These amounts count, and the payer must be told.
	Differs bool   `json:"differs,omitempty"`
	Warning string `json:"warning,omitempty"` // warn_msg, the centre's words
	Split
}

// A VisitRequest begins a visit with the card in a reader. What is empty is
// taken from [counter] of the configuration.
type VisitRequest struct {
	Reader     string  `json:"reader,omitempty"`
	Kind       string  `json:"kind,omitempty"` // outpatient without
	MedType    string  `json:"med_type,omitempty"`
	Department Named   `json:"department,omitzero"`
	Doctor     Named   `json:"doctor,omitzero"`
	Diagnoses  []Named `json:"diagnoses,omitempty"`
	// Begin of a stay, yyyy-MM-dd or yyyy-MM-dd HH:mm:ss; now without. Bed,
	// adm_bed, it needs.
	Begin string `json:"begin,omitempty"`
	Bed   string `json:"bed,omitempty"`
	// Emergency and Referral are OTP_ER_REFL_FLAG, Trauma is TRUM_FLAG, ThirdParty
	// REL_TTP_FLAG of exp_content.
	Emergency  bool `json:"emergency,omitempty"`
	Referral   bool `json:"referral,omitempty"`
	Trauma     bool `json:"trauma,omitempty"`
	ThirdParty bool `json:"third_party,omitempty"`
	// ExpContent are a region's own values of exp_content, keys in upper case.
	ExpContent map[string]string `json:"exp_content,omitempty"`
}

// LinesRequest replaces the fee lines of a visit; Diagnoses too where given.
type LinesRequest struct {
	Lines     []Line  `json:"lines"`
	Diagnoses []Named `json:"diagnoses,omitempty"`
}

// Agreed is what the payer agreed to: total and cash of the trial.
type Agreed struct {
	Total string `json:"total"`
	Cash  string `json:"cash"`
}

// SettleRequest settles a visit.
type SettleRequest struct {
	Agreed Agreed `json:"agreed"`
}

// An Entry is one line of the journal, without personal data but for the
// masked holder.
type Entry struct {
	ID           int64      `json:"id"`
	Visit        string     `json:"visit"`
	Transaction  string     `json:"transaction"` // infno
	MsgID        string     `json:"msgid"`
	Opened       time.Time  `json:"opened"`
	Closed       *time.Time `json:"closed,omitempty"`
	Outcome      string     `json:"outcome"` // intended, done, refused, unknown
	Total        string     `json:"total"`
	Fund         string     `json:"fund"`
	Account      string     `json:"account"`
	Cash         string     `json:"cash"`
	SettlementID string     `json:"settlement_id,omitempty"`
	MdtrtID      string     `json:"mdtrt_id,omitempty"`
	Holder       string     `json:"holder"`
	Undoes       int64      `json:"undoes,omitempty"`      // the entry that this one takes back
	ReversedBy   int64      `json:"reversed_by,omitempty"` // the entry that took this one back
	Fault        *Fault     `json:"fault"`
}

// JournalDay is the journal of one day with its sums over outcome done.
type JournalDay struct {
	Day     string    `json:"day"`
	Entries []Entry   `json:"entries"`
	Totals  DayTotals `json:"totals"`
}

// DayTotals counts a day by outcome and adds up what is done.
type DayTotals struct {
	Done    int    `json:"done"`
	Refused int    `json:"refused"`
	Unknown int    `json:"unknown"`
	Total   string `json:"total"`
	Fund    string `json:"fund"`
	Account string `json:"account"`
	Cash    string `json:"cash"`
}

// A PriceItem is one row of the institution's price list.
type PriceItem struct {
	Code  string `json:"code"`
	Name  string `json:"name"`
	Price string `json:"price"`
}

// A Check is one finding of the doctor.
type Check struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Text  Text   `json:"text"`
	Fault *Fault `json:"fault,omitempty"`
}

// An APDUExchange is one raw command and its answer, in hexadecimal.
type APDUExchange struct {
	Command  string `json:"command"`
	Response string `json:"response"`
	Status   string `json:"status"`
	Text     string `json:"text"`
}
