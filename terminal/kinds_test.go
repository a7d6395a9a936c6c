package terminal_test

import (
	"slices"
	"strings"
	"testing"

	"onecard/fault"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// stayLines are three days in hospital.
func stayLines() []terminal.Line {
	return []terminal.Line{
		{Date: "2025-03-03", Code: "002103000010000-210300001", Name: "CT", Quantity: "1", Price: "190.00"},
		{Date: "2025-03-04", Code: "001204000050000-120400006", Name: "静脉输液", Quantity: "2", Price: "9.00"},
		{Date: "2025-03-05", Code: "002101000010000-210102015", Name: "DR", Quantity: "1", Price: "70.00"},
	}
}

func admitted(t *testing.T, b *deskbed.Bed) terminal.Visit {
	t.Helper()
	b.Ready()
	v, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{Kind: "inpatient", Begin: "2025-03-03 09:00:00", Bed: "12"})
	if err != nil {
		t.Fatal(err)
	}
	if v.Kind != "inpatient" || v.MdtrtID == "" || v.State != terminal.VisitRegistered || v.MedType.Code != "2101" || !slices.Contains(v.Next, "lines") {
		t.Fatalf("%+v", v)
	}
	return v
}

// must takes a step that has to succeed.
func must(t *testing.T) func(terminal.Visit, error) terminal.Visit {
	return func(v terminal.Visit, err error) terminal.Visit {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A stay day by day, corrected, discharged, settled, and all of it back.
func TestStay(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	v := admitted(t, b)
	ctx, step := t.Context(), must(t)
	lines := stayLines()
	v = step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines[:1]}))
	v = step(b.Service.Trial(ctx, v.ID))
	if v.State != terminal.VisitTried || v.Trial.Total != "190.00" || slices.Contains(v.Next, "settle") {
		t.Fatalf("so far: %+v", v)
	}
	if _, err := b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)); code(err) != fault.VisitState {
		t.Errorf("settled before the discharge: %v", err)
	}
	v = step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines}))
	v = step(b.Service.Trial(ctx, v.ID))
	if v.Trial.Total != "278.00" || v.Lines[0].SN != "1" || v.Lines[2].SN != "3" || v.Lines[2].Split == nil {
		t.Errorf("added lines do not go up by themselves: %+v", v.Lines)
	}
	lines[1].Quantity = "3"
	v = step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines}))
	v = step(b.Service.Discharge(ctx, v.ID, terminal.DischargeRequest{Time: "2025-03-05 16:00:00"}))
	if v.Discharged == nil || v.Lines[0].SN == "1" || slices.Contains(v.Next, "lines") || slices.Contains(v.Next, "settle") {
		t.Fatalf("discharged: %+v", v)
	}
	if _, err := b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines[:1]}); code(err) != fault.VisitState {
		t.Errorf("lines after the discharge: %v", err)
	}
	v = step(b.Service.Trial(ctx, v.ID))
	v = step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)))
	if v.State != terminal.VisitSettled || v.Receipt.Total != "287.00" || len(v.Receipt.Lines) != 3 {
		t.Fatalf("%+v", v)
	}
	refund, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal})
	if err != nil || refund.Total != "-287.00" || refund.Kind != "inpatient" {
		t.Fatalf("%+v, %v", refund, err)
	}
	v = step(b.Service.Visit(v.ID))
	if !slices.Equal(v.Next, []string{"trial", "readmit", "set-aside", "abandon"}) {
		t.Errorf("after the refund: %v", v.Next)
	}
	// Again, with one line less.
	v = step(b.Service.Readmit(ctx, v.ID))
	v = step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines[:2]}))
	v = step(b.Service.Discharge(ctx, v.ID, terminal.DischargeRequest{}))
	v = step(b.Service.Trial(ctx, v.ID))
	v = step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)))
	if v.Receipt.Total != "217.00" {
		t.Errorf("%+v", v.Receipt)
	}
	agree(b)
	if _, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal}); err != nil {
		t.Fatal(err)
	}
	if err := b.Service.Abandon(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if v = step(b.Service.Visit(v.ID)); v.State != terminal.VisitClosed {
		t.Errorf("%+v", v)
	}
	admitted(t, b) // nothing of the first stay is left with the centre
}

// Whatever answer of a stay is lost, in whatever process: the next step finds
// out and goes on.
func TestStayGoesOnAfterALostAnswer(t *testing.T) {
	for _, c := range []struct {
		infno string
		kind  centersim.FaultKind
	}{
		{"2401", centersim.DropAfter}, {"2401", centersim.DropBefore}, {"2301", centersim.DropAfter}, {"2301", centersim.DropBefore},
		{"2302", centersim.DropAfter}, {"2402", centersim.DropAfter}, {"2402", centersim.DropBefore}, {"2405", centersim.DropAfter},
		{"2405", centersim.DropBefore}, {"2404", centersim.DropAfter}, {"2404", centersim.DropBefore},
	} {
		t.Run(c.infno+" "+string(c.kind), func(t *testing.T) {
			t.Parallel()
			b := deskbed.New(t, deskbed.Options{})
			b.Ready()
			if err := b.Center.Order(centersim.Fault{Infno: c.infno, Kind: c.kind}); err != nil {
				t.Fatal(err)
			}
			ctx, lost := t.Context(), 0
			// Each step is done until it succeeds; after a loss the service starts anew.
			var id string
			take := func(do func() (terminal.Visit, error)) terminal.Visit {
				t.Helper()
				for range 3 {
					v, err := do()
					if err == nil {
						return v
					}
					if code(err) != fault.NoAnswer {
						t.Fatal(err)
					}
					if lost++; id == "" {
						id = b.Service.State().Visit.ID
					}
					b = restarted(t, b)
				}
				t.Fatal("the answer is lost again and again")
				return terminal.Visit{}
			}
			v := take(func() (terminal.Visit, error) {
				if id != "" {
					return b.Service.Resume(ctx, id, terminal.ResumeRequest{})
				}
				return b.Service.OpenVisit(ctx, terminal.VisitRequest{Kind: "inpatient", Begin: "2025-03-03", Bed: "12"})
			})
			id = v.ID
			lines := stayLines()
			for _, now := range [][]terminal.Line{lines, lines[1:]} {
				take(func() (terminal.Visit, error) {
					return b.Service.SetLines(ctx, id, terminal.LinesRequest{Lines: now})
				})
				take(func() (terminal.Visit, error) { return b.Service.Trial(ctx, id) })
			}
			leave := func() (terminal.Visit, error) {
				if v, err := b.Service.Visit(id); err != nil || v.Discharged != nil {
					return v, err
				}
				return b.Service.Discharge(ctx, id, terminal.DischargeRequest{Time: "2025-03-06"})
			}
			v = take(leave)
			if v.Discharged == nil || v.Discharged.In(terminal.ChinaTime).Format("2006-01-02") != "2025-03-06" {
				t.Fatalf("%+v", v)
			}
			take(func() (terminal.Visit, error) { return b.Service.Readmit(ctx, id) })
			take(leave)
			v = take(func() (terminal.Visit, error) { return b.Service.Trial(ctx, id) })
			if v.Trial.Total != "88.00" {
				t.Errorf("%+v", v.Trial)
			}
			take(func() (terminal.Visit, error) {
				if err := b.Service.Abandon(ctx, id); err != nil {
					return terminal.Visit{}, err
				}
				return b.Service.Visit(id)
			})
			if lost != 1 {
				t.Errorf("%d answers were lost", lost)
			}
			again := admitted(t, b)
			if again.ID == id {
				t.Error("the same stay")
			}
		})
	}
}

func TestStayIsAskedForProperly(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx := t.Context()
	for name, c := range map[string]struct {
		req  terminal.VisitRequest
		code fault.Code
	}{
		"no bed":         {terminal.VisitRequest{Kind: "inpatient"}, fault.FieldMissing},
		"to come":        {terminal.VisitRequest{Kind: "inpatient", Bed: "1", Begin: "2999-01-01"}, fault.FieldDate},
		"not a time":     {terminal.VisitRequest{Kind: "inpatient", Bed: "1", Begin: "yesterday"}, fault.FieldDate},
		"no such kind":   {terminal.VisitRequest{Kind: "dental"}, fault.BodyInvalid},
		"bed of a visit": {terminal.VisitRequest{Bed: "1"}, fault.BodyInvalid},
	} {
		if _, err := b.Service.OpenVisit(ctx, c.req); code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	v := admitted(t, b)
	for _, date := range []string{"2025-03-02", "2999-01-01", "3.3.2025"} {
		lines := stayLines()
		lines[1].Date = date
		if _, err := b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines}); code(err) != fault.FeeLineInvalid || !strings.Contains(terminal.Explain(err).Detail, "line 2") {
			t.Errorf("a line of %s: %v", date, err)
		}
	}
	if _, err := b.Service.Discharge(ctx, v.ID, terminal.DischargeRequest{}); code(err) != fault.VisitState {
		t.Errorf("discharged without a line: %v", err)
	}
}

// A sale is nothing to the centre before it is settled.
func TestSale(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx, step := t.Context(), must(t)
	v := step(b.Service.OpenVisit(ctx, terminal.VisitRequest{Kind: "pharmacy"}))
	lines := []terminal.Line{
		{Code: "XN02BEY019A001010190010", Name: "对乙酰氨基酚片", Quantity: "20", Price: "0.30"},
		{Code: "ZA01AAL0126010190018", Name: "连花清瘟胶囊", Quantity: "24", Price: "0.72"},
	}
	v = step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines}))
	v = step(b.Service.Trial(ctx, v.ID))
	if v.MdtrtID != "" || v.Trial.Total != "23.28" || v.Lines[1].Split == nil || v.Lines[1].SN != "2" {
		t.Fatalf("%+v", v)
	}
	v = step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)))
	if v.MdtrtID == "" || v.Receipt.Total != "23.28" {
		t.Fatalf("%+v", v)
	}
	first := v
	if again := step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v))); again.Receipt.SettlementID != v.Receipt.SettlementID {
		t.Errorf("%+v", again)
	}
	b = restarted(t, b)
	refund, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal})
	if err != nil || refund.Total != "-23.28" || refund.MdtrtID != v.MdtrtID {
		t.Fatalf("%+v, %v", refund, err)
	}
	v = step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines[:1]}))
	v = step(b.Service.Trial(ctx, v.ID))
	v = step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)))
	if v.Receipt.Total != "6.00" || v.MdtrtID == first.MdtrtID || v.MdtrtID == "" {
		t.Errorf("%+v", v)
	}
	agree(b)
}

// A sale whose answer is lost is found in doubt, and, once decided, refunded:
// its number at the centre was in the answer.
func TestSaleInDoubt(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx, step := t.Context(), must(t)
	v := step(b.Service.OpenVisit(ctx, terminal.VisitRequest{Kind: "pharmacy"}))
	v = step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: []terminal.Line{{Code: "XN02BEY019A001010190010", Name: "对乙酰氨基酚片", Quantity: "20", Price: "0.30"}}}))
	v = step(b.Service.Trial(ctx, v.ID))
	if err := b.Center.Order(centersim.Fault{Infno: "2102", Kind: centersim.DropBefore}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)); code(err) != fault.AnswerLost {
		t.Fatal(err)
	}
	v = step(b.Service.Visit(v.ID))
	if v.State != terminal.VisitUnknown || v.Undoing {
		t.Fatalf("%+v", v)
	}
	if _, err := b.Service.Resolve(ctx, v.Journal, terminal.ResolveRequest{Outcome: "refused", Who: "chief", Reason: "not there"}); err != nil {
		t.Fatal(err)
	}
	v = step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)))
	if v.State != terminal.VisitSettled || len(b.Center.Settlements()) != 1 {
		t.Errorf("%+v", v)
	}
	agree(b)
}

// A long stay goes up in parts, a diagnosis that changes is told, and only what
// was added goes up afterwards.
func TestLongStay(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	v := admitted(t, b)
	ctx, step := t.Context(), must(t)
	var lines []terminal.Line
	for range 230 {
		lines = append(lines, stayLines()[1])
	}
	step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines}))
	v = step(b.Service.Trial(ctx, v.ID))
	if n := booked(t, b, "2301"); n != 3 || v.Trial.Total != "4140.00" || v.Lines[229].SN != "230" {
		t.Errorf("%d parts, %+v", n, v.Trial)
	}
	lines = append(lines, stayLines()[2])
	step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{
		Lines: lines, Diagnoses: []terminal.Named{{Code: "J18.900", Name: "肺炎"}, {Code: "I10.x00", Name: "原发性高血压"}},
	}))
	v = step(b.Service.Trial(ctx, v.ID))
	if up, back, changed := booked(t, b, "2301"), booked(t, b, "2302"), booked(t, b, "2403"); up != 4 || back != 0 || changed != 1 || v.Lines[230].SN != "231" {
		t.Errorf("%d parts, %d taken back, %d changes, %s", up, back, changed, v.Lines[230].SN)
	}
	// The same lines, entered again: nothing goes up.
	step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines}))
	v = step(b.Service.Trial(ctx, v.ID))
	if n := booked(t, b, "2301"); n != 4 || v.Lines[230].Split == nil {
		t.Errorf("%d parts", n)
	}
	v = step(b.Service.Discharge(ctx, v.ID, terminal.DischargeRequest{}))
	v = step(b.Service.Trial(ctx, v.ID))
	v = step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)))
	if v.Receipt.Total != "4210.00" {
		t.Errorf("%+v", v.Receipt)
	}
	reconciled(b)
}
