package centersim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// One process is the centres of all places: the catalogue is that of the place
// of care, deductible, ratio and ceiling are those of the place of insurance.

// crossPolicy is about care in another province than that of the insurance.
type crossPolicy struct {
	// Unfiled is what happens without a filing (备案): "reduce" takes Reduction
	// off the ratio, "refuse" refuses, "" does not ask.
	Unfiled    string   `json:"unfiled"`
	Reduction  decimal  `json:"reduction"`
	BothPlaces bool     `json:"both_places"` // who is filed elsewhere is still treated in full at home
	Chronic    []string `json:"chronic"`     // dise_codg that settle directly
	// ReferralMonths is how long a referral (2501) without an end holds; 0 is
	// without end.
	ReferralMonths int `json:"referral_months"`
}

const (
	unfiledReduced = "reduce"
	unfiledRefused = "refuse"
	notFiled       = "跨省异地就医未备案或备案不在有效期内"

	chronicType   = "14" // med_type of recognised chronic diseases
	emergencyType = "13"
)

// filing is the insured place's leave to be treated elsewhere. It begins and
// ends with its dates; without enddate it stays.
type filing struct {
	Type     string   `json:"type"`  // residence or referral
	Areas    []string `json:"areas"` // where to: 2, 4 or 6 digits
	Begndate string   `json:"begndate"`
	Enddate  string   `json:"enddate"`
}

type chronicCase struct {
	DiseCodg string `json:"dise_codg"`
	DiseName string `json:"dise_name"`
	Begndate string `json:"begndate"`
	Enddate  string `json:"enddate"`
}

var prefixForm = regexp.MustCompile(`^([0-9]{2}){1,3}$`)

func (p *person) checkFilings() error {
	span := func(begin, end string) error {
		_, err := time.Parse("2006-01-02", begin)
		if err == nil && end != "" {
			_, err = time.Parse("2006-01-02", end)
		}
		if err != nil || (end != "" && end < begin) {
			return errors.New("begndate and enddate (which may be empty) are dates yyyy-MM-dd in order")
		}
		return nil
	}
	for _, f := range p.Filings {
		if (f.Type != "residence" && f.Type != "referral") || len(f.Areas) == 0 {
			return errors.New("filings: type is residence or referral, areas are needed")
		}
		for _, a := range f.Areas {
			if !prefixForm.MatchString(a) {
				return errors.New("filings: an area has 2, 4 or 6 digits")
			}
		}
		if err := span(f.Begndate, f.Enddate); err != nil {
			return fmt.Errorf("filings: %w", err)
		}
	}
	for _, x := range p.Chronic {
		if x.DiseCodg == "" {
			return errors.New("chronic: dise_codg is needed")
		}
		if err := span(x.Begndate, x.Enddate); err != nil {
			return fmt.Errorf("chronic: %w", err)
		}
	}
	return nil
}

func (p *policyFile) check() error {
	switch p.Cross.Unfiled {
	case "", unfiledReduced, unfiledRefused:
	default:
		return fmt.Errorf("cross_province: unfiled %q is not reduce, refuse or empty", p.Cross.Unfiled)
	}
	if p.Cross.Reduction > ratioOne {
		return errors.New("cross_province: reduction is above 1")
	}
	if p.Cross.ReferralMonths < 0 {
		return errors.New("cross_province: referral_months is negative")
	}
	for insutype, x := range p.Insurance {
		if err := x.check(); err != nil {
			return fmt.Errorf("insurance %s: %w", insutype, err)
		}
	}
	for prefix, insurance := range p.Provinces {
		if !prefixForm.MatchString(prefix) {
			return fmt.Errorf("provinces: %q has not 2, 4 or 6 digits", prefix)
		}
		for insutype, x := range insurance {
			if err := x.check(); err != nil {
				return fmt.Errorf("provinces: %s: insurance %s: %w", prefix, insutype, err)
			}
		}
	}
	return nil
}

// at is the policy of a place of insurance: that of the longest prefix which
// has one, else the common one.
func (p *policyFile) at(area, insutype string) *policy {
	for n := 6; n >= 2; n -= 2 {
		if len(area) >= n {
			if x := p.Provinces[area[:n]][insutype]; x != nil {
				return x
			}
		}
	}
	return p.Insurance[insutype]
}

// in is the item as the catalogue of the place of care has it.
func (it *item) in(area string) *item {
	for n := 6; n >= 2; n -= 2 {
		if len(area) < n || it.ByArea[area[:n]] == nil {
			continue
		}
		here, other := *it, it.ByArea[area[:n]]
		here.Class, here.Selfpay, here.Ceiling = other.Class, other.Selfpay, other.Ceiling
		here.Limited = other.Limited
		return &here
	}
	return it
}

const fromOtherProvince = "2"

// outType is out_type as the place of care sees it: 0 local, 1 from another
// city of the province, 2 from another province. Older ledgers do not have
// the place of insurance: 0.
func outType(care, insured string) string {
	switch {
	case insured == "" || care[:4] == insured[:4]:
		return "0"
	case care[:2] == insured[:2]:
		return "1"
	}
	return fromOtherProvince
}

// payLoc tells pay_loc of 5203 from out_type.
var payLoc = map[string]string{"0": "2", "1": "3", "2": "4"}

// filed tells whether a filing of people.json for that place holds on that day.
func (p *person) filed(area string, at time.Time) bool {
	for _, f := range p.Filings {
		for _, prefix := range f.Areas {
			if strings.HasPrefix(area, prefix) && within(f.Begndate, f.Enddate, at) {
				return true
			}
		}
	}
	return false
}

func within(begin, end string, at time.Time) bool {
	day := at.In(china).Format("2006-01-02")
	return begin <= day && (end == "" || day <= end)
}

// unfiled returns what comes off the ratio because the care is not where it
// should be, or refuses it. An emergency counts as filed. Who has settled
// elsewhere is treated at home in full only where both_places says so.
func (c *Center) unfiled(r *request, t *settlement, g register, p *person) (int64, error) {
	extras := map[string]string{}
	for _, node := range []string{"data", "druginfo"} {
		for _, d := range r.nodes[node] {
			var err error
			if extras, err = readExtras(d); err != nil {
				return 0, err
			}
		}
	}
	cross := c.rules.policy.Cross
	asked := false
	switch {
	case cross.Unfiled == "" || t.MedType == emergencyType || emergency(g.Extras) || emergency(extras):
	case outType(t.CareArea, t.InsuArea) == fromOtherProvince:
		asked = !c.filed(p, t.CareArea, g.Begin)
	case !cross.BothPlaces:
		for _, f := range p.Filings {
			asked = asked || (f.Type == "residence" && within(f.Begndate, f.Enddate, g.Begin) && !c.filed(p, t.CareArea, g.Begin))
		}
	}
	if !asked {
		return 0, nil
	}
	if cross.Unfiled == unfiledRefused {
		return 0, refuse(notFiled)
	}
	return int64(cross.Reduction), nil
}

// chronicRefused says why a chronic disease is not settled as one, "" if it is.
func (c *Center) chronicRefused(p *person, disease string, at time.Time, care, insured string) string {
	recognised := slices.ContainsFunc(c.chronicOf(p), func(x *declaration) bool {
		return x.Details["opsp_dise_code"] == disease && within(x.Begndate, x.Enddate, at)
	})
	switch {
	case !recognised:
		return "该人员没有该病种的有效门诊慢特病备案"
	case outType(care, insured) == fromOtherProvince && !slices.Contains(c.rules.policy.Cross.Chronic, disease):
		return "该病种不能跨省直接结算"
	}
	return ""
}

// extraValues are the keys of exp_content that mean something here.
var extraValues = map[string]string{"TRUM_FLAG": "01", "REL_TTP_FLAG": "01", "OTP_ER_REFL_FLAG": "123"}

// readExtras reads exp_content: a JSON object as text, its keys in upper case.
// Other keys are kept: regions have their own.
func readExtras(d record) (map[string]string, error) {
	text := d.text("exp_content")
	if text == "" || text == "null" {
		return nil, nil
	}
	bad := refuse("字段扩展exp_content应为JSON对象文本，键为大写，值为文本或数字")
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	var values map[string]any
	if decoder.Decode(&values) != nil {
		return nil, bad
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, bad
	}
	extras := map[string]string{}
	for key, value := range values {
		if value == nil {
			continue
		}
		v := record{key: value}.text(key)
		if key != strings.ToUpper(key) || (v == "" && value != "") {
			return nil, bad
		}
		if strings.ContainsRune(key+v, 0) {
			return nil, bad
		}
		if want, known := extraValues[key]; known && v != "" && (len(v) != 1 || !strings.Contains(want, v)) {
			return nil, refuse("字段扩展exp_content的%s不是有效值", key)
		}
		extras[key] = v
	}
	return extras, nil
}

// emergency tells OTP_ER_REFL_FLAG 1, or 3: emergency and referral.
func emergency(extras map[string]string) bool {
	f := extras["OTP_ER_REFL_FLAG"]
	return f == "1" || f == "3"
}
