package terminal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"onecard/settlement"
)

// typeOutpatient is med_type of an ordinary outpatient visit.
const typeOutpatient = "11"

// certSocialCard is mdtrt_cert_type 03, certID psn_cert_type 01.
const (
	certSocialCard = "03"
	certID         = "01"
)

// OpenVisit begins a visit with the card in a reader: sign in where the day has
// no sign_no yet (9001), the person and the insurance (1101), registration
// (2201). The visit is stored before 2201 leaves.
func (s *Service) OpenVisit(ctx context.Context, req VisitRequest) (Visit, error) {
	if err := s.maySettle(); err != nil {
		return Visit{}, err
	}
	// One visit is begun at a time, and a desk has one that is under way: a
	// second would hide the first from the clerk.
	if !s.visits.opening.TryLock() {
		return Visit{}, settlement.ErrInProgress
	}
	defer s.visits.opening.Unlock()
	d, id, err := s.holderOf(ctx, req.Reader)
	if err != nil {
		return Visit{}, err
	}
	if other, under := s.visits.unfinished(d.id); under {
		return Visit{}, detailed{ErrVisitState, "visit " + other + " is under way"}
	}
	r := record{
		Visit: Visit{
			Reader: d.id, Opened: s.parts.Now(),
			Holder: VisitHolder{MaskName(id.Holder.Name)},
			Lines:  []Line{}, Total: settlement.Fen(0).Yuan(),
		},
		CardNumber: id.Issuer.Number, CardSN: id.Issuer.IdentificationCode,
		Certno: id.Holder.SocialSecurityNumber, Name: id.Holder.Name,
		Specialty: s.cfg.Counter.Specialty,
	}
	if err := s.fill(&r, req); err != nil {
		return Visit{}, err
	}
	if err := r.course().check(&r); err != nil {
		return Visit{}, err
	}
	if err := s.person(ctx, &r); err != nil {
		s.upstreamFailed(err)
		return Visit{}, harmless(err)
	}
	if entry := s.visits.inDoubt(r.PsnNo); entry != 0 {
		r.Earlier = Explain(detailed{ErrUnresolved, fmt.Sprintf("journal %d", entry)})
	}
	scope, err := s.scope(ctx, r)
	if err != nil {
		return Visit{}, err
	}
	if err := s.cover(ctx, &r, req, scope); err != nil {
		s.upstreamFailed(err)
		return Visit{}, harmless(err)
	}
	registers := r.Kind != KindPharmacy // of a sale the centre hears when it is settled
	if r.place(settlement.StateOpening); !registers {
		r.place(settlement.StateLines)
	}
	one, err := s.visits.create(ctx, r)
	if err != nil {
		return Visit{}, err
	}
	defer one.step.Unlock()
	if registers {
		if err := s.register(ctx, one, scope); err != nil {
			return Visit{}, err
		}
	}
	s.upstreamWell()
	s.visits.show(one)
	return one.view(), nil
}

// register tells the centre of a visit that is stored as opening (2201, 2401).
// An outpatient visit whose answer is lost costs nobody anything and is given
// up, to be taken back later; a stay would keep the person from being admitted, and stays to be
// registered once more.
func (s *Service) register(ctx context.Context, one *visit, scope settlement.Scope) error {
	r := one.record()
	err := r.course().send(ctx, s, one, scope, settlement.StepRegister)
	if err == nil {
		s.visits.update(one, func(r *record) {
			r.Fault = nil
			r.place(settlement.StateRegistered)
		})
		return s.visits.store(ctx, one)
	}
	s.upstreamFailed(err)
	lost := settlement.OutcomeOf(err) == settlement.Unknown
	err = harmless(err)
	s.visits.update(one, func(r *record) {
		if r.Fault = Explain(err); !lost {
			r.place(settlement.StateClosed)
		}
	})
	switch {
	case lost && r.Kind == KindOutpatient:
		return errors.Join(err, s.visits.withdrawLater(ctx, one))
	case lost:
		s.visits.show(one)
	}
	return errors.Join(err, s.visits.store(ctx, one))
}

// fill takes over what the caller said and the configured rest.
func (s *Service) fill(r *record, req VisitRequest) error {
	defaults := s.defaults()
	switch r.Kind = req.Kind; r.Kind {
	case "":
		r.Kind = defaults.Kind
	case KindOutpatient, KindInpatient, KindPharmacy:
	default:
		return detailed{ErrBody, "kind is outpatient, inpatient or pharmacy"}
	}
	switch {
	case req.MedType != "":
		r.MedType = s.coded("med_type", req.MedType)
	case r.Kind == defaults.Kind:
		r.MedType = defaults.MedType
	default:
		r.MedType = s.coded("med_type", usualType(r.Kind))
	}
	r.Department, r.Doctor, r.Diagnoses = defaults.Department, defaults.Doctor, defaults.Diagnoses
	if r.Kind == KindPharmacy {
		r.Department, r.Doctor, r.Diagnoses = Named{}, Named{}, nil // who buys may have none
	}
	if req.Department.Code != "" {
		r.Department = req.Department
	}
	if req.Doctor.Code != "" {
		r.Doctor = req.Doctor
	}
	if len(req.Diagnoses) > 0 {
		r.Diagnoses = req.Diagnoses
	}
	if r.Diagnoses == nil {
		r.Diagnoses = []Named{}
	}
	if r.Kind != KindInpatient {
		if req.Bed+req.Begin != "" {
			return detailed{ErrBody, "bed and begin are of a stay"}
		}
		return nil
	}
	// Nobody is in hospital longer; an older date is a slip.
	begin, err := timeOf("begin", req.Begin, r.Opened.AddDate(-5, 0, 0), r.Opened)
	if err != nil {
		return err
	}
	r.Bed, r.Begin = req.Bed, &begin
	return nil
}

// usualType is med_type of a kind of visit.
func usualType(kind string) string {
	switch kind {
	case KindInpatient:
		return typeStay
	case KindPharmacy:
		return typeSale
	}
	return typeOutpatient
}

// complete reports what a visit lacks before anything is sent.
func (r *record) complete() error {
	for _, f := range []struct{ name, value string }{
		{"department.code", r.Department.Code}, {"department.name", r.Department.Name},
		{"doctor.code", r.Doctor.Code}, {"doctor.name", r.Doctor.Name},
		{"med_type", r.MedType.Code}, {"counter.specialty", r.Specialty},
	} {
		if f.value == "" {
			return detailed{errFieldMissing, f.name}
		}
	}
	return checkDiagnoses(r.Diagnoses)
}

func checkDiagnoses(list []Named) error {
	if len(list) > maxDiagnoses {
		return detailed{ErrBody, fmt.Sprintf("at most %d diagnoses", maxDiagnoses)}
	}
	for i, d := range list {
		if d.Code == "" || d.Name == "" {
			return detailed{errFieldMissing, fmt.Sprintf("diagnoses[%d]", i)}
		}
	}
	return nil
}

// person asks the centre who the holder is and how insured. A sign_no of an
// earlier call of the day may have lapsed: a refusal with it is tried once more
// with a new one, since a query books nothing.
func (s *Service) person(ctx context.Context, r *record) error {
	signNo, fresh, err := s.signNo(ctx, false)
	if err != nil {
		return err
	}
	query := settlement.PersonQuery{
		MdtrtCertType: certSocialCard, MdtrtCertNo: r.CardNumber, CardSN: r.CardSN,
		PsnCertType: certID, Certno: r.Certno, PsnName: r.Name,
	}
	p, err := s.parts.Upstream.Person(ctx, settlement.Scope{SignNo: signNo}, query)
	var refused *settlement.RefusedError
	if errors.As(err, &refused) && !fresh {
		if signNo, _, err = s.signNo(ctx, true); err != nil {
			return err
		}
		p, err = s.parts.Upstream.Person(ctx, settlement.Scope{SignNo: signNo}, query)
	}
	if err != nil {
		return err
	}
	if err := p.CheckHolder(r.Certno, r.Name); err != nil {
		return err
	}
	insurance := insuranceOf(p)
	r.PsnNo = string(p.BaseInfo.Value.PsnNo)
	r.Person = Person{
		Insurance: s.coded("insutype", string(insurance.Insutype)),
		Class:     s.coded("psn_type", string(insurance.PsnType)),
		Balance:   insurance.Balc.Fen.Yuan(), Area: string(insurance.InsuplcAdmdvs),
	}
	return nil
}

// insured is psn_insu_stas 1, normal participation.
const insured = "1"

// insuranceOf chooses among several insurances the first that is in force, else
// the first: then it is the centre's to refuse.
func insuranceOf(p settlement.Person) settlement.InsuInfo {
	for _, i := range p.InsuInfo {
		if i.PsnInsuStas == insured || i.PsnInsuStas == "" {
			return i
		}
	}
	return p.InsuInfo[0]
}

// signNo returns the sign_no of operator and day, and whether it was just got.
func (s *Service) signNo(ctx context.Context, again bool) (no string, fresh bool, err error) {
	s.visits.signIn.Lock()
	defer s.visits.signIn.Unlock()
	day, opter := settlement.FormatDate(s.parts.Now()), s.cfg.Operator.No
	if !again {
		if s.visits.signed.no != "" && s.visits.signed.day == day {
			return s.visits.signed.no, false, nil
		}
		no, err := s.parts.Journal.SignNo(ctx, opter, day)
		if err != nil {
			return "", false, err
		}
		if no != "" {
			s.visits.signed.day, s.visits.signed.no = day, no
			return no, false, nil
		}
	}
	ip, mac := localAddress(s.cfg.Upstream.URL)
	signed, err := s.parts.Upstream.SignIn(ctx, settlement.SignIn{OpterNo: opter, Mac: mac, IP: ip})
	if err != nil {
		return "", false, err
	}
	if err := s.parts.Journal.SetSignNo(ctx, opter, day, string(signed.SignNo)); err != nil {
		return "", false, err
	}
	s.visits.signed.day, s.visits.signed.no = day, string(signed.SignNo)
	return string(signed.SignNo), true, nil
}

// localAddress returns the address and hardware address from which this machine
// reaches upstream. No packet is sent: a UDP socket only chooses its route. A
// loopback has no hardware address, so the first of the machine stands in.
func localAddress(upstream string) (ip, mac string) {
	const noMAC = "00-00-00-00-00-00"
	ip, mac = "127.0.0.1", noMAC
	if u, err := url.Parse(upstream); err == nil {
		port := u.Port()
		if port == "" {
			port = "80"
		}
		if conn, err := net.Dial("udp", net.JoinHostPort(u.Hostname(), port)); err == nil {
			if a, ok := conn.LocalAddr().(*net.UDPAddr); ok && len(a.IP.String()) <= 20 {
				ip = a.IP.String()
			}
			if err := conn.Close(); err != nil {
				return ip, mac
			}
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return ip, mac
	}
	for _, i := range interfaces {
		if len(i.HardwareAddr) != 6 {
			continue
		}
		if mac == noMAC {
			mac = i.HardwareAddr.String()
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.String() == ip {
				return ip, i.HardwareAddr.String()
			}
		}
	}
	return ip, mac
}

// scope is what every call about a visit carries. The sign_no is today's: a
// visit may go on after midnight.
func (s *Service) scope(ctx context.Context, r record) (settlement.Scope, error) {
	signNo, _, err := s.signNo(ctx, false)
	return settlement.Scope{InsuplcAdmdvs: r.Person.Area, SignNo: signNo}, err
}

// upstreamFailed keeps the condition upstream when a call could not reach the
// centre or was turned away at its gate. The latter holds until a call succeeds:
// that something answers at the address does not mean that it takes us.
func (s *Service) upstreamFailed(err error) {
	switch {
	case errors.Is(err, settlement.ErrUnreachable):
		s.health.set(HealthUpstream, settlement.ErrUnreachable)
	case errors.Is(err, settlement.ErrCredentials):
		s.turnedAway.Store(true)
		s.health.set(HealthUpstream, settlement.ErrCredentials)
	}
}

// upstreamWell notes that a call succeeded.
func (s *Service) upstreamWell() {
	s.turnedAway.Store(false)
	s.health.set(HealthUpstream, nil)
	s.contacted()
}

// create stores a new visit under a number of its own, with its step lock held.
func (v *visits) create(ctx context.Context, r record) (*visit, error) {
	var failure error
	for range 3 { // numbers are random: a clash is possible, three are not
		id, err := newVisitID(v.svc.parts.Now())
		if err != nil {
			return nil, err
		}
		r.ID = id
		one := &visit{rec: r}
		one.step.Lock()
		if failure = v.store(ctx, one); failure == nil {
			v.mu.Lock()
			v.keep(one)
			v.mu.Unlock()
			return one, nil
		}
		if !errors.Is(failure, settlement.ErrVisitChanged) {
			break
		}
	}
	return nil, failure
}

// show makes a visit the one that pages show.
func (v *visits) show(one *visit) {
	v.mu.Lock()
	v.latest = one
	v.mu.Unlock()
	v.svc.pub.changed()
}
