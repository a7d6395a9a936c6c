package centersim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// event is one booking, as it stands in the ledger. It holds results (the
// split of every line, the sums of a settlement), not only what was asked for:
// a ledger means the same after policy and catalogue were edited.
type event struct {
	Infno       string    `json:"infno"`
	MsgID       string    `json:"msgid,omitempty"`
	Institution string    `json:"fixmedins_code,omitempty"`
	Time        time.Time `json:"time"`
	Digest      string    `json:"input_sha256,omitempty"`

	Opened     *opened     `json:"opened,omitempty"`
	SignIn     *signIn     `json:"sign_in,omitempty"`
	Register   *register   `json:"register,omitempty"`
	Visit      *visitInfo  `json:"visit,omitempty"`
	Fees       *fees       `json:"fees,omitempty"`
	Settlement *settlement `json:"settlement,omitempty"`
	Refund     *settlement `json:"refund,omitempty"` // 2208 and its kin, and 2601 of a settlement
	SignOut    *signOut    `json:"sign_out,omitempty"`
	Upload     *file       `json:"upload,omitempty"`
	Statement  *file       `json:"statement,omitempty"` // the result file of 3202
	Sale       *sale       `json:"sale,omitempty"`      // 2102

	StayLines       *fees        `json:"stay_lines,omitempty"` // 2301
	StayLinesCancel *linesCancel `json:"stay_lines_cancel,omitempty"`
	Discharge       *discharge   `json:"discharge,omitempty"` // 2402, 2405

	Void *voided `json:"void,omitempty"` // 2601 of what never arrived

	Declaration    *declaration    `json:"filing,omitempty"` // 2501, 2503, 2505, 2507
	DeclarationEnd *declarationEnd `json:"filing_cancel,omitempty"`
	Debit          *CardDebit      `json:"card_debit,omitempty"`   // see offline.go
	Taken          *taken          `json:"upload_taken,omitempty"` // of a transaction of uploads.go
	Claim          *claim          `json:"claim,omitempty"`        // 3203
	ClaimEnd       *claimEnd       `json:"claim_cancel,omitempty"` // 3204

	FeesCancel *feesCancel     `json:"fees_cancel,omitempty"`
	Cancel     *registerCancel `json:"register_cancel,omitempty"`
}

// opened is the first event of every ledger.
type opened struct {
	Ledger  string `json:"ledger"`
	Version int    `json:"version"`
}

const (
	ledgerName    = "onecard simulated insurance centre"
	ledgerVersion = 1
)

type signIn struct {
	SignNo string `json:"sign_no"`
	Opter  string `json:"opter_no"`
}

type signOut struct {
	SignNo string `json:"sign_no"`
}

type register struct {
	MdtrtID  string    `json:"mdtrt_id"`
	PsnNo    string    `json:"psn_no"`
	Insutype string    `json:"insutype"`
	IptOtpNo string    `json:"ipt_otp_no"`
	CareArea string    `json:"mdtrtarea_admvs"`
	Begin    time.Time `json:"begntime"`

	Kind   string            `json:"kind,omitempty"` // of care
	Extras map[string]string `json:"exp_content,omitempty"`

	Info *visitInfo `json:"info,omitempty"` // of an inpatient: admission brings the diagnoses
}

type visitInfo struct {
	MdtrtID   string      `json:"mdtrt_id"`
	MedType   string      `json:"med_type"`
	DiseCodg  string      `json:"dise_codg"`
	DiseName  string      `json:"dise_name"`
	Diagnoses []diagnosis `json:"diseinfo"`
	Begin     *time.Time  `json:"begntime,omitempty"` // of a stay, changed by 2403
}

type diagnosis struct {
	Code string `json:"diag_code"`
	Name string `json:"diag_name"`

	// Older ledgers do not have these; only 5202 shows them.
	Type   string     `json:"diag_type,omitempty"`
	Order  string     `json:"diag_srt_no,omitempty"`
	Dept   string     `json:"diag_dept,omitempty"`
	Doctor string     `json:"dise_dor_no,omitempty"`
	At     *time.Time `json:"diag_time,omitempty"`
}

type fees struct {
	MdtrtID   string `json:"mdtrt_id"`
	ChrgBchno string `json:"chrg_bchno"`
	Lines     []line `json:"feedetail"`
}

type feesCancel struct {
	MdtrtID string   `json:"mdtrt_id"`
	Batches []string `json:"chrg_bchno"`
}

type registerCancel struct {
	MdtrtID string `json:"mdtrt_id"`
}

// voided is a msgid that was reversed before it arrived: it must not any more.
type voided struct {
	MsgID string `json:"omsgid"`
}

// visit is what has become of a registration.
type visit struct {
	register
	institution string
	info        *visitInfo
	batches     map[string]*batch
	feedetlSn   map[string]bool
	cancelled   bool
	discharged  *time.Time // an inpatient who has left
	setl        []string   // every row of the visit, refunds included
}

// settled tells whether any batch is settled and not refunded.
func (v *visit) settled() bool {
	for _, b := range v.batches {
		if b.settled() {
			return true
		}
	}
	return false
}

type batch struct {
	fees
	digest string
	setl   []string // settlements that were not refunded: one, or more of a careless centre (RepeatBook)
}

func (b *batch) settled() bool { return len(b.setl) > 0 }

type accountKey struct{ psnNo, insutype string }

type yearKey struct {
	accountKey
	year int
	kind string // of care
}

// state is what the bookings add up to. It changes in apply only, by live
// bookings and by the replay of the ledger alike.
type state struct {
	rules       *rules
	signIns     map[string]*event    // sign_no
	byMsgID     map[[2]string]*event // institution, msgid: the last booking
	visits      map[string]*visit    // mdtrt_id
	byOtp       map[[2]string]*visit // institution, ipt_otp_no
	accountUsed map[accountKey]fen
	used        map[yearKey]used
	settlements []*settlement          // and refunds, in the order of the ledger
	bySetl      map[string]*settlement // setl_id
	refunds     map[string]*settlement // setl_id of what was refunded
	files       map[string]*file       // file_qury_no
	voided      map[[2]string]bool     // institution, msgid

	declarations map[string]*declaration   // trt_dcla_detl_sn
	declared     map[string][]*declaration // psn_no
	lists        map[string]string         // setl_id to setl_list_id
	debits       map[[2]string]*CardDebit  // card and sequence; see offline.go
	debitOrder   []*CardDebit              // as they came
	claims       map[string]*claim         // clr_appy_evt_id
}

func newState(r *rules) *state {
	return &state{
		rules: r, signIns: map[string]*event{}, byMsgID: map[[2]string]*event{},
		visits: map[string]*visit{}, byOtp: map[[2]string]*visit{},
		accountUsed: map[accountKey]fen{}, used: map[yearKey]used{},
		bySetl: map[string]*settlement{}, refunds: map[string]*settlement{}, files: map[string]*file{}, voided: map[[2]string]bool{},
		declarations: map[string]*declaration{}, declared: map[string][]*declaration{}, lists: map[string]string{}, debits: map[[2]string]*CardDebit{}, claims: map[string]*claim{},
	}
}

// balance is the personal account of one insurance entry now.
func (s *state) balance(p *person, i *insurance) fen {
	return i.Balance - s.accountUsed[accountKey{p.PsnNo, i.Insutype}]
}

// apply books one event. An error means that the ledger does not fit the
// state; of a live event, checked before, it cannot happen.
func (s *state) apply(e *event) error {
	switch {
	case e.Opened != nil:
		if e.Opened.Ledger != ledgerName || e.Opened.Version != ledgerVersion {
			return fmt.Errorf("is a ledger %q of version %d", e.Opened.Ledger, e.Opened.Version)
		}
		return nil
	case e.SignIn != nil:
		s.signIns[e.SignIn.SignNo] = e
	case e.SignOut != nil:
		if s.signIns[e.SignOut.SignNo] == nil {
			return errors.New("the end of a sign-in that is not there")
		}
		delete(s.signIns, e.SignOut.SignNo)
	case e.Register != nil:
		if err := s.applyRegister(e, *e.Register); err != nil {
			return err
		}
	case e.Visit != nil:
		v := s.visits[e.Visit.MdtrtID]
		if v == nil {
			return errors.New("diagnoses of an unknown visit")
		}
		v.info = e.Visit
		if e.Visit.Begin != nil {
			v.Begin = *e.Visit.Begin
		}
	case e.Fees != nil:
		v := s.visits[e.Fees.MdtrtID]
		if v == nil || v.batches[e.Fees.ChrgBchno] != nil {
			return errors.New("fee lines of an unknown visit or a second batch of that number")
		}
		v.batches[e.Fees.ChrgBchno] = &batch{fees: *e.Fees, digest: e.Digest}
		for _, l := range e.Fees.Lines {
			v.feedetlSn[l.FeedetlSn] = true
		}
	case e.FeesCancel != nil:
		if err := s.applyFeesCancel(e.FeesCancel); err != nil {
			return err
		}
	case e.Cancel != nil:
		v := s.visits[e.Cancel.MdtrtID]
		if v == nil || len(v.batches) > 0 {
			return errors.New("the end of an unknown visit or of one with fee lines")
		}
		v.cancelled = true
		delete(s.byOtp, [2]string{v.institution, v.IptOtpNo})
	case e.Settlement != nil:
		if err := s.applySettlement(e.Settlement); err != nil {
			return err
		}
	case e.Sale != nil:
		if err := s.applySale(e); err != nil {
			return err
		}
	case e.StayLines != nil, e.StayLinesCancel != nil, e.Discharge != nil:
		if err := s.applyStay(e); err != nil {
			return err
		}
	case e.Upload != nil:
		e.Upload.institution = e.Institution
		s.files[e.Upload.Number] = e.Upload
	case e.Statement != nil:
		e.Statement.institution = e.Institution
		s.files[e.Statement.Number] = e.Statement
	case e.Void != nil:
		s.voided[[2]string{e.Institution, e.Void.MsgID}] = true
	case e.Declaration != nil, e.DeclarationEnd != nil:
		if err := s.applyDeclaration(e); err != nil {
			return err
		}
	case e.Debit != nil:
		if err := s.applyDebit(e.Debit); err != nil {
			return err
		}
	case e.Taken != nil:
		if err := s.applyTaken(e); err != nil {
			return err
		}
	case e.Claim != nil, e.ClaimEnd != nil:
		if err := s.applyClaim(e); err != nil {
			return err
		}
	case e.Refund != nil:
		if err := s.applyRefund(e.Refund); err != nil {
			return err
		}
	default:
		return errors.New("an event of unknown kind")
	}
	s.byMsgID[[2]string{e.Institution, e.MsgID}] = e
	return nil
}

func (s *state) applyRegister(e *event, g register) error {
	if s.rules.byNumber[g.PsnNo] == nil {
		return errors.New("a visit of a person who is not in people.json")
	}
	if s.visits[g.MdtrtID] != nil {
		return errors.New("a second visit of that number")
	}
	v := &visit{register: g, institution: e.Institution, info: g.Info, batches: map[string]*batch{}, feedetlSn: map[string]bool{}}
	s.visits[v.MdtrtID] = v
	if v.IptOtpNo != "" {
		s.byOtp[[2]string{e.Institution, v.IptOtpNo}] = v
	}
	return nil
}

func (s *state) applyFeesCancel(f *feesCancel) error {
	v := s.visits[f.MdtrtID]
	for _, number := range f.Batches {
		if v == nil || v.batches[number] == nil || v.batches[number].settled() {
			return errors.New("the end of fee lines that are not there or settled")
		}
		for _, l := range v.batches[number].Lines {
			delete(v.feedetlSn, l.FeedetlSn)
		}
		delete(v.batches, number)
	}
	return nil
}

func (s *state) applySettlement(t *settlement) error {
	v := s.visits[t.MdtrtID]
	if v == nil || v.batches[t.ChrgBchno] == nil {
		return errors.New("a settlement of an unknown visit or batch")
	}
	if t.Refunds != "" {
		return errors.New("a settlement that calls itself a refund")
	}
	b := v.batches[t.ChrgBchno]
	if err := s.count(t); err != nil {
		return err
	}
	b.setl = append(b.setl, t.SetlID)
	return nil
}

// applyRefund books the opposite of a settlement: everything it took is given
// back, and its batch is open again.
func (s *state) applyRefund(t *settlement) error {
	old := s.bySetl[t.Refunds]
	if old == nil || old.Refunds != "" || s.refunds[t.Refunds] != nil {
		return errors.New("a refund of an unknown settlement, of a refund or of one that was refunded")
	}
	if !t.undoes(old) {
		return errors.New("a refund that is not the opposite of its settlement")
	}
	if err := s.count(t); err != nil {
		return err
	}
	s.refunds[t.Refunds] = t
	if b := s.visits[t.MdtrtID].batches[t.ChrgBchno]; b != nil {
		b.setl = slices.DeleteFunc(b.setl, func(id string) bool { return id == t.Refunds })
	}
	return nil
}

// count takes the amounts of a settlement or a refund into the totals.
func (s *state) count(t *settlement) error {
	if t.SetlID == "" || s.bySetl[t.SetlID] != nil {
		return errors.New("a setl_id that is missing or there twice")
	}
	if t.Total != t.Fund+t.Supplement+t.Person || t.Person != t.Account+t.Cash || t.Total != t.Full+t.OverLimit+t.PreSelf+t.InScope {
		return errors.New("a settlement whose amounts do not add up")
	}
	account := accountKey{t.PsnNo, t.Insutype}
	year := yearKey{account, t.Year, t.Kind}
	u := s.used[year]
	u.Deductible += t.Deductible
	u.Fund += t.Fund
	s.used[year] = u
	s.accountUsed[account] += t.Account
	if p := s.rules.byNumber[t.PsnNo]; p != nil {
		if i := p.active(t.Insutype); i != nil && s.balance(p, i) < 0 {
			return errors.New("the account was charged more than people.json gives it")
		}
	}
	s.settlements = append(s.settlements, t)
	s.bySetl[t.SetlID] = t
	if v := s.visits[t.MdtrtID]; v != nil {
		v.setl = append(v.setl, t.SetlID)
	}
	return nil
}
