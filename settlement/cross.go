package settlement

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"onecard/fault"
)

// OutType is out_type: whether care and insurance are in the same place.
type OutType string

// The values of out_type.
const (
	Local         OutType = "0" // in the place of insurance
	InProvince    OutType = "1" // elsewhere in its province
	FromElsewhere OutType = "2" // the person comes from another province
	ToElsewhere   OutType = "3" // the same, as the place of insurance sees it
)

// AtInsurer is the same care as the place of insurance sees it.
func (o OutType) AtInsurer() OutType {
	if o == FromElsewhere {
		return ToElsewhere
	}
	return o
}

// CrossRules are what a region says of care outside the place of insurance.
// Nothing of it is in code; package region reads it from the region's file.
type CrossRules struct {
	// PoolDigits is how many digits of an administrative division share a fund:
	// 2 the province, 4 the city, 6 the county. 0: 4.
	PoolDigits int
	// Need are the out_type for which a filing must be there. Nil: 2.
	Need []OutType
	// Filings are the look-ups that tell filings: 5304, 2001. Nil: both.
	Filings []string
	// Unfiled says what to do without a valid filing: [UnfiledWarn],
	// [UnfiledRefuse] or [UnfiledIgnore]. "": warn.
	Unfiled string
	// Emergency are the med_type that count as filed. Nil: 13, 1301.
	Emergency []string
	// ChronicTypes are the med_type of filed chronic diseases. Nil: 14.
	ChronicTypes []string
	// Chronic are the diseases that settle directly for people from another
	// province, by the beginning of dise_codg. Nil: the five national ones.
	Chronic []string
	// Extras go into exp_content of every registration, admission and sale of
	// people from elsewhere, where nothing else is said.
	Extras map[string]string
}

// What to do without a valid filing.
const (
	UnfiledRefuse = "refuse"
	UnfiledWarn   = "warn" // the centre decides; usually it pays less
	UnfiledIgnore = "ignore"
)

var (
	emergencyTypes = []string{"13", "1301"}
	chronicTypes   = []string{"14"}
	// Hypertension, diabetes, cancer radio- and chemotherapy, uraemia dialysis,
	// anti-rejection after transplants.
	directChronic = []string{"M03900", "M01600", "M00500", "M07800", "M08300"}
)

var divisionForm = regexp.MustCompile(`^[0-9]{6}$`)

// Check says what of the rules cannot be.
func (r CrossRules) Check() error {
	switch r.PoolDigits {
	case 0, 2, 4, 6:
	default:
		return fmt.Errorf("pool_digits: 2, 4 or 6")
	}
	for _, o := range r.Need {
		if o != InProvince && o != FromElsewhere {
			return fmt.Errorf("need: 1 (in the province) or 2 (from another)")
		}
	}
	for i, infno := range r.Filings {
		if infno != "2001" && infno != "5304" || slices.Contains(r.Filings[:i], infno) {
			return fmt.Errorf("filings: 2001 and 5304, each once")
		}
	}
	switch r.Unfiled {
	case "", UnfiledRefuse, UnfiledWarn, UnfiledIgnore:
	default:
		return fmt.Errorf("unfiled: %s, %s or %s", UnfiledRefuse, UnfiledWarn, UnfiledIgnore)
	}
	for _, list := range [][]string{r.Emergency, r.ChronicTypes, r.Chronic} {
		if slices.Contains(list, "") {
			return fmt.Errorf("emergency, chronic_types, chronic: an empty code")
		}
	}
	if _, err := (Extras{More: r.Extras}).Content(); err != nil {
		return fmt.Errorf("exp_content: %w", err)
	}
	return nil
}

// Route compares place of care and place of insurance, both six digits. The
// two are also what routes a case: mdtrtarea_admvs and insuplc_admdvs of the
// envelope.
func (r CrossRules) Route(care, insured string) (OutType, error) {
	if !divisionForm.MatchString(care) || !divisionForm.MatchString(insured) {
		return "", &unsentError{fmt.Errorf("route: an area has not six digits: %w", errDivision)}
	}
	n := r.PoolDigits
	if n == 0 {
		n = 4
	}
	switch {
	case care[:2] != insured[:2]:
		return FromElsewhere, nil
	case care[:n] != insured[:n]:
		return InProvince, nil
	}
	return Local, nil
}

var errDivision = fault.New(fault.FieldType, "not an administrative division")

func orDefault(list, usual []string) []string {
	if list == nil {
		return usual
	}
	return list
}

func (r CrossRules) needs(o OutType) bool {
	if r.Need == nil {
		return o == FromElsewhere
	}
	return slices.Contains(r.Need, o)
}

// chronic says whether a med_type is that of a filed chronic disease.
func (r CrossRules) chronic(medType string) bool {
	return slices.Contains(orDefault(r.ChronicTypes, chronicTypes), medType)
}

// direct says whether a chronic disease settles directly for people from
// another province. Regions append digits to the national code.
func (r CrossRules) direct(disease string) bool {
	return slices.ContainsFunc(orDefault(r.Chronic, directChronic), func(code string) bool { return strings.HasPrefix(disease, code) })
}

// emergency says whether the care counts as filed.
func (r CrossRules) emergency(c Care) bool {
	return slices.Contains(orDefault(r.Emergency, emergencyTypes), c.MedType) || c.Extras.emergency()
}

// A Filing is a place's leave for care elsewhere, or for a chronic disease, as
// a look-up told it. It holds for any number of visits from its first to its
// last day.
type Filing struct {
	Infno       string // the look-up that told it
	Disease     string // opsp_dise_code, of a chronic disease
	Institution string // reflin_medins_no, where it names one
	Begin, End  time.Time
	Open        bool // it has no end
}

// covers says whether a filing holds on a day.
func (f Filing) covers(day time.Time) bool {
	return !f.Begin.After(day) && (f.Open || !day.After(f.End))
}

// newFiling reads the days of a filing. Centres write dates with and without a
// time and without dashes. A filing whose days cannot be read is none to rely on.
func newFiling(infno string, begin, end Text) (Filing, error) {
	f := Filing{Infno: infno, Open: end == ""}
	var err error
	if f.Begin, err = readDay(string(begin)); err == nil && !f.Open {
		f.End, err = readDay(string(end))
	}
	if err != nil {
		return Filing{}, fmt.Errorf("%s: the days of a filing: %w", infno, ErrMalformed)
	}
	return f, nil
}

func readDay(s string) (time.Time, error) {
	if len(s) > 10 {
		s = s[:10]
	}
	layout := DateLayout
	if len(s) == 8 {
		layout = "20060102"
	}
	return time.Parse(layout, s)
}

// dayOf is the day of an instant in China, as readDay has days.
func dayOf(t time.Time) time.Time {
	day, err := readDay(FormatDate(t))
	if err != nil {
		return time.Time{} // a formatted date parses
	}
	return day
}

// A FilingError is care for which no filing holds.
type FilingError struct {
	// Ended is the last day of the latest filing that ended, zero where none
	// did; Begins the first day of the earliest that is still to begin.
	Ended, Begins time.Time
	Disease       string // dise_codg of a chronic disease, "" for care elsewhere
	Words         string // the centre's, for a person
	direct        bool
}

// Error says what is missing, without the centre's words.
func (e *FilingError) Error() string {
	what := "filing"
	if e.Disease != "" {
		what = "filing of chronic disease " + printable(e.Disease)
	}
	switch {
	case e.direct:
		return "chronic disease " + printable(e.Disease) + " does not settle directly across provinces"
	case !e.Ended.IsZero():
		return what + " ended on " + e.Ended.Format(DateLayout)
	case !e.Begins.IsZero():
		return what + " begins on " + e.Begins.Format(DateLayout)
	}
	return "no " + what
}

// FaultDetail is the same with the centre's words, for a person.
func (e *FilingError) FaultDetail() string {
	if e.Words != "" {
		return e.Error() + ": " + e.Words
	}
	return e.Error()
}

// Code is OC-2207 where a filing was there on other days, OC-2208 where there
// is none, OC-2209 where none helps.
func (e *FilingError) Code() fault.Code {
	switch {
	case e.direct:
		return fault.ChronicNotDirect
	case !e.Ended.IsZero() || !e.Begins.IsZero():
		return fault.FilingExpired
	}
	return fault.FilingMissing
}

// Outcome is NotSent: nothing was asked that books.
func (e *FilingError) Outcome() Outcome { return NotSent }

// judge finds a filing that holds on the day, or says why there is none.
func judge(filings []Filing, day time.Time) (Filing, *FilingError) {
	refused := &FilingError{}
	for _, f := range filings {
		switch {
		case f.covers(day):
			return f, nil
		case f.Begin.After(day):
			if refused.Begins.IsZero() || f.Begin.Before(refused.Begins) {
				refused.Begins = f.Begin
			}
		case f.End.After(refused.Ended):
			refused.Ended = f.End
		}
	}
	return Filing{}, refused
}
