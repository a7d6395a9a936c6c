package terminal_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// reconciled holds the journal against the centre's ledger, row by row: nothing is
// booked here that is not booked there, for the same amounts, and what is booked
// there is done or in doubt here.
func reconciled(b *deskbed.Bed) {
	b.T.Helper()
	day, err := b.Service.Journal(b.T.Context(), terminal.AllDays, "", 1000)
	if err != nil {
		b.T.Fatal(err)
	}
	rows := make(map[string]centersim.Settlement)
	for _, row := range b.Center.Settlements() {
		rows[row.MsgID] = row
	}
	for _, e := range day.Entries {
		row, there := rows[e.MsgID]
		delete(rows, e.MsgID)
		switch {
		case e.Outcome == "unknown":
		case e.Outcome != "done" && there:
			b.T.Errorf("entry %d is %s and the centre has booked it", e.ID, e.Outcome)
		case e.Outcome == "done" && !there:
			b.T.Errorf("entry %d is done and the centre has not booked it", e.ID)
		case e.Outcome == "done" && (row.SetlID != e.SettlementID || settlement.Fen(row.Total).Yuan() != e.Total || settlement.Fen(row.Cash).Yuan() != e.Cash):
			b.T.Errorf("entry %d is %s of %s, the centre has %+v", e.ID, e.SettlementID, e.Total, row)
		}
	}
	for msgid, row := range rows {
		b.T.Errorf("the centre has booked %s (%+v), the journal does not know of it", msgid, row)
	}
}

// explained checks that an error has a code and a sentence and a remedy in both
// languages, and returns the code.
func explained(t *testing.T, err error) fault.Code {
	t.Helper()
	f := terminal.Explain(err)
	if f == nil {
		return ""
	}
	han := func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
	}
	if f.Code == fault.Internal || !han(f.Text.Chinese) || !han(f.Remedy.Chinese) || f.Text.English == "" || han(f.Text.English) || f.Remedy.English == "" {
		t.Errorf("%v is not explained: %+v", err, f)
	}
	return f.Code
}

// plays a visit up to a refund and returns the step that failed.
func plays(t *testing.T, b *deskbed.Bed) (step string, err error) {
	t.Helper()
	ctx := t.Context()
	v, err := b.Service.OpenVisit(ctx, terminal.VisitRequest{})
	if err != nil {
		return "open", err
	}
	if _, err = b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()}); err != nil {
		return "lines", err
	}
	if v, err = b.Service.Trial(ctx, v.ID); err != nil {
		return "trial", err
	}
	if v, err = b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)); err != nil {
		return "settle", err
	}
	if _, err = b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal}); err != nil {
		return "refund", err
	}
	return "", b.Service.Abandon(ctx, v.ID)
}

// Whatever comes from the centre: a code that stays the same, a sentence for the
// clerk, and nothing booked here that is not booked there. Afterwards the desk
// works, unless an outcome is in doubt.
func TestBadAnswers(t *testing.T) {
	refused, malformed, lost := fault.UpstreamRefused, fault.UpstreamMalformed, fault.AnswerLost
	for _, c := range []struct {
		order string // of the simulator
		step  string
		code  fault.Code
	}{
		// A lost card, and a person whom nobody insures.
		{"1101:lost-card", "open", refused}, {"2201:lost-card", "open", refused},
		{"2206:lost-card", "trial", refused}, {"2207:lost-card", "settle", refused},
		{"1101:unknown-person", "open", refused}, {"2207:unknown-person", "settle", refused},
		// Maintenance, said as it should be, as a page, and by the gateway.
		{"9001:maintenance", "open", refused}, {"1101:maintenance@2", "open", refused}, {"2204:maintenance", "trial", fault.FeeLineRefused},
		{"2207:maintenance", "settle", refused}, {"2208:maintenance", "refund", refused},
		{"1101:html-before", "open", malformed}, {"2201:html-before", "open", malformed}, {"2203:html-before", "trial", malformed},
		{"2204:html-after", "trial", malformed}, {"2206:html-before", "trial", malformed},
		{"2207:html-before", "settle", lost}, {"2207:html-after", "settle", lost}, {"2208:html-after", "refund", lost},
		{"2207:http-before=503", "settle", lost}, {"2208:http-after=502", "refund", lost},
		{"2207:http-before=401", "settle", fault.UpstreamCredentials},
		// What is too large, cut off, broken.
		{"1101:oversize=50000000", "open", fault.UpstreamTooLarge}, {"2207:oversize=200000000", "settle", lost},
		{"2207:truncate", "settle", lost}, {"2207:broken-json", "settle", lost}, {"2208:broken-json", "refund", lost},
		{"1101:broken-json", "open", malformed}, {"2207:cut", "settle", lost},
		// Wrong totals: every identity, in lines, trial, settlement and refund.
		{"2204:identity=4", "trial", fault.SumsDisagree},
		{"2206:identity=1", "trial", fault.SumsDisagree}, {"2206:identity=2", "trial", fault.SumsDisagree},
		{"2206:identity=3", "trial", fault.SumsDisagree}, {"2206:identity=4", "trial", fault.SumsDisagree},
		{"2207:identity=1", "settle", fault.SumsDisagree}, {"2207:identity=2", "settle", fault.SumsDisagree},
		{"2207:identity=3", "settle", fault.SumsDisagree}, {"2207:identity=4", "settle", fault.SumsDisagree},
		{"2208:identity=1", "refund", fault.SumsDisagree},
		// The answer of another settlement, and a msgid that is not ours.
		{"2207:wrong-setl", "settle", fault.AnswerMismatch}, {"2207:foreign-msgid", "settle", fault.AnswerMismatch},
		{"2208:wrong-setl", "refund", fault.AnswerMismatch}, {"2208:foreign-msgid", "refund", fault.AnswerMismatch},
		{"2206:wrong-setl", "trial", fault.AnswerMismatch},
		// What is only untidy is read all the same.
		{"any:sloppy@always", "", ""}, {"any:text-code@always", "", ""}, {"2208:null-shares", "", ""},
	} {
		t.Run(c.order, func(t *testing.T) {
			t.Parallel()
			order, err := centersim.ParseFault(c.order)
			if err != nil {
				t.Fatal(err)
			}
			b := deskbed.New(t, deskbed.Options{Answer: 30 * time.Second})
			b.Ready()
			if err := b.Center.Order(order); err != nil {
				t.Fatal(err)
			}
			step, err := plays(t, b)
			if got := explained(t, err); step != c.step || got != c.code {
				t.Fatalf("%s failed with %s (%v); want %s, %s", step, got, err, c.step, c.code)
			}
			reconciled(b)
			if v := b.Service.State().Visit; v != nil && v.State == terminal.VisitUnknown {
				if _, err := b.Service.Settle(t.Context(), v.ID, terminal.SettleRequest{}); code(err) != fault.UnknownUnresolved {
					t.Errorf("settled over a doubt: %v", err)
				}
				return
			} else if v != nil {
				if err := b.Service.Abandon(t.Context(), v.ID); err != nil {
					t.Fatal(err)
				}
			}
			b.Center.ClearFaults()
			if step, err := plays(t, b); err != nil {
				t.Errorf("afterwards %s failed: %v", step, err)
			}
			reconciled(b)
		})
	}
}

// The number of a settlement that is there already: the answer is not believed.
func TestDuplicateSettlementNumber(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	first := settled(t, b)
	if err := b.Service.Abandon(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.Center.Order(centersim.Fault{Infno: "2207", Kind: centersim.DuplicateSetl}); err != nil {
		t.Fatal(err)
	}
	step, err := plays(t, b)
	if got := explained(t, err); step != "settle" || got != fault.AnswerMismatch {
		t.Errorf("%s: %v (%s)", step, err, got)
	}
	if v := b.Service.State().Visit; v == nil || v.State != terminal.VisitUnknown || v.Receipt != nil {
		t.Errorf("%+v", v)
	}
	reconciled(b)
}

// What a clerk or a program can ask wrongly. Nothing of it reaches the centre.
func TestBadRequests(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	other := settled(t, b)
	ctx := t.Context()
	if err := b.Service.Abandon(ctx, other.ID); err != nil {
		t.Fatal(err)
	}
	v := b.Tried()
	with := func(change func(*terminal.Line)) func() error {
		return func() error {
			lines := deskbed.Lines()
			change(&lines[2])
			_, err := b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines})
			return err
		}
	}
	settle := func(id, total, cash string) func() error {
		return func() error {
			_, err := b.Service.Settle(ctx, id, terminal.SettleRequest{Agreed: terminal.Agreed{Total: total, Cash: cash}})
			return err
		}
	}
	before := len(b.Center.Settlements())
	for name, c := range map[string]struct {
		do   func() error
		code fault.Code
	}{
		"a line without a code":       {with(func(l *terminal.Line) { l.Code = "" }), fault.FeeLineInvalid},
		"a negative price":            {with(func(l *terminal.Line) { l.Price = "-4.50" }), fault.FeeLineInvalid},
		"a negative quantity":         {with(func(l *terminal.Line) { l.Quantity = "-1" }), fault.FeeLineInvalid},
		"no quantity":                 {with(func(l *terminal.Line) { l.Quantity = "0" }), fault.FeeLineInvalid},
		"an amount that is not":       {with(func(l *terminal.Line) { l.Amount = "126.01" }), fault.FeeLineInvalid},
		"an amount beyond all bounds": {with(func(l *terminal.Line) { l.Quantity, l.Price = "999999", "9999999999" }), fault.FeeLineInvalid},
		"another total":               {settle(v.ID, "411.61", v.Trial.Cash), fault.AgreedDiffers},
		"another cash":                {settle(v.ID, v.Trial.Total, "0.01"), fault.AgreedDiffers},
		"a negative total":            {settle(v.ID, "-"+v.Trial.Total, v.Trial.Cash), fault.AgreedDiffers},
		"no amount":                   {settle(v.ID, "much", v.Trial.Cash), fault.AmountInvalid},
		"a visit that is not there":   {settle("V20000101000000", v.Trial.Total, v.Trial.Cash), fault.VisitUnknown},
		"the settlement of another visit": {func() error {
			_, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: other.Journal})
			return err
		}, fault.EntryUnknown},
		"a refund of what is not settled": {func() error {
			_, err := b.Service.Refund(ctx, "", terminal.RefundRequest{Entry: 1 << 40})
			return err
		}, fault.EntryUnknown},
	} {
		if got := explained(t, c.do()); got != c.code {
			t.Errorf("%s: %s, want %s", name, got, c.code)
		}
	}
	if n := len(b.Center.Settlements()); n != before {
		t.Errorf("%d settlements", n-before)
	}
	// A code that the centre's catalogue does not have: the centre refuses the batch.
	lines := deskbed.Lines()
	lines[1].Code = "XX0000000000000000000"
	if _, err := b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Trial(ctx, v.ID); explained(t, err) != fault.FeeLineRefused {
		t.Errorf("a code of no catalogue: %v", err)
	}
	reconciled(b)
}

// A card that was reported lost, in the centre's own books.
func TestLostCard(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Image: "2.0", Center: centersim.Config{Data: person(t, func(p map[string]any) {
		p["card"].(map[string]any)["state"] = "lost"
	})}})
	b.Ready()
	step, err := plays(t, b)
	if got := explained(t, err); step != "open" || got != fault.UpstreamRefused || !strings.Contains(terminal.Explain(err).Detail, "挂失") {
		t.Errorf("%s: %v, %+v", step, err, terminal.Explain(err))
	}
	reconciled(b)
}

// A clock that jumps back, between two visits and within one: no message number
// is used twice, and every settlement is in the journal once.
func TestClockJumpsBack(t *testing.T) {
	var back atomic.Int64
	b := deskbed.New(t, deskbed.Options{Now: func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }})
	b.Ready()
	for _, jump := range []time.Duration{0, 3 * time.Second, 2 * time.Hour, 26 * time.Hour} {
		back.Store(int64(jump))
		if step, err := plays(t, b); err != nil {
			t.Fatalf("%s back, %s: %v", jump, step, err)
		}
		reconciled(b)
	}
	back.Store(0)
	v := b.Tried()
	back.Store(int64(time.Hour))
	v, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
	if err != nil || v.State != terminal.VisitSettled {
		t.Fatalf("within a visit: %+v, %v", v, err)
	}
	reconciled(b)
	day, err := b.Service.Journal(t.Context(), terminal.AllDays, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, e := range day.Entries {
		if seen[e.MsgID] {
			t.Errorf("message number %s twice", e.MsgID)
		}
		seen[e.MsgID] = true
	}
	if len(seen) != 9 {
		t.Errorf("%d entries", len(seen))
	}
	if whole, err := b.Service.VerifyJournal(t.Context()); err != nil || whole.Entries != 9 {
		t.Errorf("%+v, %v", whole, err)
	}
	if fmt.Sprint(b.Service.State().Journal.Unknown) != "0" {
		t.Error("something is in doubt")
	}
}
