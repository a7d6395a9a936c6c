package centersim

import "errors"

// claim is an institution's application to be paid for a month (3203).
type claim struct {
	ID      string `json:"clr_appy_evt_id"`
	ClrType string `json:"clr_type"`
	Month   string `json:"setlym"`

	institution string
	withdrawn   bool
}

type claimEnd struct {
	ID string `json:"clr_appy_evt_id"`
}

// claimMoney answers 3203: the sums must be those of the centre's own rows of
// the span, over all insurances and with refunds negative, and a month is
// claimed once for each kind of clearing. What psntime and med_sumfee count is
// nowhere said; they are not held against anything.
func (c *Center) claimMoney(r *request, e *event) error {
	d := r.one("data")
	x := &claim{ClrType: d.text("clr_type"), Month: d.text("setlym")}
	s := scope{institution: r.institution, clrType: x.ClrType, optins: r.careArea, from: d.text("begndate"), to: d.text("enddate"), foreign: r.foreign}
	month := func(date string) string { return date[:4] + date[5:7] }
	if s.to < s.from || month(s.from) != x.Month || month(s.to) != x.Month {
		return refuse("开始日期begndate、结束日期enddate应在清算年月setlym之内")
	}
	for _, old := range c.state.claims {
		if old.institution == r.institution && old.ClrType == x.ClrType && old.Month == x.Month && !old.withdrawn {
			return refuse("该清算年月的清算类别已申请")
		}
	}
	rows := c.rows(s)
	sum := sumRows(rows)
	var cash fen
	for _, t := range rows {
		cash += t.Cash
	}
	for _, f := range []struct {
		name string
		want fen
	}{{"medfee_sumamt", sum.total}, {"fund_appy_sum", sum.fund}, {"acct_pay", sum.account}, {"cash_payamt", cash}} {
		got, err := d.amount(f.name)
		if err != nil {
			return err
		}
		if got != f.want {
			return refuse("清算申请的%s%s与中心的%s不一致", f.name, got.yuan(), f.want.yuan())
		}
	}
	x.ID = c.newID("4", r.careArea, e.Time)
	e.Claim = x
	return nil
}

// unclaim answers 3204.
func (c *Center) unclaim(r *request, e *event) error {
	x := c.state.claims[r.one("data").text("clr_appy_evt_id")]
	switch {
	case x == nil || x.institution != r.institution:
		return refuse("未查询到清算申请")
	case x.withdrawn:
		return refuse("该清算申请已撤销")
	}
	e.ClaimEnd = &claimEnd{ID: x.ID}
	return nil
}

func (s *state) applyClaim(e *event) error {
	if e.ClaimEnd != nil {
		x := s.claims[e.ClaimEnd.ID]
		if x == nil || x.withdrawn {
			return errors.New("the end of a claim that is not there")
		}
		x.withdrawn = true
		return nil
	}
	if s.claims[e.Claim.ID] != nil {
		return errors.New("a second claim of that number")
	}
	e.Claim.institution = e.Institution
	s.claims[e.Claim.ID] = e.Claim
	return nil
}
