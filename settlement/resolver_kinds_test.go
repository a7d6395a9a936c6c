package settlement_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
)

// patient is one insured person with the scope of a call.
func (r *rescue) patient() (settlement.Scope, settlement.Person) {
	r.t.Helper()
	signNo, err := r.signNo(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	scope := settlement.Scope{SignNo: signNo}
	p, err := r.client.Person(r.t.Context(), scope, settlement.PersonQuery{
		MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966", PsnCertType: "01", Certno: "410101199003074531", PsnName: "张三",
	})
	if err != nil {
		r.t.Fatal(err)
	}
	scope.InsuplcAdmdvs = string(p.InsuInfo[0].InsuplcAdmdvs)
	return scope, p
}

func price(t *testing.T, price, quantity string) (settlement.Price, settlement.Quantity, settlement.Fen) {
	t.Helper()
	p, err1 := settlement.ParsePrice(price)
	q, err2 := settlement.ParseQuantity(quantity)
	a, err3 := settlement.LineAmount(p, q)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return p, q, a
}

// sale is a pharmacy's sale up to the payer's consent.
func (r *rescue) sale(number string) settlement.Selling {
	r.t.Helper()
	scope, person := r.patient()
	now := settlement.FormatTime(time.Now())
	p, q, a := price(r.t, "0.85", "28")
	i := person.InsuInfo[0]
	in := settlement.Selling{Visit: number, Holder: "张*", Scope: scope, Input: settlement.SaleInput{
		DrugInfo: settlement.DrugInfo{
			PsnNo: string(person.BaseInfo.Value.PsnNo), MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966",
			PsnCertType: "01", Certno: "410101199003074531", PsnType: string(i.PsnType), PsnName: "张三", Begntime: now, MedfeeSumamt: a,
			Insutype: string(i.Insutype), AcctUsedFlag: "1", MedType: "41",
		},
		DrugDetail: []settlement.DrugDetail{{
			FeedetlSN: settlement.SerialNo{Value: "1"}, RxCircFlag: "0", FeeOcurTime: now, MedListCodg: "XC08CAA086A001010190002", MedinsListCodg: "L1",
			DetItemFeeSumamt: a, Cnt: q, Pric: p,
		}},
	}}
	trial, err := r.client.SaleTrial(r.t.Context(), scope, in.Input)
	if err != nil {
		r.t.Fatal(err)
	}
	if in.Trial, err = trial.SetlInfo.Value.Amounts(); err != nil {
		r.t.Fatal(err)
	}
	in.Agreed = in.Trial
	return in
}

// stay is a stay in hospital up to the payer's consent.
func (r *rescue) stay(number string) settlement.StaySettling {
	r.t.Helper()
	ctx := r.t.Context()
	scope, person := r.patient()
	now := settlement.FormatTime(time.Now())
	p, q, a := price(r.t, "40", "30")
	i, psnNo := person.InsuInfo[0], string(person.BaseInfo.Value.PsnNo)
	diagnosis := func(mdtrtID, cond string) []settlement.StayDiseInfo {
		return []settlement.StayDiseInfo{{
			MdtrtID: mdtrtID, PsnNo: psnNo, DiagType: "1", MaindiagFlag: "1", DiagSrtNo: 1, DiagCode: "J18.900", DiagName: "肺炎", AdmCond: cond,
			DiagDept: "呼吸内科", DiseDorNo: "D1", DiseDorName: "李医生", DiagTime: now,
		}}
	}
	admitted, err := r.client.Admit(ctx, scope, settlement.Admission{
		MdtrtInfo: settlement.StayInfo{
			PsnNo: psnNo, Insutype: string(i.Insutype), Begntime: now, MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966",
			CertType: "01", Certno: "410101199003074531", MedType: "2101", IptNo: number,
			StayCare: settlement.StayCare{
				AtddrNo: "D1", ChfpdrName: "李医生", AdmDiagDscr: "肺炎", AdmDeptCodg: "0301", AdmDeptName: "呼吸内科", AdmBed: "12",
				DscgMaindiagCode: "J18.900", DscgMaindiagName: "肺炎",
			},
		},
		DiseInfo: diagnosis("", "1"),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	mdtrtID := string(admitted.MdtrtID)
	if _, err := r.client.UploadStayFees(ctx, scope, []settlement.StayFeeDetail{{
		FeedetlSN: settlement.SerialNo{Value: "1"}, MdtrtID: mdtrtID, PsnNo: psnNo, MedType: "2101", FeeOcurTime: now,
		MedListCodg: "001109000010000-110900001", MedinsListCodg: "BED", DetItemFeeSumamt: a, Cnt: q, Pric: p,
		BilgDeptCodg: "0301", BilgDeptName: "呼吸内科", BilgDrCodg: "D1", BilgDrName: "李医生",
	}}); err != nil {
		r.t.Fatal(err)
	}
	in := settlement.StaySettling{Visit: number, Holder: "张*", Scope: scope, Input: settlement.StaySettleInput{
		PsnNo: psnNo, MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966", PsnCertType: "01", Certno: "410101199003074531",
		PsnType: string(i.PsnType), PsnName: "张三", MedfeeSumamt: a, PsnSetlway: "01", MdtrtID: mdtrtID, Insutype: string(i.Insutype), AcctUsedFlag: "1", MidSetlFlag: "0",
	}}
	if err := r.client.Discharge(ctx, scope, settlement.Discharge{DscgInfo: settlement.DscgInfo{
		MdtrtID: mdtrtID, PsnNo: psnNo, Insutype: string(i.Insutype), Endtime: now, DscgDeptCodg: "0301", DscgDeptName: "呼吸内科", DscgWay: "1",
	}, DiseInfo: diagnosis(mdtrtID, "")}); err != nil {
		r.t.Fatal(err)
	}
	trial, err := r.client.StayTrial(ctx, scope, in.Input)
	if err != nil {
		r.t.Fatal(err)
	}
	if in.Trial, err = trial.SetlInfo.Value.Amounts(); err != nil {
		r.t.Fatal(err)
	}
	in.Agreed = in.Trial
	return in
}

// Sales and stays are looked up as visits are, and so are refunds of all three.
func TestResolveEveryKind(t *testing.T) {
	for kind, infnos := range map[string][2]string{"visit": {"2207", "2208"}, "sale": {"2102", "2103"}, "stay": {"2304", "2305"}} {
		t.Run(kind, func(t *testing.T) {
			r := newRescue(t, centersim.Config{})
			ctx := t.Context()
			var settle func() (settlement.Receipt, error)
			var scope settlement.Scope
			switch kind {
			case "visit":
				in := r.visit("OP1")
				scope, settle = in.Scope, func() (settlement.Receipt, error) { return r.settler.Settle(ctx, in) }
			case "sale":
				in := r.sale("S1")
				scope, settle = in.Scope, func() (settlement.Receipt, error) { return r.settler.Sell(ctx, in) }
			case "stay":
				in := r.stay("ZY1")
				scope, settle = in.Scope, func() (settlement.Receipt, error) { return r.settler.SettleStay(ctx, in) }
			}
			lose := func(order string, do func() error) {
				t.Helper()
				r.order(order)
				if err := do(); settlement.OutcomeOf(err) != settlement.Unknown {
					t.Fatalf("%s: %v", order, err)
				}
				r.run(order, func() bool { return r.unknown() == 0 })
				r.agree()
			}
			once := func() error { _, err := settle(); return err }
			lose(infnos[0]+":drop-before", once)
			lose(infnos[0]+":drop-after", once)
			e := r.entry(2)
			if e.Outcome != settlement.Done {
				t.Fatalf("%v", e)
			}
			refund := func() error {
				mdtrt := e.MdtrtID
				if mdtrt == "" {
					mdtrt = r.center.Settlements()[0].MdtrtID
				}
				_, err := r.settler.Refund(ctx, settlement.Refunding{Entry: e.ID, Scope: scope, MdtrtID: mdtrt})
				return err
			}
			// A refund that never arrived may be sent again, by a person; the
			// settlement stands meanwhile.
			lose(infnos[1]+":drop-before", refund)
			if x := r.entry(3); x.Outcome != settlement.Refused || x.Fault != fault.NeverArrived || r.entry(2).ReversedBy != 0 {
				t.Fatalf("%v", x)
			}
			lose(infnos[1]+":drop-after", refund)
			if x := r.entry(4); x.Outcome != settlement.Done || x.Total != -e.Total || x.Cash != -e.Cash || r.entry(2).ReversedBy != 4 {
				t.Fatalf("%v", x)
			}
			if n := len(r.center.Settlements()); n != 2 {
				t.Errorf("%d rows at the centre", n)
			}
			if err := refund(); fault.Of(err).Code != fault.Refunded {
				t.Errorf("refunded again: %v", err)
			}
		})
	}
}

// Where a region answers no look-up, 2601 is the last resort, once; otherwise a
// person decides.
func TestResolveByReversal(t *testing.T) {
	for name, x := range map[string]struct {
		config  centersim.Config
		orders  []string
		outcome settlement.Outcome
		reason  settlement.Reason
		stands  int
	}{
		"booked":                {centersim.Config{}, []string{"2207:drop-after"}, settlement.Refused, "", 0},
		"never arrived":         {centersim.Config{}, []string{"2207:drop-before"}, settlement.Refused, "", 0},
		"never arrived, silent": {centersim.Config{Reversal: centersim.ReversalAccept}, []string{"2207:drop-before"}, settlement.Refused, "", 0},
		"refused":               {centersim.Config{}, []string{"2207:drop-after", "2601:refuse=不允许冲正"}, settlement.Unknown, settlement.ReasonReversal, 1},
		"in doubt itself":       {centersim.Config{}, []string{"2207:drop-after", "2601:drop-after"}, settlement.Unknown, settlement.ReasonNoLookup, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRescue(t, x.config, func(r *rescue) { r.reverse, r.lookup.Order = true, []string{"5203", "5201"} })
			in := r.visit("OP1")
			r.order(x.orders...)
			if _, err := r.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
				t.Fatal(err)
			}
			over := func() bool {
				list, err := r.journal.Unknowns(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return !slices.ContainsFunc(list, func(u settlement.UnknownEntry) bool {
					return !u.GivenUp() && u.Latest.Finding.Reason != settlement.ReasonWaits
				})
			}
			r.run("resolved or given up", func() bool { return len(r.resolutions()) > 0 && over() || r.unknown() == 0 })
			e := r.entry(1)
			if e.Outcome != x.outcome {
				t.Errorf("%v", e)
			}
			stands := 0
			for _, s := range r.center.Settlements() {
				if s.Refunds == "" && s.RefundedBy == "" {
					stands++
				}
			}
			if stands != x.stands {
				t.Errorf("%d stand at the centre", stands)
			}
			if x.reason != "" {
				last := e.ID
				if x.reason == settlement.ReasonNoLookup {
					last = 2 // the reversal
				}
				attempts, err := r.journal.Attempts(t.Context(), last)
				if err != nil || len(attempts) == 0 || !attempts[len(attempts)-1].Next.IsZero() {
					t.Errorf("%+v, %v", attempts, err)
				}
				return
			}
			r.agree()
			if _, err := r.settler.Settle(t.Context(), in); err != nil && x.config.Reversal == "" {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// What only a person can judge is given up at once, with what was found.
func TestResolveGivesUpConflicts(t *testing.T) {
	for name, x := range map[string]struct {
		orders []string
		after  func(r *rescue, in settlement.Settling)
		reason settlement.Reason
	}{
		"amounts disagree there, too": {[]string{"2207:drop-after", "5203:identity=2@always"}, nil, settlement.ReasonSums},
		"taken back by another": {[]string{"2207:drop-after"}, func(r *rescue, in settlement.Settling) {
			booked := r.center.Settlements()[0]
			if _, err := r.client.Call(context.Background(), settlement.Request{Infno: "2208", InsuplcAdmdvs: in.Scope.InsuplcAdmdvs, SignNo: in.Scope.SignNo,
				Input: map[string]settlement.RefundInput{"data": {SetlID: booked.SetlID, MdtrtID: booked.MdtrtID, PsnNo: booked.PsnNo}}}); err != nil {
				r.t.Fatal(err)
			}
		}, settlement.ReasonTakenBack},
		"another's answer every time": {[]string{"2207:drop-after", "5203:wrong-setl@always"}, nil, settlement.ReasonDiffers},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRescue(t, centersim.Config{})
			in := r.visit("OP1")
			r.order(x.orders...)
			if _, err := r.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
				t.Fatal(err)
			}
			if x.after != nil {
				x.after(r, in)
			}
			r.run("given up", func() bool { told := r.resolutions(); return len(told) > 0 && told[len(told)-1].GivenUp() })
			attempts, err := r.journal.Attempts(t.Context(), 1)
			if err != nil || len(attempts) == 0 || attempts[len(attempts)-1].Finding.Reason != x.reason || len(attempts[len(attempts)-1].Finding.Asked) == 0 {
				t.Errorf("%+v, %v", attempts, err)
			}
			if e := r.entry(1); e.Outcome != settlement.Unknown {
				t.Errorf("%v", e)
			}
		})
	}
}

// Every region's way of asking comes to the same, or to a person.
func TestResolveByRegion(t *testing.T) {
	for name, x := range map[string]struct {
		config  centersim.Config
		lookup  settlement.Lookup
		booked  settlement.Outcome
		missing settlement.Outcome
	}{
		"statement alone":     {centersim.Config{}, settlement.Lookup{Order: []string{"3202"}}, settlement.Done, settlement.Refused},
		"statement last":      {centersim.Config{}, settlement.Lookup{Order: []string{"5204", "5201", "5203", "3202"}}, settlement.Done, settlement.Refused},
		"visits with numbers": {centersim.Config{Lookups: centersim.LookupsGenerous}, settlement.Lookup{Order: []string{"5201", "5203"}}, settlement.Done, settlement.Unknown},
		"nothing":             {centersim.Config{}, settlement.Lookup{Order: []string{"5201"}}, settlement.Unknown, settlement.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			for _, order := range []string{"drop-after", "drop-before"} {
				r := newRescue(t, x.config, func(r *rescue) { r.lookup = x.lookup; r.lookup.Settled = settledSoon; r.patience.Attempts = 3 })
				in := r.visit("OP1")
				r.order("2207:" + order)
				if _, err := r.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
					t.Fatal(err)
				}
				want := x.booked
				if order == "drop-before" {
					want = x.missing
				}
				r.run("resolved or given up", func() bool {
					told := r.resolutions()
					return len(told) > 0 && (told[len(told)-1].GivenUp() || told[len(told)-1].Outcome != settlement.Unknown)
				})
				if e := r.entry(1); e.Outcome != want {
					attempts, _ := r.journal.Attempts(t.Context(), 1)
					t.Errorf("%s: %v, want %s; %+v", order, e, want, attempts)
				}
				if want != settlement.Unknown {
					r.agree()
				}
			}
		})
	}
}
