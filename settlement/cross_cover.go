package settlement

import (
	"context"
	"errors"
	"slices"
	"time"

	"onecard/fault"
)

// Care is what is asked to be covered.
type Care struct {
	PsnNo    string
	Insutype string
	Insured  string // insuplc_admdvs, from 1101
	MedType  string
	DiseCodg string // of a chronic disease
	DiseName string
	Extras   Extras
	At       time.Time // when it begins
}

// Grounds is why care is covered.
type Grounds string

// The grounds.
const (
	AtHome        Grounds = "local"     // in the place of insurance: also for who is filed elsewhere
	NoFilingAsked Grounds = "notneeded" // elsewhere, where the region asks for none
	Filed         Grounds = "filed"     // a filing holds on the day
	Entitled      Grounds = "entitled"  // a fund pays its share (2001); with a Warning perhaps less than to the filed
	ByEmergency   Grounds = "emergency" // counts as filed
	NotFiled      Grounds = "notfiled"  // the centre decides what it pays; see Warning
)

// A Coverage is what is known before a visit begins elsewhere.
type Coverage struct {
	OutType OutType
	Grounds Grounds
	// Filing holds on the day; zero where none was needed.
	Filing Filing
	// Chronic is the filing of the chronic disease, zero for other care.
	Chronic Filing
	// Warning is why there is no filing, where care goes on without.
	Warning *FilingError
}

// Cover finds out, before anything is registered, whether care can be settled
// directly: it routes by the two areas, lets an emergency pass as filed, looks
// filings up in the ways the region has (2001, 5304; 5301 for chronic
// diseases) and checks that they hold on the day. Treatment in the place of
// insurance needs none, also for who has moved: it is the centre that decides
// what it pays in both places. A *[FilingError] says which filing is missing
// or ended. A look-up that the centre refuses tells of no filing; other errors
// of the look-ups are those of [Client.Do].
func (c *Client) Cover(ctx context.Context, s Scope, care Care) (Coverage, error) {
	rules := c.cfg.Regional.Cross
	out, err := rules.Route(c.cfg.Institution.Area, care.Insured)
	if err != nil {
		return Coverage{}, err
	}
	s.InsuplcAdmdvs = care.Insured
	cover := Coverage{OutType: out, Grounds: AtHome}
	day := dayOf(care.At)
	if rules.chronic(care.MedType) {
		if cover.Chronic, err = c.coverChronic(ctx, s, rules, out, care, day); err != nil {
			return cover, err
		}
	}
	switch {
	case out == Local:
		return cover, nil
	case !rules.needs(out) || rules.Unfiled == UnfiledIgnore:
		cover.Grounds = NoFilingAsked
		return cover, nil
	case rules.emergency(care):
		cover.Grounds = ByEmergency
		return cover, nil
	}
	return c.coverElsewhere(ctx, s, rules, care, cover, day)
}

// ExpContent is exp_content of a registration, admission or sale: what the
// caller says, and for people from elsewhere what the region wants besides.
func (c *Client) ExpContent(insured string, e Extras) (string, error) {
	rules := c.cfg.Regional.Cross
	if len(rules.Extras) > 0 {
		out, err := rules.Route(c.cfg.Institution.Area, insured)
		if err != nil {
			return "", err
		}
		if out != Local {
			e = e.With(rules.Extras)
		}
	}
	return e.Content()
}

// coverElsewhere looks filings up. 2001 knows them all, but tells only whether
// a fund pays; 5304 tells referrals, with their days.
func (c *Client) coverElsewhere(ctx context.Context, s Scope, rules CrossRules, care Care, cover Coverage, day time.Time) (Coverage, error) {
	ask := orDefault(rules.Filings, []string{"5304", "2001"})
	missing := &FilingError{}
	if slices.Contains(ask, "5304") {
		filings, err := c.referralFilings(ctx, s, care)
		words, err := refusal(err)
		if err != nil {
			return cover, err
		}
		var held Filing
		if held, missing = judge(filings, day); missing == nil {
			cover.Grounds, cover.Filing = Filed, held
			return cover, nil
		}
		missing.Words = words
	}
	if slices.Contains(ask, "2001") {
		entitled, words, err := c.entitled(ctx, s, care, day)
		if refused, other := refusal(err); other != nil {
			return cover, other
		} else if words == "" {
			words = refused
		}
		if entitled {
			cover.Grounds = Entitled
			if missing.Code() == fault.FilingExpired {
				cover.Warning = missing
			}
			return cover, nil
		}
		if words != "" {
			missing.Words = words
		}
	}
	if rules.Unfiled == UnfiledRefuse {
		return cover, missing
	}
	cover.Grounds, cover.Warning = NotFiled, missing
	return cover, nil
}

// refusal takes a centre's refusal of a look-up for what it says: that it knows
// no filing. Not every centre offers every look-up, and care is not refused for
// that; any other error stays one.
func refusal(err error) (words string, other error) {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return bounded(refused.Message, 200), nil
	}
	return "", err
}

// coverChronic checks the filing of a chronic disease, which is needed
// everywhere.
func (c *Client) coverChronic(ctx context.Context, s Scope, rules CrossRules, out OutType, care Care, day time.Time) (Filing, error) {
	if out == FromElsewhere && !rules.direct(care.DiseCodg) {
		return Filing{}, &FilingError{Disease: care.DiseCodg, direct: true}
	}
	records, err := c.QueryChronic(ctx, s, care.PsnNo)
	if err != nil {
		return Filing{}, err
	}
	var filings []Filing
	for _, r := range records {
		if string(r.OpspDiseCode) != care.DiseCodg {
			continue
		}
		f, err := newFiling("5301", r.Begndate, r.Enddate)
		if err != nil {
			return Filing{}, err
		}
		f.Disease = care.DiseCodg
		filings = append(filings, f)
	}
	f, missing := judge(filings, day)
	if missing != nil {
		missing.Disease = care.DiseCodg
		return Filing{}, missing
	}
	return f, nil
}

// A referral may have been filed long before it is used, and after the care
// began.
const referralsSince = 2 * 365 * 24 * time.Hour

func (c *Client) referralFilings(ctx context.Context, s Scope, care Care) ([]Filing, error) {
	records, err := c.QueryReferrals(ctx, s, care.PsnNo, FormatTime(care.At.Add(-referralsSince)), "")
	if err != nil {
		return nil, err
	}
	var list []Filing
	for _, r := range records {
		if r.HospAgreReflFlag == "0" || r.ReflinMedinsNo != "" && string(r.ReflinMedinsNo) != c.cfg.Institution.Code {
			continue // not agreed to, or to another hospital
		}
		f, err := newFiling("5304", r.Begndate, r.Enddate)
		if err != nil {
			return nil, err
		}
		f.Institution = string(r.ReflinMedinsNo)
		list = append(list, f)
	}
	return list, nil
}

// entitled asks 2001 whether any fund pays its share here on the day; words are
// what the centre says about one that does not.
func (c *Client) entitled(ctx context.Context, s Scope, care Care, day time.Time) (ok bool, words string, err error) {
	in := EntitlementQuery{
		PsnNo: care.PsnNo, Insutype: care.Insutype, FixmedinsCode: c.cfg.Institution.Code, MedType: care.MedType,
		Begntime: FormatTime(care.At), DiseCodg: care.DiseCodg, DiseName: care.DiseName,
	}
	if in.ExpContent, err = care.Extras.Content(); err != nil {
		return false, "", err
	}
	rows, err := c.Entitlements(ctx, s, in)
	if err != nil {
		return false, "", err
	}
	for _, r := range rows {
		if r.TrtEnjymntFlag != "1" {
			if words == "" {
				words = bounded(string(r.TrtChkRslt), 200)
			}
			continue
		}
		f, err := newFiling("2001", r.Begndate, r.Enddate)
		if err != nil {
			return false, "", err
		}
		ok = ok || f.covers(day)
	}
	return ok, words, nil
}
