package terminal

import (
	"context"
	"maps"

	"onecard/settlement"
)

// extras are what a visit has outside the ordinary. They travel as exp_content.
func (req *VisitRequest) extras() settlement.Extras {
	e := settlement.Extras{More: maps.Clone(req.ExpContent)}
	switch {
	case req.Emergency && req.Referral:
		e.OtpErReflFlag = "3"
	case req.Referral:
		e.OtpErReflFlag = "2"
	case req.Emergency:
		e.OtpErReflFlag = "1"
	}
	if req.Trauma {
		e.TrumFlag = "1"
	}
	if req.ThirdParty {
		e.RelTtpFlag = "1"
	}
	return e
}

// A Filing is why a visit away from the place of insurance, or for a chronic
// disease, is paid for: the filing that holds on the day, or what stands in its
// place.
type Filing struct {
	OutType string `json:"out_type"` // 0 local, 1 in the province, 2 from another
	Grounds string `json:"grounds"`  // local, notneeded, filed, entitled, emergency, notfiled
	Begin   string `json:"begin,omitempty"`
	End     string `json:"end,omitempty"` // without: it has no end
	// Fault is why no filing holds, where the care goes on without one: the centre
	// decides what it pays.
	Fault *Fault `json:"fault,omitempty"`
}

// cover finds out, before anything is registered, whether the care can be
// settled directly where the person is insured. A filing that has ended, or that
// the region wants and is not there, is refused with its code.
func (s *Service) cover(ctx context.Context, r *record, req VisitRequest, scope settlement.Scope) error {
	e := req.extras()
	if r.Person.Area == "" {
		return nil // the centre does not say; it decides
	}
	care := settlement.Care{
		PsnNo: r.PsnNo, Insutype: r.Person.Insurance.Code, Insured: r.Person.Area, MedType: r.MedType.Code, Extras: e, At: r.began(),
	}
	if len(r.Diagnoses) > 0 {
		care.DiseCodg, care.DiseName = r.Diagnoses[0].Code, r.Diagnoses[0].Name
	}
	c, err := s.parts.Upstream.Cover(ctx, scope, care)
	if err != nil {
		return err
	}
	if r.Extras, err = s.parts.Upstream.ExpContent(r.Person.Area, e); err != nil {
		return err
	}
	r.Emergency = req.Emergency
	held := c.Filing
	if held == (settlement.Filing{}) {
		held = c.Chronic
	}
	if c.OutType == settlement.Local && held == (settlement.Filing{}) {
		return nil
	}
	r.Filing = &Filing{OutType: string(c.OutType), Grounds: string(c.Grounds)}
	if held != (settlement.Filing{}) {
		r.Filing.Begin = held.Begin.Format(settlement.DateLayout)
		if !held.Open {
			r.Filing.End = held.End.Format(settlement.DateLayout)
		}
	}
	if c.Warning != nil {
		r.Filing.Fault = Explain(c.Warning)
	}
	return nil
}
