package centersim

import (
	"cmp"
	"errors"
)

// uploads are transactions that tell the centre something and ask nothing: it
// checks them against the table, keeps their digest and how many records they
// had, and forgets the rest, which is full of personal data.
var uploads = map[string]bool{
	"2306": true, "2406": true, "3301": true, "3401": true, "3401A": true, "3402": true, "3403": true,
	"3501": true, "3502": true, "3503": true, "3504": true, "3505": true, "3506": true, "3507": true,
	"4101": true, "4102": true, "4201": true, "4301": true, "4302": true, "4401": true, "4402": true,
	"4501": true, "4502": true, "4503": true, "4504": true, "4505": true, "4506": true, "4601": true, "4602": true, "4701": true,
}

// taken is an upload as booked.
type taken struct {
	Records int    `json:"records"`
	Number  string `json:"number,omitempty"` // 2406, 4101: the answer's
	SetlID  string `json:"setl_id,omitempty"`
}

// takeUpload books an upload. What names a settlement or a visit of the centre
// must name one of this institution.
func (c *Center) takeUpload(r *request, e *event) error {
	x := &taken{}
	if len(r.nodes["setlinfo"]) > 1 || (r.infno == "4102" && len(r.nodes["data"]) > 1) {
		return refuse("一次只能上传一份结算清单")
	}
	for _, records := range r.nodes {
		x.Records += len(records)
		for _, d := range records {
			if id := d.text("setl_id"); id != "" {
				t := c.state.bySetl[id]
				if t == nil || t.Institution != r.institution || (d.text("mdtrt_id") != "" && d.text("mdtrt_id") != t.MdtrtID) {
					return refuse("未查询到结算信息")
				}
			}
			if id := d.text("mdtrt_id"); id != "" && d.text("psn_no") != "" {
				v := c.state.visits[id]
				if v == nil || v.institution != r.institution || v.PsnNo != d.text("psn_no") {
					return refuse("未查询到就诊信息")
				}
			}
		}
	}
	switch r.infno {
	case "4101": // the statement of a settlement, once for each
		d := r.one("setlinfo")
		x.SetlID = d.text("setl_id")
		switch t := c.state.bySetl[x.SetlID]; {
		case !c.state.stands(t):
			return refuse("该结算已退费，不能上传结算清单")
		case t.PsnNo != d.text("psn_no"):
			return refuse("人员编号psn_no与结算信息不一致")
		case c.state.lists[x.SetlID] != "":
			return refuse("该结算的结算清单已上传")
		}
		x.Number = c.newID("5", cmp.Or(r.insuArea, r.careArea), e.Time)
	case "4102":
		x.SetlID = r.one("data").text("setl_id")
		if c.state.lists[x.SetlID] == "" {
			return refuse("未查询到该结算的结算清单")
		}
	case "2406":
		x.Number = c.newID("5", cmp.Or(r.insuArea, r.careArea), e.Time)
	}
	e.Taken = x
	return nil
}

func (s *state) applyTaken(e *event) error {
	if e.Infno != "4101" {
		return nil
	}
	if s.bySetl[e.Taken.SetlID] == nil || s.lists[e.Taken.SetlID] != "" {
		return errors.New("the statement of a settlement that is not there, or a second one")
	}
	s.lists[e.Taken.SetlID] = e.Taken.Number
	return nil
}

func takenOutput(e *event) any {
	switch e.Infno {
	case "4101":
		return object{"data": object{"setl_list_id": e.Taken.Number}}
	case "2406":
		return object{"IptPsnSpFlagRegOut": object{"ipt_psn_sp_flag_detl_id": e.Taken.Number}}
	}
	return object{}
}
