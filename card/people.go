package card

import (
	"context"

	"onecard/card/profile"
)

// A Household is DF01/EF05.
type Household struct {
	Type     Coded   `json:"type,omitzero"`     // tag 20
	Address  string  `json:"address,omitempty"` // tag 21
	Area     Coded   `json:"area,omitzero"`     // tag 0E
	Problems []error `json:"problems,omitempty"`
}

// A Residence is DF01/EF06.
type Residence struct {
	Address      string  `json:"address,omitempty"`       // tag 23
	Area         Coded   `json:"area,omitzero"`           // tag 24
	Telephone    string  `json:"telephone,omitempty"`     // tag 28
	Contact      string  `json:"contact,omitempty"`       // tag 2C: contact or guardian
	ContactPhone string  `json:"contact_phone,omitempty"` // tag 2D
	Problems     []error `json:"problems,omitempty"`
}

// An Employer is DF01/EF09.
type Employer struct {
	Name         string  `json:"name,omitempty"`         // tag 2E
	Organisation string  `json:"organisation,omitempty"` // tag 30: organisation code
	Personnel    string  `json:"personnel,omitempty"`    // tag 32: personnel category
	EconomicType string  `json:"economic_type,omitempty"`
	Problems     []error `json:"problems,omitempty"`
}

// An EmploymentRegistration is DF02/EF06. What 1.0 cards mean by tags 4B, 4D,
// 4F and 50 stands in the last fields.
type EmploymentRegistration struct {
	Employed         Date    `json:"employed,omitzero"`          // tag 4C: last registered as employed
	EmploymentType   []Part  `json:"employment_type,omitempty"`  // tag 4B: type and form
	EmploymentArea   Coded   `json:"employment_area,omitzero"`   // tag 4D
	Unemployed       Date    `json:"unemployed,omitzero"`        // tag 60: last registered as unemployed
	UnemploymentType []Part  `json:"unemployment_type,omitzero"` // tag 4F: type, reason, reason of cancellation
	UnemploymentArea Coded   `json:"unemployment_area,omitzero"` // tag 50
	Occupation       string  `json:"occupation,omitempty"`       // tag 3A
	FirstWork        Date    `json:"first_work,omitzero"`        // tag 4B on 1.0 cards
	ContractSigned   Date    `json:"contract_signed,omitzero"`   // tag 4D on 1.0 cards
	ContractEnded    Date    `json:"contract_ended,omitzero"`    // tag 4F on 1.0 cards
	ContractFrom     Date    `json:"contract_from,omitzero"`     // tag 50 on 1.0 cards
	Problems         []error `json:"problems,omitempty"`
}

// A Job is one record of DF02/EF07.
type Job struct {
	Occupation string  `json:"occupation,omitempty"`
	From       Date    `json:"from,omitzero"`
	To         Date    `json:"to,omitzero"`
	Employer   string  `json:"employer,omitempty"`
	Problems   []error `json:"problems,omitempty"`
}

// A Dependant is DF03/EF18: the benefit of a dependant of an insured person.
type Dependant struct {
	Insurance    Coded   `json:"insurance,omitzero"`     // tag 74
	Area         Coded   `json:"area,omitzero"`          // tag 75
	Relation     string  `json:"relation,omitempty"`     // tag 76
	BenefitStart Date    `json:"benefit_start,omitzero"` // tag 77
	Updated      Date    `json:"updated,omitzero"`       // tag 78
	Problems     []error `json:"problems,omitempty"`
}

// A Voucher is one record of DF03/EF19: insurance somewhere for some time.
type Voucher struct {
	Insurance   Coded   `json:"insurance,omitzero"`   // tag 18
	Area        Coded   `json:"area,omitzero"`        // tag 19
	From        Date    `json:"from,omitzero"`        // tag 1A
	To          Date    `json:"to,omitzero"`          // tag 1B
	Contributed *Fen    `json:"contributed,omitzero"` // tag 1C: by the person
	Months      *int    `json:"months,omitempty"`     // tag 1D
	Issued      Date    `json:"issued,omitzero"`      // tag 1E
	Problems    []error `json:"problems,omitempty"`
}

// An OfflineSettlement is DF04/EF06. On 1.0 cards it is the account file: the
// last three fields.
type OfflineSettlement struct {
	Permitted string  `json:"permitted,omitempty"` // tag 90
	Total     *Fen    `json:"total,omitempty"`     // tag 92: settled off line so far
	Count     *int    `json:"count,omitempty"`     // tag 93: how often
	Balance   *Fen    `json:"balance,omitempty"`   // tag 90 on 1.0 cards
	SelfPaid  *Fen    `json:"yearly_self_paid,omitempty"`
	Pooling   *Fen    `json:"yearly_pooling,omitempty"`
	Problems  []error `json:"problems,omitempty"`
}

// A SpecialSettlement is one record of DF04/EF15: which medical transactions
// were of work injury, maternity or assistance.
type SpecialSettlement struct {
	Sequence int     `json:"sequence"`
	Kind     Coded   `json:"kind,omitzero"`
	Problems []error `json:"problems,omitempty"`
}

// Household reads DF01/EF05; see [Card.ReadFile] for access and errors.
func (c *Card) Household(ctx context.Context, kh KeyHolder) (Household, error) {
	v, err := c.view(ctx, "DF01", "EF05", kh)
	return Household{coded(v.get("20")), v.text("21"), coded(v.get("0E")), v.file.Problems()}, err
}

// Residence reads DF01/EF06; see [Card.ReadFile] for access and errors.
func (c *Card) Residence(ctx context.Context, kh KeyHolder) (Residence, error) {
	v, err := c.view(ctx, "DF01", "EF06", kh)
	return Residence{v.text("23"), coded(v.get("24")), v.text("28"), v.text("2C"), v.text("2D"), v.file.Problems()}, err
}

// EmploymentStatus reads DF01/EF07: employed, retired, unemployed, ...
func (c *Card) EmploymentStatus(ctx context.Context, kh KeyHolder) (Coded, error) {
	v, err := c.view(ctx, "DF01", "EF07", kh)
	return coded(v.get("29")), err
}

// Employer reads DF01/EF09; see [Card.ReadFile] for access and errors.
func (c *Card) Employer(ctx context.Context, kh KeyHolder) (Employer, error) {
	v, err := c.view(ctx, "DF01", "EF09", kh)
	e := Employer{Name: v.text("2E"), Organisation: v.text("30"), Problems: v.file.Problems()}
	if r := v.get("32"); r.V1 {
		e.EconomicType = r.Value.String()
	} else {
		e.Personnel = r.Value.String()
	}
	return e, err
}

// EmploymentRegistration reads DF02/EF06; see [Card.ReadFile] for access and
// errors.
func (c *Card) EmploymentRegistration(ctx context.Context, kh KeyHolder) (EmploymentRegistration, error) {
	v, err := c.view(ctx, "DF02", "EF06", kh)
	e := EmploymentRegistration{Employed: v.date("4C"), Unemployed: v.date("60"), Occupation: v.text("3A"), Problems: v.file.Problems()}
	// Each record of a 1.0 card may have been rewritten by itself.
	for _, m := range []struct {
		tag   string
		date  *Date
		code  *Coded
		parts *[]Part
	}{
		{"4B", &e.FirstWork, nil, &e.EmploymentType}, {"4D", &e.ContractSigned, &e.EmploymentArea, nil},
		{"4F", &e.ContractEnded, nil, &e.UnemploymentType}, {"50", &e.ContractFrom, &e.UnemploymentArea, nil},
	} {
		switch r := v.get(m.tag); {
		case r.V1:
			*m.date = r.Value.Date()
		case m.code != nil:
			*m.code = coded(r)
		default:
			*m.parts = r.Parts
		}
	}
	return e, err
}

// Jobs reads DF02/EF07, newest first; see [Card.ReadFile] for access and
// errors.
func (c *Card) Jobs(ctx context.Context, kh KeyHolder) ([]Job, error) {
	file, err := c.ReadFile(ctx, FileID{"DF02", "EF07"}, kh)
	var list []Job
	for _, r := range file.Records {
		f := fields(r)
		list = append(list, Job{f(0).Value.String(), f(1).Value.Date(), f(2).Value.Date(), f(3).Value.String(), problems([]Record{r})})
	}
	return list, err
}

// Dependant reads DF03/EF18; see [Card.ReadFile] for access and errors.
func (c *Card) Dependant(ctx context.Context, kh KeyHolder) (Dependant, error) {
	v, err := c.view(ctx, "DF03", "EF18", kh)
	return Dependant{coded(v.get("74")), coded(v.get("75")), v.text("76"), v.date("77"), v.date("78"), v.file.Problems()}, err
}

// Vouchers reads DF03/EF19, without the records that hold nothing; see
// [Card.ReadFile] for access and errors.
func (c *Card) Vouchers(ctx context.Context, kh KeyHolder) ([]Voucher, error) {
	file, err := c.ReadFile(ctx, FileID{"DF03", "EF19"}, kh)
	var list []Voucher
	for _, r := range file.Records {
		if r.Unset {
			continue
		}
		m := func(tag string) Record {
			found, _ := find(r.Members, tag)
			return found
		}
		list = append(list, Voucher{coded(m("18")), coded(m("19")), m("1A").Value.Date(), m("1B").Value.Date(),
			amount(m("1C")), number(m("1D")), m("1E").Value.Date(), problems([]Record{r})})
	}
	return list, err
}

// OfflineSettlement reads DF04/EF06, which wants the PIN and a key; see
// [Card.ReadFile] for access and errors.
func (c *Card) OfflineSettlement(ctx context.Context, kh KeyHolder) (OfflineSettlement, error) {
	v, err := c.view(ctx, "DF04", "EF06", kh)
	o := OfflineSettlement{Problems: v.file.Problems()}
	if r := v.get("90"); r.V1 {
		o.Balance = amount(r)
	} else {
		o.Permitted = r.Value.String()
	}
	if r := v.get("92"); r.V1 {
		o.SelfPaid = amount(r)
	} else {
		o.Total = amount(r)
	}
	if r := v.get("93"); r.V1 {
		o.Pooling = amount(r)
	} else {
		o.Count = number(r)
	}
	return o, err
}

// SpecialSettlements reads DF04/EF15, newest first; see [Card.ReadFile] for
// access and errors.
func (c *Card) SpecialSettlements(ctx context.Context, kh KeyHolder) ([]SpecialSettlement, error) {
	file, err := c.ReadFile(ctx, FileID{"DF04", "EF15"}, kh)
	var list []SpecialSettlement
	for _, r := range file.Records {
		s := SpecialSettlement{Kind: coded(fields(r)(1)), Problems: problems([]Record{r})}
		s.Sequence, _ = fields(r)(0).Value.Int()
		list = append(list, s)
	}
	return list, err
}

// RuralPension reads DF03/EF0A, which 1.0 cards alone have; see [Card.ReadFile]
// for access and errors.
func (c *Card) RuralPension(ctx context.Context, kh KeyHolder) (Pension, error) {
	v, err := c.view(ctx, "DF03", "EF0A", kh)
	return v.pension(), err
}

// fields picks the fields of a cyclic record, which stand in the order of the
// profile.
func fields(r Record) func(i int) Record {
	return func(i int) Record {
		if i < len(r.Members) {
			return r.Members[i]
		}
		return Record{}
	}
}

// has reports whether a card of this version has a file.
func (c *Card) has(f profile.File) bool {
	return c.issuer.Specification >= f.Since && c.issuer.Specification <= f.Until
}
