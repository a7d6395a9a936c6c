package centersim

import (
	"slices"
	"time"
)

// opposite is what undoes a settlement: every amount negative, a number and a
// time of its own. Year is the settlement's: what it used up in that year is
// given back there.
func (s *settlement) opposite() *settlement {
	o := *s
	for _, f := range []*fen{
		&o.Total, &o.Full, &o.OverLimit, &o.PreSelf, &o.InScope,
		&o.Deductible, &o.Fund, &o.Supplement, &o.Person, &o.Account, &o.Cash,
	} {
		*f = -*f
	}
	o.FundRoom = 0
	o.Refunds, o.SetlID = s.SetlID, ""
	return &o
}

// undoes tells whether s is the opposite of a booked settlement.
func (s *settlement) undoes(old *settlement) bool {
	o := old.opposite()
	o.SetlID, o.SetlTime, o.MsgID, o.Infno, o.Reversal, o.Balance = s.SetlID, s.SetlTime, s.MsgID, s.Infno, s.Reversal, s.Balance
	return *o == *s
}

// refund takes a whole settlement back: 2208 an outpatient one, 2103 a
// pharmacy's, 2305 an inpatient's. Both rows stay in the ledger.
func (c *Center) refund(r *request, now time.Time) (*settlement, error) {
	d := r.one("data")
	v, err := c.visitOf(r, d)
	if err != nil {
		return nil, err
	}
	old := c.state.bySetl[d.text("setl_id")]
	switch {
	case old == nil || old.Institution != r.institution:
		return nil, refuse("未查询到结算信息")
	case old.MdtrtID != v.MdtrtID:
		return nil, refuse("结算信息不属于该次就诊")
	case old.Refunds != "":
		return nil, refuse("该结算为退费结算，不能再次退费")
	case c.state.refunds[old.SetlID] != nil:
		return nil, refuse("该结算已退费，不能重复退费")
	case undoneBy[old.infno()] != r.infno:
		return nil, refuse("交易[%s]的结算不能由交易[%s]撤销", old.infno(), r.infno)
	}
	return c.takeBack(r, old, now), nil
}

// undoneBy names the refund of each kind of settlement.
var undoneBy = map[string]string{"2207": "2208", "2102": "2103", "2304": "2305"}

func (s *settlement) infno() string {
	if s.Infno == "" {
		return "2207"
	}
	return s.Infno
}

func (c *Center) takeBack(r *request, old *settlement, now time.Time) *settlement {
	t := old.opposite()
	t.SetlID = c.newID("2", r.insuArea, now)
	t.SetlTime, t.MsgID, t.Infno = now, r.msgid, r.infno
	if p := c.rules.byNumber[t.PsnNo]; p != nil {
		if i := p.active(t.Insutype); i != nil {
			t.Balance = c.state.balance(p, i) - t.Account
		}
	}
	return t
}

// reverse undoes a transaction whose answer was lost, named by the msgid that
// was sent. Of a msgid that was booked twice (RepeatBook) it reverses the later
// one that still stands; asked again, the other. An old answer means that there
// is nothing to book.
func (c *Center) reverse(r *request, e *event) (old any, err error) {
	d := r.one("data")
	infno, msgid := d.text("oinfno"), d.text("omsgid")
	if base := variants[infno]; base != "" {
		infno = base
	}
	var undone bool
	switch {
	case infno == "2401":
		undone, err = c.reverseAdmission(r, e, msgid)
	case undoneBy[infno] != "":
		undone, err = c.reverseSettlement(r, e, infno, msgid)
	default:
		err = refuse("交易[%s]不能冲正", printable(infno))
	}
	switch {
	case err != nil || e.Refund != nil || e.Cancel != nil:
		return nil, err
	case undone && c.config.Reversal == ReversalAccept:
		return object{}, nil
	case undone:
		return nil, refuse("原交易已冲正或已撤销")
	case c.config.Reversal == ReversalRefuse:
		return nil, refuse("未查询到原交易")
	case c.state.voided[[2]string{r.institution, msgid}]:
		return object{}, nil
	case msgid == r.msgid:
		return nil, refuse("原报文ID与本报文ID相同")
	}
	if _, err := c.personOf(r, d); err != nil {
		return nil, err
	}
	e.Void = &voided{MsgID: msgid}
	return nil, nil
}

// reverseSettlement takes back the last settlement of that msgid that stands;
// undone tells that there was one and none stands.
func (c *Center) reverseSettlement(r *request, e *event, infno, msgid string) (undone bool, err error) {
	for _, old := range slices.Backward(c.state.settlements) {
		if old.MsgID != msgid || old.Institution != r.institution || old.Refunds != "" || old.infno() != infno {
			continue
		}
		if old.PsnNo != r.one("data").text("psn_no") {
			return false, refuse("人员编号psn_no与原交易不一致")
		}
		if c.state.refunds[old.SetlID] != nil {
			undone = true
			continue
		}
		e.Refund = c.takeBack(r, old, e.Time)
		e.Refund.Reversal = true
		return false, nil
	}
	return undone, nil
}
