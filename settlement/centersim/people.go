package centersim

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"time"
)

//go:embed data/people.json data/catalogue.json data/policy.json
var embedded embed.FS

// Data are the built-in people.json, catalogue.json and policy.json: a
// beginning for those of [Config.Data].
func Data() fs.FS {
	data, err := fs.Sub(embedded, "data")
	if err != nil {
		panic(err) // the name is a valid one
	}
	return data
}

// china is the time of every date and time of the interface.
var china = time.FixedZone("CST", 8*60*60)

// rules is what the three data files say: who is insured, what is paid for and
// how much.
type rules struct {
	byNumber map[string]*person // psn_no
	byCard   map[string]*person // card number
	byCert   map[string]*person // certno
	items    map[string]*item   // med_list_codg
	policy   policyFile
}

type peopleFile struct {
	Note   string    `json:"note"`
	People []*person `json:"people"`
}

// person is one insured person. The keys are the names that the interface uses.
type person struct {
	PsnNo       string         `json:"psn_no"`
	PsnName     string         `json:"psn_name"`
	PsnCertType string         `json:"psn_cert_type"`
	Certno      string         `json:"certno"`
	Gend        string         `json:"gend"`
	Naty        string         `json:"naty"`
	Brdy        string         `json:"brdy"`
	Card        *heldCard      `json:"card"`
	Insurance   []*insurance   `json:"insurance"`
	Identities  []identityInfo `json:"identities"`
	Filings     []filing       `json:"filings"` // of treatment in other provinces
	Chronic     []chronicCase  `json:"chronic"` // recognised chronic diseases

	born time.Time
}

// heldCard is the person's social security card. State is normal, lost,
// locked, cancelled or not-enabled; only a normal card identifies its holder.
type heldCard struct {
	Number             string `json:"number"`
	IdentificationCode string `json:"identification_code"`
	State              string `json:"state"`
}

type insurance struct {
	Insutype      string `json:"insutype"`
	PsnType       string `json:"psn_type"`
	PsnInsuStas   string `json:"psn_insu_stas"`
	PsnInsuDate   string `json:"psn_insu_date"`
	PausInsuDate  string `json:"paus_insu_date"`
	CvlservFlag   string `json:"cvlserv_flag"`
	InsuplcAdmdvs string `json:"insuplc_admdvs"`
	EmpName       string `json:"emp_name"`
	Balance       fen    `json:"balance"`
}

type identityInfo struct {
	PsnIdetType string `json:"psn_idet_type"`
	PsnTypeLv   string `json:"psn_type_lv"`
	Memo        string `json:"memo"`
	Begntime    string `json:"begntime"`
	Endtime     string `json:"endtime"`
}

// active returns the entry with which the person is insured now, nil if none.
func (p *person) active(insutype string) *insurance {
	for _, i := range p.Insurance {
		if i.Insutype == insutype && i.PsnInsuStas == "1" {
			return i
		}
	}
	return nil
}

// insuredAt tells whether one of the person's entries is with that area.
func (p *person) insuredAt(area string) bool {
	for _, i := range p.Insurance {
		if i.InsuplcAdmdvs == area {
			return true
		}
	}
	return false
}

type catalogueFile struct {
	Note  string  `json:"note"`
	Items []*item `json:"items"`
}

// item is a drug, service or material of the catalogue.
type item struct {
	Code           string  `json:"code"` // med_list_codg
	Name           string  `json:"name"`
	MedChrgitmType string  `json:"med_chrgitm_type"`
	Class          string  `json:"class"`   // A, B or C
	Selfpay        decimal `json:"selfpay"` // ratio paid before the insurance, 10^-4
	Ceiling        decimal `json:"ceiling"` // yuan per unit, 10^-4; 0 none
	Limited        bool    `json:"limited"`
	Basic          bool    `json:"basic"`

	ByArea map[string]*item `json:"by_area"` // other class, selfpay, ceiling where the care is given
}

// decimal is a number written as text, held in 10^-4.
type decimal int64

func (d *decimal) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a number is written as text, \"0.10\": %w", err)
	}
	v, err := parseDecimal(s, ratioScale)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no number with at most %d decimals", s, ratioScale)
	}
	*d = decimal(v)
	return nil
}

type policyFile struct {
	Note           string             `json:"note"`
	SignInRequired bool               `json:"sign_in_required"`
	Institutions   []string           `json:"institutions"` // codes admitted; none: all
	MedTypes       []string           `json:"med_types"`
	InpatientTypes []string           `json:"inpatient_med_types"`
	ReversedHidden bool               `json:"reversed_hidden"` // 3201 and 3202 do not show what 2601 reversed
	Cross          crossPolicy        `json:"cross_province"`
	Insurance      map[string]*policy `json:"insurance"` // by insutype

	// Provinces holds the insurance of people of other places, by the first
	// two, four or six digits of insuplc_admdvs; Insurance is for all others.
	Provinces map[string]map[string]*policy `json:"provinces"`
}

// policy is how one insurance pays: outpatients by the benefit itself,
// pharmacies and inpatients by their own.
type policy struct {
	Name string `json:"name"`
	benefit
	Account   bool     `json:"account"` // the personal account may pay
	Chronic   *benefit `json:"chronic"`
	Pharmacy  *benefit `json:"pharmacy"`
	Inpatient *benefit `json:"inpatient"`
}

// benefit is what a fund pays for one kind of care. Of an inpatient the
// deductible is per stay.
type benefit struct {
	Deductible      fen                `json:"deductible"` // per person and year
	Ratio           decimal            `json:"ratio"`
	RatioByPsnType  map[string]decimal `json:"ratio_by_psn_type"`
	Ceiling         fen                `json:"ceiling"` // of the fund's payments per person and year
	FundPayType     string             `json:"fund_pay_type"`
	FundPayTypeName string             `json:"fund_pay_type_name"`
	Supplement      *supplement        `json:"supplement"`
}

// The kinds of care, as visits and settlements name them.
const (
	outpatient = ""
	chronic    = "chronic" // an outpatient's recognised chronic disease
	pharmacy   = "pharmacy"
	inpatient  = "inpatient"
)

// of returns the benefit for a kind of care, nil where the insurance pays none.
func (p *policy) of(kind string) *benefit {
	switch kind {
	case chronic:
		return p.Chronic
	case pharmacy:
		return p.Pharmacy
	case inpatient:
		return p.Inpatient
	}
	return &p.benefit
}

// supplement is a second fund that pays a share of what the ceiling cut off.
type supplement struct {
	Insutype        string  `json:"insutype"` // the person must be in this insurance, too
	Field           string  `json:"field"`    // where the answer shows it
	Ratio           decimal `json:"ratio"`
	FundPayType     string  `json:"fund_pay_type"`
	FundPayTypeName string  `json:"fund_pay_type_name"`
}

func (p *benefit) ratioFor(psnType string) int64 {
	if r, ok := p.RatioByPsnType[psnType]; ok {
		return int64(r)
	}
	return int64(p.Ratio)
}

// loadRules reads people.json, catalogue.json and policy.json from data; a
// file that is not there (or all, where data is nil) is the embedded one.
func loadRules(data fs.FS) (*rules, error) {
	r := &rules{byNumber: map[string]*person{}, byCard: map[string]*person{}, byCert: map[string]*person{}, items: map[string]*item{}}
	var people peopleFile
	var catalogue catalogueFile
	for name, into := range map[string]any{"people.json": &people, "catalogue.json": &catalogue, "policy.json": &r.policy} {
		if err := readData(data, name, into); err != nil {
			return nil, err
		}
	}
	for i, p := range people.People {
		if err := r.addPerson(p); err != nil {
			return nil, fmt.Errorf("people.json: person %d: %w", i+1, err)
		}
	}
	for i, it := range catalogue.Items {
		if err := r.addItem(it); err != nil {
			return nil, fmt.Errorf("catalogue.json: item %d: %w", i+1, err)
		}
	}
	if err := r.policy.check(); err != nil {
		return nil, fmt.Errorf("policy.json: %w", err)
	}
	return r, nil
}

func readData(data fs.FS, name string, into any) error {
	var b []byte
	err := fs.ErrNotExist
	if data != nil {
		b, err = fs.ReadFile(data, name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		b, err = embedded.ReadFile(path.Join("data", name))
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	// A misspelt key would silently be a rule that does not hold.
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("read %s: something follows the JSON value", name)
	}
	return nil
}

var (
	areaForm       = regexp.MustCompile(`^[0-9]{6}$`)
	cardNumberForm = regexp.MustCompile(`^[0-9A-Z]{9}$`)
	cardCodeForm   = regexp.MustCompile(`^[0-9A-F]{32}$`)
)

func (r *rules) addPerson(p *person) error {
	if p == nil {
		return errors.New("is null")
	}
	if p.PsnNo == "" || len(p.PsnNo) > 30 || p.PsnName == "" || p.PsnCertType == "" {
		return errors.New("psn_no (at most 30 characters), psn_name and psn_cert_type are needed")
	}
	if p.PsnCertType == "01" && !validIDNumber(p.Certno) {
		return errors.New("certno is not an ID number: 18 characters with a GB 11643 check digit")
	}
	var err error
	if p.born, err = time.ParseInLocation("2006-01-02", p.Brdy, china); err != nil {
		return errors.New("brdy is not a date yyyy-MM-dd")
	}
	if r.byNumber[p.PsnNo] != nil || r.byCert[p.Certno] != nil {
		return errors.New("psn_no or certno is another person's already")
	}
	r.byNumber[p.PsnNo], r.byCert[p.Certno] = p, p
	if c := p.Card; c != nil {
		if !cardNumberForm.MatchString(c.Number) || !cardCodeForm.MatchString(c.IdentificationCode) {
			return errors.New("card: number has 9 characters, identification_code 32 hex digits in upper case")
		}
		if _, ok := cardStates[c.State]; !ok {
			return fmt.Errorf("card: state %q is not normal, lost, locked, cancelled or not-enabled", c.State)
		}
		if r.byCard[c.Number] != nil {
			return errors.New("card: number is another person's already")
		}
		r.byCard[c.Number] = p
	}
	if err := p.checkFilings(); err != nil {
		return err
	}
	for _, i := range p.Insurance {
		if i == nil || i.Insutype == "" || i.PsnType == "" || !areaForm.MatchString(i.InsuplcAdmdvs) {
			return errors.New("insurance: insutype, psn_type and insuplc_admdvs (6 digits) are needed")
		}
		if i.Balance < 0 {
			return errors.New("insurance: balance is negative")
		}
		if i.CvlservFlag == "" {
			i.CvlservFlag = "0"
		}
	}
	return nil
}

// cardStates gives the words with which a card in that state is refused.
var cardStates = map[string]string{
	"normal": "", "lost": "已挂失", "locked": "已锁定", "cancelled": "已注销", "not-enabled": "未启用",
}

func (r *rules) addItem(it *item) error {
	if it == nil || it.Code == "" || len(it.Code) > 50 || it.Name == "" || it.MedChrgitmType == "" {
		return errors.New("code (at most 50 characters), name and med_chrgitm_type are needed")
	}
	if r.items[it.Code] != nil {
		return fmt.Errorf("code %s is there twice", it.Code)
	}
	if !it.classed() {
		return fmt.Errorf("code %s: class A has selfpay 0, B between 0 and 1, C 1", it.Code)
	}
	for prefix, other := range it.ByArea {
		if other == nil || !prefixForm.MatchString(prefix) || !other.classed() || other.ByArea != nil {
			return fmt.Errorf("code %s: by_area: 2, 4 or 6 digits, with class, selfpay and ceiling", it.Code)
		}
	}
	r.items[it.Code] = it
	return nil
}

func (it *item) classed() bool {
	switch it.Class {
	case "A":
		return it.Selfpay == 0
	case "B":
		return it.Selfpay > 0 && it.Selfpay < ratioOne
	case "C":
		return it.Selfpay == ratioOne
	}
	return false
}

// supplementFields are the amounts of a settlement, besides hifp_pay, that
// make up fund_pay_sumamt.
var supplementFields = []string{"cvlserv_pay", "hifes_pay", "hifmi_pay", "hifob_pay", "maf_pay", "oth_pay", "hifdm_pay"}

func (p *policy) check() error {
	if p == nil {
		return errors.New("is null")
	}
	for _, kind := range []string{outpatient, chronic, pharmacy, inpatient} {
		if b := p.of(kind); b != nil {
			if err := b.check(); err != nil {
				return fmt.Errorf("%s %w", kind, err)
			}
		}
	}
	return nil
}

func (p *benefit) check() error {
	if p.Deductible < 0 || p.Ceiling < 0 || p.FundPayType == "" {
		return errors.New("deductible and ceiling are not negative, fund_pay_type is needed")
	}
	ratios := []decimal{p.Ratio}
	for _, r := range p.RatioByPsnType {
		ratios = append(ratios, r)
	}
	if s := p.Supplement; s != nil {
		ratios = append(ratios, s.Ratio)
		known := false
		for _, f := range supplementFields {
			known = known || f == s.Field
		}
		if !known || s.FundPayType == "" {
			return fmt.Errorf("supplement: field is one of %v, fund_pay_type is needed", supplementFields)
		}
	}
	for _, r := range ratios {
		if r > ratioOne {
			return errors.New("a ratio is above 1")
		}
	}
	return nil
}

// validIDNumber checks form and check digit (GB 11643, ISO 7064 MOD 11-2).
func validIDNumber(s string) bool {
	if len(s) != 18 {
		return false
	}
	sum, weight := 0, 1
	for i := 17; i >= 0; i-- {
		d := int(s[i] - '0')
		if i == 17 && s[i] == 'X' {
			d = 10
		} else if s[i] < '0' || s[i] > '9' {
			return false
		}
		sum += d * weight
		weight = weight * 2 % 11
	}
	return sum%11 == 1
}
