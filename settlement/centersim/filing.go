package centersim

import (
	"errors"
	"slices"
	"time"
)

// Filings come from people.json and, while the centre runs, from transactions:
// 2501 a referral to another place, 2503 a chronic disease, 2505 the
// institutions where a person is to be treated, 2507 an accident. Those that
// are not withdrawn (2502, 2504, 2506) count at once.

// declaration is one filing by transaction. Details are what was sent besides,
// without names, addresses and numbers of people.
type declaration struct {
	Number   string            `json:"trt_dcla_detl_sn"`
	PsnNo    string            `json:"psn_no"`
	Insutype string            `json:"insutype,omitempty"`
	Begndate string            `json:"begndate"`
	Enddate  string            `json:"enddate,omitempty"`
	Area     string            `json:"area,omitempty"` // 2501: where to, 2, 4 or 6 digits
	Details  map[string]string `json:"details,omitempty"`

	infno, institution, digest string
	at                         time.Time
	withdrawn                  bool
}

// declarationEnd withdraws a filing.
type declarationEnd struct {
	Number string `json:"trt_dcla_detl_sn"`
}

// withdrawn names what each withdrawal takes back.
var withdraws = map[string]string{"2502": "2501", "2504": "2503", "2506": "2505"}

// kept are the details of each filing that its queries show.
var kept = map[string][]string{
	"2501": {"insu_optins", "mdtrtarea_admdvs", "diag_code", "diag_name", "reflin_medins_no", "reflin_medins_name", "hosp_agre_refl_flag", "refl_type", "refl_date", "refl_rea"},
	"2503": {"opsp_dise_code", "opsp_dise_name", "ide_fixmedins_no", "ide_fixmedins_name", "hosp_ide_date"},
	"2505": {"biz_appy_type", "fix_srt_no", "fixmedins_code", "fixmedins_name"},
	"2507": {"dcla_souc", "mdtrtarea_admdvs", "fixmedins_code", "adm_time", "trum_time", "chk_pay_flag"},
}

// file takes a filing or withdraws one. The same filing again, with another
// msgid, is the filing that is there: its old answer.
func (c *Center) file(r *request, e *event) (old any, err error) {
	if withdraws[r.infno] != "" {
		return nil, c.withdraw(r, e)
	}
	node := "data"
	if r.infno == "2501" {
		node = "refmedin"
	}
	d := r.one(node)
	p, err := c.personOf(r, d)
	if err != nil {
		return nil, err
	}
	for _, x := range c.state.declared[p.PsnNo] {
		if x.infno == r.infno && x.digest == r.digest && x.institution == r.institution && !x.withdrawn {
			return declarationOutput(x), nil
		}
	}
	x := &declaration{PsnNo: p.PsnNo, Insutype: d.text("insutype"), Begndate: d.text("begndate"), Enddate: d.text("enddate"), Details: map[string]string{}}
	for _, name := range kept[r.infno] {
		if text := d.text(name); text != "" {
			x.Details[name] = text
		}
	}
	for name, want := range map[string]string{"psn_cert_type": p.PsnCertType, "certno": p.Certno, "psn_name": p.PsnName} {
		if got := d.text(name); got != "" && got != want {
			return nil, refuse("%s与参保登记不一致", name)
		}
	}
	for _, name := range []string{"insu_optins", "insu_admdvs"} {
		if got := d.text(name); got != "" && got != r.insuArea {
			return nil, refuse("%s与参保地医保区划insuplc_admdvs不一致", name)
		}
	}
	if x.Insutype != "" && p.active(x.Insutype) == nil {
		return nil, refuse("该人员未参加险种[%s]或参保状态不正常", printable(x.Insutype))
	}
	switch r.infno {
	case "2501":
		err = c.referral(r, d, x)
	case "2503":
		err = c.chronicFiling(p, d, x, e.Time)
	case "2505":
		err = c.fixedInstitution(d, x)
	}
	if err != nil {
		return nil, err
	}
	if x.Enddate != "" && x.Enddate < x.Begndate {
		return nil, refuse("结束日期enddate早于开始日期begndate")
	}
	x.Number = c.newID("6", r.insuArea, e.Time)
	e.Declaration = x
	return nil, nil
}

// referral checks 2501. Without dates it begins on the day of the referral and
// holds as long as the policy says.
func (c *Center) referral(r *request, d record, x *declaration) error {
	area := d.text("mdtrtarea_admdvs")
	if !areaForm.MatchString(area) {
		return refuse("就医地行政区划mdtrtarea_admdvs应为6位数字")
	}
	if outType(area, r.insuArea) == "0" {
		return refuse("就医地与参保地相同，无需备案")
	}
	x.Area = area
	for len(x.Area) > 2 && x.Area[len(x.Area)-2:] == "00" {
		x.Area = x.Area[:len(x.Area)-2] // the whole city, the whole province
	}
	if x.Begndate == "" {
		x.Begndate = d.text("refl_date")
	}
	if months := c.rules.policy.Cross.ReferralMonths; x.Enddate == "" && months > 0 {
		begin, err := time.ParseInLocation("2006-01-02", x.Begndate, china)
		if err != nil {
			return refuse("开始日期begndate无效")
		}
		x.Enddate = begin.AddDate(0, months, -1).Format("2006-01-02")
	}
	for _, old := range c.state.declared[x.PsnNo] {
		if old.infno == r.infno && !old.withdrawn && old.Area == x.Area && overlap(old, x) {
			return refuse("备案有效期内已有到该就医地的转院备案")
		}
	}
	return nil
}

func (c *Center) chronicFiling(p *person, d record, x *declaration, now time.Time) error {
	code := d.text("opsp_dise_code")
	if d.text("hosp_ide_date") > now.In(china).Format("2006-01-02") {
		return refuse("医院鉴定日期hosp_ide_date晚于当前日期")
	}
	for _, old := range c.chronicOf(p) {
		if old.Details["opsp_dise_code"] == code && overlap(old, x) {
			return refuse("该病种在有效期内已有门诊慢特病备案")
		}
	}
	return nil
}

func (c *Center) fixedInstitution(d record, x *declaration) error {
	for _, old := range c.state.declared[x.PsnNo] {
		if old.infno == "2505" && !old.withdrawn && overlap(old, x) &&
			old.Details["biz_appy_type"] == x.Details["biz_appy_type"] && old.Details["fix_srt_no"] == x.Details["fix_srt_no"] {
			return refuse("该业务申请类型的定点排序号fix_srt_no已备案")
		}
	}
	return nil
}

// overlap tells whether two filings hold on one day.
func overlap(a, b *declaration) bool {
	return (a.Enddate == "" || b.Begndate <= a.Enddate) && (b.Enddate == "" || a.Begndate <= b.Enddate)
}

func (c *Center) withdraw(r *request, e *event) error {
	d := r.one("data")
	x := c.state.declarations[d.text("trt_dcla_detl_sn")]
	switch {
	case x == nil || x.institution != r.institution || x.infno != withdraws[r.infno]:
		return refuse("未查询到备案信息")
	case x.PsnNo != d.text("psn_no"):
		return refuse("人员编号psn_no与备案信息不一致")
	case x.withdrawn:
		return refuse("该备案已撤销")
	}
	e.DeclarationEnd = &declarationEnd{Number: x.Number}
	return nil
}

func declarationOutput(x *declaration) any {
	o := object{"trt_dcla_detl_sn": x.Number}
	if x.infno == "2503" || x.infno == "2505" {
		o["exp_content"] = nil
	}
	return object{"result": o}
}

func (s *state) applyDeclaration(e *event) error {
	if end := e.DeclarationEnd; end != nil {
		x := s.declarations[end.Number]
		if x == nil || x.withdrawn {
			return errors.New("the end of a filing that is not there")
		}
		x.withdrawn = true
		return nil
	}
	x := e.Declaration
	if x.Number == "" || s.declarations[x.Number] != nil {
		return errors.New("a filing without a number or a second one of that number")
	}
	if s.rules.byNumber[x.PsnNo] == nil {
		return errors.New("a filing of a person who is not in people.json")
	}
	x.infno, x.institution, x.digest, x.at = e.Infno, e.Institution, e.Digest, e.Time
	s.declarations[x.Number] = x
	s.declared[x.PsnNo] = append(s.declared[x.PsnNo], x)
	return nil
}

// filed tells whether a filing for that place holds on that day; any number
// of visits may use it.
func (c *Center) filed(p *person, area string, at time.Time) bool {
	return p.filed(area, at) || slices.ContainsFunc(c.state.declared[p.PsnNo], func(x *declaration) bool {
		return x.infno == "2501" && !x.withdrawn && len(area) >= len(x.Area) && area[:len(x.Area)] == x.Area && within(x.Begndate, x.Enddate, at)
	})
}

// chronicOf are a person's recognised chronic diseases: those of people.json
// and those filed since.
func (c *Center) chronicOf(p *person) []*declaration {
	var list []*declaration
	for _, x := range p.Chronic {
		name := x.DiseName
		if name == "" {
			name = x.DiseCodg
		}
		list = append(list, &declaration{
			Begndate: x.Begndate, Enddate: x.Enddate, Details: map[string]string{"opsp_dise_code": x.DiseCodg, "opsp_dise_name": name},
		})
	}
	for _, x := range c.state.declared[p.PsnNo] {
		if x.infno == "2503" && !x.withdrawn {
			list = append(list, x)
		}
	}
	return list
}

// referralsOf are a person's referrals: those of people.json, which say nothing
// of the hospital, and those filed since.
func (c *Center) referralsOf(p *person) []*declaration {
	var list []*declaration
	for _, f := range p.Filings {
		if f.Type != "referral" {
			continue // who lives elsewhere was referred by nobody
		}
		x := &declaration{Begndate: f.Begndate, Enddate: f.Enddate, Details: map[string]string{
			"reflin_medins_name": "-", "refl_rea": "-", "refl_date": f.Begndate, "mdtrtarea_admdvs": (f.Areas[0] + "0000")[:6],
		}}
		x.at, _ = time.ParseInLocation("2006-01-02", f.Begndate, china) // checked at the start
		list = append(list, x)
	}
	for _, x := range c.state.declared[p.PsnNo] {
		if x.infno == "2501" && !x.withdrawn {
			list = append(list, x)
		}
	}
	return list
}

// queryFilings answers 5301, 5302 and 5304.
func (c *Center) queryFilings(r *request, p *person, d record) (any, error) {
	rows := []object{}
	switch r.infno {
	case "5301":
		for _, x := range c.chronicOf(p) {
			rows = append(rows, object{
				"opsp_dise_code": x.Details["opsp_dise_code"], "opsp_dise_name": x.Details["opsp_dise_name"],
				"begndate": x.Begndate, "enddate": orNull(x.Enddate),
			})
		}
		return object{"feedetail": rows}, nil
	case "5302":
		for _, x := range c.state.declared[p.PsnNo] {
			if x.infno == "2505" && !x.withdrawn && x.Details["biz_appy_type"] == d.text("biz_appy_type") {
				rows = append(rows, object{
					"psn_no": p.PsnNo, "insutype": orNull(x.Insutype), "fix_srt_no": x.Details["fix_srt_no"], "fixmedins_code": x.Details["fixmedins_code"],
					"fixmedins_name": x.Details["fixmedins_name"], "begndate": x.Begndate, "enddate": orNull(x.Enddate), "memo": nil,
				})
			}
		}
		return object{"psnfixmedin": rows}, nil
	}
	from, to, err := span(d)
	if err != nil {
		return nil, err
	}
	for _, x := range c.referralsOf(p) {
		if x.at.Before(from) || x.at.After(to) {
			continue
		}
		insutype := x.Insutype
		if insutype == "" {
			insutype = p.Insurance[0].Insutype
		}
		row := object{
			"insutype": insutype, "dcla_souc": nil, "psn_no": p.PsnNo, "psn_cert_type": p.PsnCertType, "certno": p.Certno, "psn_name": p.PsnName,
			"gend": p.Gend, "brdy": p.Brdy, "tel": nil, "addr": nil, "emp_name": nil, "dise_cond_dscr": nil,
			"out_flag": outFlag(x.Details["mdtrtarea_admdvs"], r.insuArea), "begndate": x.Begndate, "enddate": orNull(x.Enddate),
			"opter_id": nil, "opter_name": nil, "opt_time": x.at.In(china).Format(timeForm),
			"hosp_agre_refl_flag": "1",
		}
		for _, name := range []string{"insu_optins", "diag_code", "diag_name", "reflin_medins_no", "reflin_medins_name", "refl_date", "refl_rea", "hosp_agre_refl_flag"} {
			if text := x.Details[name]; text != "" || row[name] == nil {
				row[name] = orNull(text)
			}
		}
		rows = append(rows, row)
	}
	return object{"refmedin": rows}, nil
}

// outFlag is 1 for care in another city or province.
func outFlag(care, insured string) string {
	if outType(care, insured) == "0" {
		return "0"
	}
	return "1"
}

// span reads begntime and endtime; without an end it is open.
func span(d record) (from, to time.Time, err error) {
	from, err = parseTime(d.text("begntime"))
	to = time.Date(9999, 12, 31, 0, 0, 0, 0, china)
	if text := d.text("endtime"); text != "" && err == nil {
		to, err = parseTime(text)
	}
	if err != nil || to.Before(from) {
		return from, to, refuse("结束时间endtime早于开始时间begntime")
	}
	return from, to, nil
}
