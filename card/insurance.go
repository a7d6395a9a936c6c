package card

import (
	"context"

	"onecard/card/profile"
)

// A Coded is a code of the card with its words; the zero Coded is unset.
type Coded struct {
	Code string        `json:"code"`
	Text profile.Words `json:"text,omitzero"`
}

// IsZero reports whether the code is unset.
func (c Coded) IsZero() bool { return c.Code == "" }

// A Pension is DF03/EF07, of a 1.0 card also DF03/EF0A (new rural pension).
type Pension struct {
	Type          Coded   `json:"type,omitzero"`           // tag 70
	Area          Coded   `json:"area,omitzero"`           // tag 71: where the person is insured
	AccountOpened Date    `json:"account_opened,omitzero"` // tag 6E
	Retired       Date    `json:"retired,omitzero"`        // tag 6C
	BenefitStart  Date    `json:"benefit_start,omitzero"`  // tag 6F
	Updated       Date    `json:"updated,omitzero"`        // tag 73
	Problems      []error `json:"problems,omitempty"`

	// On 1.0 cards the tags 70, 71 and 6F mean:
	MonthsContributed *int `json:"months_contributed,omitempty"`
	Savings           *Fen `json:"savings,omitempty"` // the person's own part of the account, with interest
	AccountChanged    Date `json:"account_changed,omitzero"`
}

// An Unemployment is DF03/EF05.
type Unemployment struct {
	Area             Coded   `json:"area,omitzero"`               // tag 61
	Registered       Date    `json:"registered,omitzero"`         // tag 60, here only where DF02/EF06 has none
	LastClaim        Date    `json:"last_claim,omitzero"`         // tag 98
	Updated          Date    `json:"updated,omitzero"`            // tag 62: claim reported or data updated
	ContributedTotal *int    `json:"contributed,omitempty"`       // tag 63, months
	ContributedValid *int    `json:"contributed_valid,omitempty"` // tag 64, months that still count
	BenefitMonths    *int    `json:"benefit_months,omitempty"`    // tag 65, months of benefit entitled
	BenefitReceived  *int    `json:"benefit_received,omitempty"`  // tag 66, months of benefit received
	MonthlyBenefit   *Fen    `json:"monthly_benefit,omitempty"`   // tag 61 on 1.0 cards
	Problems         []error `json:"problems,omitempty"`
}

// A MedicalInsurance is DF04/EF05.
type MedicalInsurance struct {
	Type          Coded  `json:"type,omitzero"`           // tag 81, first 3 characters
	Flags         []Part `json:"flags,omitempty"`         // tag 81, the rest: 1 is yes
	Area          Coded  `json:"area,omitzero"`           // tag 84
	HealthRecord  string `json:"health_record,omitempty"` // tag 87
	Person        Coded  `json:"person,omitzero"`         // tag 8C: in work, retired, ...
	AccountOpened Date   `json:"account_opened,omitzero"` // tag 80
	Account       string `json:"account,omitempty"`       // tag 8B
	Certificate   string `json:"certificate,omitempty"`   // tag 8A
	CardUse       Coded  `json:"card_use,omitzero"`       // tag 8F: online or offline

	Institutions           []string `json:"institutions,omitempty"`             // tags 83, 86, 89: codes
	WorkInjuryInstitutions []string `json:"work_injury_institutions,omitempty"` // tags 7D, 7E, 7F
	MaternityInstitutions  []string `json:"maternity_institutions,omitempty"`   // tags 8D, 8E
	InstitutionNames       []string `json:"institution_names,omitempty"`        // tags 81, 84, 87 on 1.0 cards
	Problems               []error  `json:"problems,omitempty"`
}

// A WorkInjury is DF03/EF15, on 1.0 cards DF03/EF08.
type WorkInjury struct {
	Area         Coded   `json:"area,omitzero"`          // tag 7A
	BenefitStart Date    `json:"benefit_start,omitzero"` // tag 7B
	Updated      Date    `json:"updated,omitzero"`       // tag 7C
	Problems     []error `json:"problems,omitempty"`
}

// A Maternity is DF03/EF16, on 1.0 cards DF03/EF09.
type Maternity struct {
	Area             Coded   `json:"area,omitzero"`               // tag 51
	UnemployedSpouse string  `json:"unemployed_spouse,omitempty"` // tag 5F
	Problems         []error `json:"problems,omitempty"`
}

// A MedicalTransaction is one record of DF04/EF08.
type MedicalTransaction struct {
	Sequence int     `json:"sequence"`
	Type     Coded   `json:"type,omitzero"` // 1 load, 2 settlement
	Terminal string  `json:"terminal,omitempty"`
	Time     Time    `json:"time,omitzero"`
	Account  Fen     `json:"account"`
	SelfPaid *Fen    `json:"self_paid,omitempty"` // not in account-only mode
	Pooling  *Fen    `json:"pooling,omitempty"`
	Problems []error `json:"problems,omitempty"`
}

// Pension reads DF03/EF07; see [Card.ReadFile] for access and errors.
func (c *Card) Pension(ctx context.Context, kh KeyHolder) (Pension, error) {
	v, err := c.view(ctx, "DF03", "EF07", kh)
	return v.pension(), err
}

func (v view) pension() Pension {
	p := Pension{AccountOpened: v.date("6E"), Retired: v.date("6C"), Updated: v.date("73"), Problems: v.file.Problems()}
	if r := v.get("70"); r.V1 {
		p.MonthsContributed = number(r)
	} else {
		p.Type = coded(r)
	}
	if r := v.get("71"); r.V1 {
		p.Savings = amount(r)
	} else {
		p.Area = coded(r)
	}
	if r := v.get("6F"); r.V1 {
		p.AccountChanged = r.Value.Date()
	} else {
		p.BenefitStart = r.Value.Date()
	}
	return p
}

// Unemployment reads DF03/EF05; see [Card.ReadFile] for access and errors.
func (c *Card) Unemployment(ctx context.Context, kh KeyHolder) (Unemployment, error) {
	v, err := c.view(ctx, "DF03", "EF05", kh)
	u := Unemployment{Registered: v.date("60"), LastClaim: v.date("98"), Updated: v.date("62"),
		ContributedTotal: number(v.get("63")), ContributedValid: number(v.get("64")),
		BenefitMonths: number(v.get("65")), BenefitReceived: number(v.get("66")), Problems: v.file.Problems()}
	if r := v.get("61"); r.V1 {
		u.MonthlyBenefit = amount(r)
	} else {
		u.Area = coded(r)
	}
	return u, err
}

// MedicalInsurance reads DF04/EF05; see [Card.ReadFile] for access and errors.
func (c *Card) MedicalInsurance(ctx context.Context, kh KeyHolder) (MedicalInsurance, error) {
	v, err := c.view(ctx, "DF04", "EF05", kh)
	m := MedicalInsurance{Person: coded(v.get("8C")), AccountOpened: v.date("80"), Account: v.text("8B"),
		Certificate: v.text("8A"), CardUse: coded(v.get("8F")),
		Institutions: v.texts("83", "86", "89"), WorkInjuryInstitutions: v.texts("7D", "7E", "7F"),
		MaternityInstitutions: v.texts("8D", "8E"), Problems: v.file.Problems()}
	if r := v.get("81"); r.V1 {
		m.InstitutionNames = append(m.InstitutionNames, nonEmpty(r)...)
	} else if len(r.Parts) > 0 {
		m.Type = Coded{r.Parts[0].Code, r.Parts[0].Text}
		m.Flags = r.Parts[1:]
	}
	if r := v.get("84"); r.V1 {
		m.InstitutionNames = append(m.InstitutionNames, nonEmpty(r)...)
	} else {
		m.Area = coded(r)
	}
	if r := v.get("87"); r.V1 {
		m.InstitutionNames = append(m.InstitutionNames, nonEmpty(r)...)
	} else {
		m.HealthRecord = r.Value.String()
	}
	return m, err
}

// WorkInjury reads DF03/EF15, on 1.0 cards DF03/EF08; see [Card.ReadFile] for
// access and errors.
func (c *Card) WorkInjury(ctx context.Context, kh KeyHolder) (WorkInjury, error) {
	v, err := c.view(ctx, "DF03", c.byVersion("EF08", "EF15"), kh)
	return WorkInjury{coded(v.get("7A")), v.date("7B"), v.date("7C"), v.file.Problems()}, err
}

// Maternity reads DF03/EF16, on 1.0 cards DF03/EF09; see [Card.ReadFile] for
// access and errors.
func (c *Card) Maternity(ctx context.Context, kh KeyHolder) (Maternity, error) {
	v, err := c.view(ctx, "DF03", c.byVersion("EF09", "EF16"), kh)
	return Maternity{coded(v.get("51")), v.text("5F"), v.file.Problems()}, err
}

// MedicalTransactions reads DF04/EF08, newest first; see [Card.ReadFile] for
// access and errors.
func (c *Card) MedicalTransactions(ctx context.Context, kh KeyHolder) ([]MedicalTransaction, error) {
	file, err := c.ReadFile(ctx, FileID{"DF04", "EF08"}, kh)
	var list []MedicalTransaction
	for _, r := range file.Records {
		f := fields(r)
		t := MedicalTransaction{Type: coded(f(1)), Terminal: f(2).Value.String(), Time: f(3).Value.Time(),
			SelfPaid: amount(f(5)), Pooling: amount(f(6)), Problems: problems([]Record{r})}
		t.Sequence, _ = f(0).Value.Int()
		t.Account, _ = f(4).Value.Fen()
		list = append(list, t)
	}
	return list, err
}

func (c *Card) byVersion(v1, later string) string {
	if c.issuer.Specification == profile.V10 {
		return v1
	}
	return later
}

// A view picks records of a file by tag; what is not there is unset.
type view struct{ file File }

func (c *Card) view(ctx context.Context, df, ef string, kh KeyHolder) (view, error) {
	file, err := c.ReadFile(ctx, FileID{df, ef}, kh)
	return view{file}, err
}

func (v view) get(tag string) Record {
	r, _ := v.file.Find(tag)
	return r
}

func (v view) date(tag string) Date { return v.get(tag).Value.Date() }

func (v view) text(tag string) string { return v.get(tag).Value.String() }

func (v view) texts(tags ...string) []string {
	var list []string
	for _, tag := range tags {
		list = append(list, nonEmpty(v.get(tag))...)
	}
	return list
}

func nonEmpty(r Record) []string {
	if s := r.Value.String(); s != "" {
		return []string{s}
	}
	return nil
}

func coded(r Record) Coded { return Coded{r.Value.String(), r.Text} }

func number(r Record) *int {
	if n, ok := r.Value.Int(); ok {
		return &n
	}
	return nil
}

func amount(r Record) *Fen {
	if f, ok := r.Value.Fen(); ok {
		return &f
	}
	return nil
}
