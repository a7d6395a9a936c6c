package centersim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// queryDiagnoses answers 5202: the diagnoses of a visit. Ledgers do not keep
// the names of doctors; their numbers stand for them.
func (c *Center) queryDiagnoses(r *request, p *person, d record) any {
	v := c.state.visits[d.text("mdtrt_id")]
	rows := []object{}
	if v == nil || v.institution != r.institution || v.PsnNo != p.PsnNo || v.info == nil {
		return object{"diseinfo": rows}
	}
	for n, x := range v.info.Diagnoses {
		kind, order, main := x.Type, x.Order, "0"
		if kind == "" { // ledgers of before
			kind, order = "1", fmt.Sprint(n+1)
		}
		if n == 0 {
			main = "1"
		}
		row := object{
			"diag_info_id": fmt.Sprintf("%s-%d", v.MdtrtID, n+1), "mdtrt_id": v.MdtrtID, "psn_no": p.PsnNo, "inout_diag_type": "1",
			"diag_type": kind, "maindiag_flag": main, "diag_srt_no": json.Number(order), "diag_code": x.Code, "diag_name": x.Name,
			"adm_cond": nil, "diag_dept": x.Dept, "dise_dor_no": x.Doctor, "dise_dor_name": x.Doctor, "diag_time": nil,
			"opter_id": nil, "opter_name": nil, "opt_time": nil,
		}
		if x.At != nil {
			row["diag_time"] = x.At.In(china).Format(timeForm)
		}
		rows = append(rows, row)
	}
	return object{"diseinfo": rows}
}

// queryStays answers 5303: who is in hospital here, of all people or of one.
func (c *Center) queryStays(r *request, d record, now time.Time) (any, error) {
	from, to, err := span(d)
	if err != nil {
		return nil, err
	}
	rows := []object{}
	for _, v := range c.state.visits {
		p := c.rules.byNumber[v.PsnNo]
		switch psn := d.text("psn_no"); {
		case v.Kind != inpatient || v.institution != r.institution || v.cancelled || v.discharged != nil:
			continue
		case v.Begin.Before(from) || v.Begin.After(to) || (psn != "" && (psn != v.PsnNo || !p.insuredAt(r.insuArea))):
			continue
		}
		row := object{
			"mdtrt_id": v.MdtrtID, "psn_no": p.PsnNo, "psn_cert_type": p.PsnCertType, "certno": p.Certno, "psn_name": p.PsnName,
			"gend": p.Gend, "brdy": p.Brdy, "age": p.age(now), "insutype": v.Insutype, "begndate": v.Begin.In(china).Format("2006-01-02"),
			"med_type": v.info.MedType, "ipt_otp_no": v.IptOtpNo, "out_flag": nil,
		}
		if i := p.active(v.Insutype); i != nil {
			row["out_flag"] = outFlag(v.CareArea, i.InsuplcAdmdvs)
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b object) int { return cmp.Compare(a["mdtrt_id"].(string), b["mdtrt_id"].(string)) })
	return rows, nil
}

// queryChronicLines answers 5205: what was charged for chronic diseases.
func (c *Center) queryChronicLines(r *request, p *person, d record) (any, error) {
	from, to, err := span(d)
	if err != nil {
		return nil, err
	}
	rows := []object{}
	for _, id := range slices.Sorted(maps.Keys(c.state.visits)) {
		v := c.state.visits[id]
		if v.PsnNo != p.PsnNo || v.info == nil || v.info.MedType != chronicType || v.Begin.Before(from) || v.Begin.After(to) {
			continue
		}
		for _, number := range slices.Sorted(maps.Keys(v.batches)) {
			for _, row := range c.queryLines(v, v.batches[number], nil) {
				row["psn_no"], row["fixmedins_code"], row["fixmedins_name"] = p.PsnNo, v.institution, "定点医药机构"+v.institution
				row["spec"], row["rx_drord_no"] = "-", nil
				rows = append(rows, row)
			}
		}
	}
	return object{"feedetail": rows}, nil
}

// The totals that 5206 tells apart. The interface announces no codes for them;
// these are this centre's own.
const (
	cumDeductible = "DEDC" // of the yearly deductible
	cumFund       = "FUND" // paid by the fund
)

// queryYear answers 5206: what a person has had this year, or in that of
// cum_ym, by insurance and kind of care.
func (c *Center) queryYear(p *person, d record, now time.Time) (any, error) {
	year := now.In(china).Year()
	if text := d.text("cum_ym"); text != "" {
		at, err := time.Parse("200601", text)
		if err != nil {
			return nil, refuse("累计年月cum_ym应为yyyyMM")
		}
		year = at.Year()
	}
	rows := []object{}
	for _, i := range p.Insurance {
		for _, kind := range []string{outpatient, chronic, pharmacy, inpatient} {
			u, ok := c.state.used[yearKey{accountKey{p.PsnNo, i.Insutype}, year, kind}]
			if !ok {
				continue
			}
			suffix := "-" + (&settlement{Kind: kind}).clrType()
			for code, amount := range map[string]fen{cumDeductible + suffix: u.Deductible, cumFund + suffix: u.Fund} {
				rows = append(rows, object{
					"insutype": i.Insutype, "year": fmt.Sprint(year), "cum_ym": fmt.Sprintf("%d00", year), "cum_type_code": code, "cum": num(amount),
				})
			}
		}
	}
	slices.SortFunc(rows, func(a, b object) int {
		return cmp.Or(cmp.Compare(a["insutype"].(string), b["insutype"].(string)), cmp.Compare(a["cum_type_code"].(string), b["cum_type_code"].(string)))
	})
	return object{"cuminfo": rows}, nil
}
