package settlement_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
)

// A patient of the simulated centre, insured in another province and filed
// for this one.
var patient = settlement.PersonQuery{
	MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966",
	PsnCertType: "01", Certno: "410101199003074531", PsnName: "张三",
}

// identify signs in and asks who the patient is.
func (d *desk) identify(t *testing.T, query settlement.PersonQuery) (settlement.Scope, settlement.BaseInfo, settlement.InsuInfo) {
	t.Helper()
	signed, err := d.client.SignIn(t.Context(), settlement.SignIn{OpterNo: "0001", Mac: "00-00-5E-00-53-01", IP: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	scope := settlement.Scope{SignNo: string(signed.SignNo)}
	person, err := d.client.Person(t.Context(), scope, query)
	if err != nil {
		t.Fatal(err)
	}
	scope.InsuplcAdmdvs = string(person.InsuInfo[0].InsuplcAdmdvs)
	return scope, person.BaseInfo.Value, person.InsuInfo[0]
}

func (d *desk) order(t *testing.T, faults ...string) {
	t.Helper()
	for _, text := range faults {
		f, err := centersim.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.center.Order(f); err != nil {
			t.Fatal(err)
		}
	}
}

// standing are the settlements that the centre has and that are not taken back.
func (d *desk) standing() (n int, total int64) {
	for _, s := range d.center.Settlements() {
		if s.Refunds == "" {
			n++
		} else {
			n--
		}
		total += s.Total
	}
	return n, total
}

// entries are the journal's entries of a visit, the earliest first.
func (d *desk) entries(t *testing.T, visit string) []settlement.Entry {
	t.Helper()
	list, err := d.journal.List(t.Context(), settlement.Filter{Visit: visit, Earliest: true})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func priced(t *testing.T, price, quantity string) (settlement.Price, settlement.Quantity, settlement.Fen) {
	t.Helper()
	p, err1 := settlement.ParsePrice(price)
	q, err2 := settlement.ParseQuantity(quantity)
	amount, err3 := settlement.LineAmount(p, q)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return p, q, amount
}

func negative(a settlement.Amounts) settlement.Amounts {
	return settlement.Amounts{Total: -a.Total, Fund: -a.Fund, Account: -a.Account, Cash: -a.Cash}
}

// sale goes up to the payer's consent.
func (d *desk) sale(t *testing.T, number string) settlement.Selling {
	t.Helper()
	scope, base, insured := d.identify(t, patient)
	price, quantity, amount := priced(t, "0.853333", "28")
	in := settlement.SaleInput{
		DrugInfo: settlement.DrugInfo{
			PsnNo: string(base.PsnNo), MdtrtCertType: "03", MdtrtCertNo: patient.MdtrtCertNo, CardSN: patient.CardSN, PsnCertType: "01", Certno: patient.Certno,
			PsnType: string(insured.PsnType), PsnName: patient.PsnName, Begntime: settlement.FormatTime(time.Now()), MedfeeSumamt: 2 * amount,
			Insutype: string(insured.Insutype), AcctUsedFlag: "1", MedType: "41",
		},
	}
	for i := range 2 {
		in.DrugDetail = append(in.DrugDetail, settlement.DrugDetail{
			FeedetlSN: settlement.SerialNo{Value: fmt.Sprint(i + 1)}, RxCircFlag: "0", FeeOcurTime: settlement.FormatTime(time.Now()),
			MedListCodg: "XC08CAA086A001010190002", MedinsListCodg: "H1", DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
		})
	}
	trial, err := d.client.SaleTrial(t.Context(), scope, in)
	if err != nil {
		t.Fatal(err)
	}
	if len(trial.Lines) != 2 || string(trial.Lines[1].FeedetlSN) != "2" {
		t.Errorf("lines of the trial: %+v", trial.Lines)
	}
	amounts, err := trial.SetlInfo.Value.Amounts()
	if err != nil {
		t.Fatal(err)
	}
	return settlement.Selling{Visit: number, Holder: "张*", Scope: scope, Input: in, Trial: amounts, Agreed: amounts}
}

// A sale, taken back, and sold again with fewer lines: a partial refund.
func TestSaleAtTheSimulatedCentre(t *testing.T) {
	d := newDesk(t)
	in := d.sale(t, "PH1")
	receipt, err := d.settler.Sell(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.MdtrtID == "" || receipt.Amounts != in.Agreed || len(receipt.Lines) != 2 {
		t.Errorf("%+v", receipt)
	}
	if _, err := d.settler.Sell(t.Context(), in); !errors.Is(err, settlement.ErrSettled) {
		t.Errorf("sold twice: %v", err)
	}
	if _, err := d.settler.Refund(t.Context(), settlement.Refunding{Entry: receipt.EntryID, Scope: in.Scope}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.settler.Refund(t.Context(), settlement.Refunding{Entry: receipt.EntryID, Scope: in.Scope}); !errors.Is(err, settlement.ErrRefunded) {
		t.Errorf("refunded twice: %v", err)
	}
	in.Input.DrugDetail = in.Input.DrugDetail[:1]
	in.Input.DrugInfo.MedfeeSumamt = in.Input.DrugDetail[0].DetItemFeeSumamt
	trial, err := d.client.SaleTrial(t.Context(), in.Scope, in.Input)
	if err != nil {
		t.Fatal(err)
	}
	if in.Trial, err = trial.SetlInfo.Value.Amounts(); err != nil {
		t.Fatal(err)
	}
	in.Agreed = in.Trial
	again, err := d.settler.Sell(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if n, total := d.standing(); n != 1 || total != int64(again.Amounts.Total) {
		t.Errorf("%d stand, %d fen", n, total)
	}
	if totals, err := d.journal.Totals(t.Context(), settlement.FormatDate(time.Now())); err != nil || totals.Amounts != again.Amounts {
		t.Errorf("the day: %+v, %v", totals, err)
	}
}

// A refund through every misfortune: never taken back twice, never told before
// it is on the disk, and nothing else of the visit while it is in doubt.
func TestRefundMisfortunes(t *testing.T) {
	for order, x := range map[string]struct {
		outcome settlement.Outcome
		code    fault.Code
		back    int
	}{
		"drop-before":     {settlement.Unknown, fault.AnswerLost, 0},
		"drop-after":      {settlement.Unknown, fault.AnswerLost, 1},
		"http-before=401": {settlement.Refused, fault.UpstreamCredentials, 0},
		"http-after=504":  {settlement.Unknown, fault.UpstreamHTTP, 1},
		"html-after":      {settlement.Unknown, fault.UpstreamMalformed, 1},
		"truncate":        {settlement.Unknown, fault.UpstreamMalformed, 1},
		"identity=1":      {settlement.Unknown, fault.SumsDisagree, 1},
		"identity=3":      {settlement.Unknown, fault.SumsDisagree, 1},
		"wrong-setl":      {settlement.Unknown, fault.AnswerMismatch, 1},
		"refuse=x":        {settlement.Refused, fault.UpstreamRefused, 0},
		"sloppy":          {settlement.Done, "", 1},
		"text-code":       {settlement.Done, "", 1},
	} {
		t.Run(order, func(t *testing.T) {
			d := newDesk(t)
			in := d.visit(t, "OP1")
			receipt, err := d.settler.Settle(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			d.order(t, "2208:"+order)
			refunding := settlement.Refunding{Entry: receipt.EntryID, Scope: in.Scope}
			refund, err := d.settler.Refund(t.Context(), refunding)
			if settlement.OutcomeOf(err) != x.outcome || err != nil && fault.Of(err).Code != x.code {
				t.Fatalf("%v (%s)", err, settlement.OutcomeOf(err))
			}
			if n, _ := d.standing(); n != 1-x.back {
				t.Errorf("%d stand", n)
			}
			entries := d.entries(t, "OP1")
			if len(entries) != 2 || entries[1].Outcome != x.outcome || entries[1].Undoes != receipt.EntryID || entries[1].Total != -receipt.Amounts.Total {
				t.Errorf("%+v", entries)
			}
			switch x.outcome {
			case settlement.Done:
				if refund.Amounts != negative(receipt.Amounts) {
					t.Errorf("%+v", refund)
				}
			case settlement.Refused:
				// The settlement stands and may be taken back again.
				if _, err := d.settler.Refund(t.Context(), refunding); err != nil {
					t.Errorf("again: %v", err)
				}
			case settlement.Unknown:
				for name, again := range map[string]func() error{
					"refund":  func() error { _, err := d.settler.Refund(t.Context(), refunding); return err },
					"settle":  func() error { _, err := d.settler.Settle(t.Context(), in); return err },
					"reverse": func() error { return d.settler.Reverse(t.Context(), receipt.EntryID, in.Scope) },
				} {
					if err := again(); settlement.OutcomeOf(err) != settlement.NotSent || fault.Of(err).Code != fault.UnknownUnresolved && fault.Of(err).Code != fault.VisitState {
						t.Errorf("%s in doubt: %v", name, err)
					}
				}
			}
			if n, _ := d.standing(); n < 0 || n > 1 {
				t.Errorf("%d stand", n)
			}
		})
	}
}

// 2601 takes back what is in doubt, in each kind of care; then the visit may be
// settled again. What never arrived is refused, and stays in doubt here.
func TestReverse(t *testing.T) {
	for infno, begin := range map[string]func(t *testing.T) (*desk, func() (settlement.Receipt, error), settlement.Scope, string){
		"2207": func(t *testing.T) (*desk, func() (settlement.Receipt, error), settlement.Scope, string) {
			d := newDesk(t)
			in := d.visit(t, "OP1")
			return d, func() (settlement.Receipt, error) { return d.settler.Settle(t.Context(), in) }, in.Scope, "OP1"
		},
		"2304": func(t *testing.T) (*desk, func() (settlement.Receipt, error), settlement.Scope, string) {
			d := newStay(t, "IP1")
			d.charge(t, 1, "001204000050000-120400006")
			d.discharge(t)
			in := d.tried(t)
			return d.desk, func() (settlement.Receipt, error) { return d.settler.SettleStay(t.Context(), in) }, d.scope, "IP1"
		},
		"2102": func(t *testing.T) (*desk, func() (settlement.Receipt, error), settlement.Scope, string) {
			d := newDesk(t)
			in := d.sale(t, "PH1")
			return d, func() (settlement.Receipt, error) { return d.settler.Sell(t.Context(), in) }, in.Scope, "PH1"
		},
	} {
		t.Run(infno, func(t *testing.T) {
			d, settle, scope, visit := begin(t)
			d.order(t, infno+":drop-after")
			if _, err := settle(); settlement.OutcomeOf(err) != settlement.Unknown {
				t.Fatal(err)
			}
			first := d.entries(t, visit)[0].ID
			if _, err := d.settler.Refund(t.Context(), settlement.Refunding{Entry: first, Scope: scope}); !errors.Is(err, settlement.ErrUnknownUnresolved) {
				t.Errorf("refund in doubt: %v", err)
			}
			if err := d.settler.Reverse(t.Context(), first, scope); err != nil {
				t.Fatal(err)
			}
			if n, _ := d.standing(); n != 0 {
				t.Errorf("%d stand", n)
			}
			entries := d.entries(t, visit)
			if len(entries) != 2 || entries[0].Outcome != settlement.Refused || entries[0].ReversedBy != entries[1].ID || entries[1].Infno != "2601" || entries[1].Outcome != settlement.Done {
				t.Errorf("%+v", entries)
			}
			if err := d.settler.Reverse(t.Context(), first, scope); !errors.Is(err, settlement.ErrRefunded) {
				t.Errorf("reversed twice: %v", err)
			}
			receipt, err := settle()
			if err != nil {
				t.Fatal(err)
			}
			if err := d.settler.Reverse(t.Context(), receipt.EntryID, scope); !errors.Is(err, settlement.ErrNotRefundable) {
				t.Errorf("reversed what is not in doubt: %v", err)
			}
			if n, _ := d.standing(); n != 1 {
				t.Errorf("%d stand", n)
			}
			// The day counts what was collected, not what was reversed unseen.
			if totals, err := d.journal.Totals(t.Context(), settlement.FormatDate(time.Now())); err != nil || totals.Amounts != receipt.Amounts {
				t.Errorf("the day: %+v, %v", totals, err)
			}
		})
		t.Run(infno+" never arrived", func(t *testing.T) {
			d, settle, scope, visit := begin(t)
			d.order(t, infno+":drop-before")
			if _, err := settle(); settlement.OutcomeOf(err) != settlement.Unknown {
				t.Fatal(err)
			}
			first := d.entries(t, visit)[0].ID
			if err := d.settler.Reverse(t.Context(), first, scope); settlement.OutcomeOf(err) != settlement.Refused {
				t.Errorf("%v", err)
			}
			if e := d.entries(t, visit); e[0].Outcome != settlement.Unknown || e[1].Outcome != settlement.Refused {
				t.Errorf("%+v", e)
			}
		})
	}
}

// Who signed out settles no more.
func TestSignOut(t *testing.T) {
	d := newDesk(t)
	in := d.visit(t, "OP1")
	if at, err := d.client.SignOut(t.Context(), in.Scope, "0001"); err != nil || at == "" {
		t.Errorf("%q, %v", at, err)
	}
	if _, err := d.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Refused {
		t.Errorf("%v", err)
	}
}

// A reversal whose own answer is lost is not sent again.
func TestReversalLost(t *testing.T) {
	d := newDesk(t)
	in := d.visit(t, "OP1")
	d.order(t, "2207:drop-after", "2601:drop-after")
	if _, err := d.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
		t.Fatal(err)
	}
	first := d.entries(t, "OP1")[0].ID
	if err := d.settler.Reverse(t.Context(), first, in.Scope); settlement.OutcomeOf(err) != settlement.Unknown {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.settler.Reverse(t.Context(), first, in.Scope); settlement.OutcomeOf(err) != settlement.NotSent {
			t.Errorf("sent again: %v", err)
		}
	}
	if _, err := d.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.NotSent {
		t.Errorf("settled in doubt: %v", err)
	}
	if e := d.entries(t, "OP1"); len(e) != 2 || e[0].Outcome != settlement.Unknown || e[1].Outcome != settlement.Unknown {
		t.Errorf("%+v", e)
	}
}
