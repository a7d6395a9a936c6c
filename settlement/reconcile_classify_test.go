package settlement

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawResult draws a row of a result and what the journal may know of it.
func drawResult(t *rapid.T) (ResultRow, *bookedRow, known) {
	amount := func(name string) NullFen {
		if rapid.IntRange(0, 9).Draw(t, name+" null") == 0 {
			return NullFen{}
		}
		return SomeFen(Fen(rapid.Int64Range(-500, 500).Draw(t, name)))
	}
	r := ResultRow{
		PsnNo: rapid.SampledFrom([]string{"P", ""}).Draw(t, "psn_no"), MdtrtID: rapid.SampledFrom([]string{"M", ""}).Draw(t, "mdtrt_id"),
		SetlID: rapid.SampledFrom([]string{"S1", "S2", ""}).Draw(t, "setl_id"), MsgID: rapid.SampledFrom([]string{"N1", ""}).Draw(t, "msgid"),
		Balanced: rapid.IntRange(0, 9).Draw(t, "stmt_rslt") == 0, Refund: rapid.Bool().Draw(t, "refd_setl_flag"),
		Total: amount("total"), Fund: amount("fund"), Account: amount("account"),
	}
	var row *bookedRow
	if rapid.Bool().Draw(t, "listed") {
		row = &bookedRow{StatementRow: StatementRow{SetlID: r.SetlID, Amounts: Amounts{
			Total: Fen(rapid.Int64Range(-500, 500).Draw(t, "ours")), Fund: r.Fund.Fen, Account: r.Account.Fen,
		}}, entry: 7, msgid: rapid.SampledFrom([]string{"N1", "N2", adoptedMsgID(r.SetlID)}).Draw(t, "our msgid"), undoes: rapid.Int64Range(0, 1).Draw(t, "our refund"), reversedBy: rapid.Int64Range(0, 1).Draw(t, "refunded")}
		row.assumed = rapid.Bool().Draw(t, "assumed")
		k := known{}
		if r.MsgID != "" && r.MsgID != row.msgid && rapid.Bool().Draw(t, "of another entry") {
			k.entry = &Entry{ID: 8, MsgID: r.MsgID, Outcome: Unknown}
		}
		return r, row, k
	}
	entry := func(name string) *Entry {
		if rapid.Bool().Draw(t, "no "+name) {
			return nil
		}
		return &Entry{
			ID: 9, Infno: rapid.SampledFrom([]string{"2207", "2208", "2601", "2102"}).Draw(t, name+" infno"),
			Outcome: rapid.SampledFrom([]Outcome{Intended, Done, Refused, Unknown}).Draw(t, name+" outcome"),
			MsgID:   rapid.SampledFrom([]string{"N1", "N2"}).Draw(t, name+" msgid"),
			SetlID:  rapid.SampledFrom([]string{"S1", "S2", ""}).Draw(t, name+" setl_id"),
			Undoes:  rapid.Int64Range(0, 1).Draw(t, name+" undoes"),
		}
	}
	k := known{entry: entry("entry"), ours: rapid.Bool().Draw(t, "lane"), foreign: false}
	if !k.ours {
		k.foreign = rapid.Bool().Draw(t, "foreign")
	}
	k.holds = rapid.SampledFrom([]string{"N1", "N2", ""}).Draw(t, "msgid of its own setl_id")
	if rapid.IntRange(0, 3).Draw(t, "adopted") == 0 {
		k.adopted = &Entry{ID: 11, Infno: "2207", Outcome: Done, SetlID: r.SetlID}
	}
	if (k.entry != nil || k.adopted != nil) && rapid.Bool().Draw(t, "undone") {
		k.undone = &Entry{ID: 12, Infno: rapid.SampledFrom([]string{"2208", "2601", infnoNotBooked}).Draw(t, "by")}
	}
	return r, nil, k
}

// TestClassify: whatever a result says and the journal knows, nothing is
// proposed that could take or book money wrongly.
func TestClassify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, row, k := drawResult(t)
		d, ok := classify(r, row, k)
		anothers := row != nil && k.entry != nil && row.msgid != adoptedMsgID(r.SetlID)
		if ok == (r.Balanced && !anothers) {
			t.Fatalf("%v of a row that says %v", ok, r.Balanced)
		}
		if !ok {
			return
		}
		// Which side has it follows from the ids alone.
		want := OnlyUpstream
		switch {
		case r.MsgID == "":
			want = OnlyHere
		case row != nil:
			want = Differs
		}
		if d.Kind != want {
			t.Fatalf("%s, want %s", d.Kind, want)
		}
		if d.Action == ActNone {
			if d.State != StateExplained || len(d.Choices) != 0 {
				t.Fatalf("explained, and %v can be done: %+v", d.Choices, d)
			}
			return
		}
		if d.State != StateOpen || len(d.Choices) == 0 || d.Choices[0] != d.Action || !slices.Contains(d.Choices, ActAsk) {
			t.Fatalf("%+v", d)
		}
		may := func(a Action) bool { return slices.Contains(d.Choices, a) }
		if may(ActBook) && (k.adopted != nil || k.entry == nil || k.entry.Outcome != Unknown || !r.Total.Valid || !r.Fund.Valid || !r.Account.Valid || r.SetlID == "") {
			t.Fatalf("books %+v", d)
		}
		if may(ActBook) && (r.Total.Fen < 0) != (k.entry.Undoes != 0) {
			t.Fatalf("books with the wrong sign: %+v", d)
		}
		if may(ActRefund) && (r.Refund || r.Total.Fen <= 0 || r.MsgID == "" || row != nil || r.PsnNo == "" || r.SetlID == "" || k.foreign && k.entry == nil && k.adopted == nil) {
			t.Fatalf("refunds %+v", d)
		}
		if e := k.entry; may(ActRefund) && k.adopted == nil && e != nil && (e.Outcome == Unknown || e.Outcome == Intended || e.Outcome == Done && e.SetlID == r.SetlID) {
			t.Fatalf("refunds what is ours: %+v", d)
		}
		// What is done here may have no other booking: only where the centre has its
		// msgid under its own setl_id, too, is there one too many.
		marked := d.Action == ActAsk && k.undone != nil && k.undone.Infno == infnoNotBooked
		if e := k.entry; may(ActRefund) && e != nil && e.Outcome == Done && e.Infno != infnoReversal && !marked && (e.SetlID == r.SetlID || k.holds != e.MsgID) {
			t.Fatalf("refunds what may be the only booking: %+v", d)
		}
		if d.Finding == FoundNumbered && (d.Answered != k.entry.SetlID || d.SetlID != r.SetlID || d.Answered == d.SetlID || d.Entry != k.entry.ID || d.Action != ActAsk) {
			t.Fatalf("does not name both numbers: %+v", d)
		}
		if d.Action == ActRefund && k.entry == nil && k.adopted == nil && !k.ours {
			t.Fatalf("proposes to refund what may be another desk's: %+v", d)
		}
		if may(ActVoid) && (row == nil || row.undoes != 0 || row.reversedBy != 0 || r.MsgID == "" && row.assumed || r.MsgID != "" && (!anothers || d.Action == ActVoid)) {
			t.Fatalf("voids %+v", d)
		}
	})
}

// TestClassifyTable: the plain cases, by name.
func TestClassifyTable(t *testing.T) {
	full := ResultRow{PsnNo: "P", MdtrtID: "M", SetlID: "S", MsgID: "N", Total: SomeFen(100), Fund: SomeFen(50), Account: SomeFen(0)}
	with := func(change func(*ResultRow)) ResultRow {
		r := full
		change(&r)
		return r
	}
	ours := &bookedRow{StatementRow: StatementRow{SetlID: "S", Amounts: Amounts{Total: 100, Fund: 50, Cash: 50}}, entry: 1}
	for name, x := range map[string]struct {
		result  ResultRow
		row     *bookedRow
		known   known
		finding Finding
		action  Action
	}{
		"only here":         {with(func(r *ResultRow) { r.MsgID = "" }), ours, known{}, FoundMissing, ActVoid},
		"stray":             {with(func(r *ResultRow) { r.MsgID = "" }), nil, known{}, FoundStray, ActAsk},
		"amounts":           {with(func(r *ResultRow) { r.Total = SomeFen(101) }), ours, known{}, FoundAmounts, ActAsk},
		"numbers":           {full, ours, known{}, FoundNumbers, ActAsk},
		"unknown":           {full, nil, known{entry: &Entry{Outcome: Unknown}}, FoundUnknown, ActBook},
		"no amounts":        {with(func(r *ResultRow) { r.Fund = NullFen{} }), nil, known{entry: &Entry{Outcome: Unknown}}, FoundIncomplete, ActAsk},
		"on its way":        {full, nil, known{entry: &Entry{Outcome: Intended}}, FoundOnItsWay, ActAsk},
		"refused":           {full, nil, known{entry: &Entry{Outcome: Refused}}, FoundRefused, ActRefund},
		"twice":             {full, nil, known{entry: &Entry{Outcome: Done, SetlID: "T", MsgID: "N"}, holds: "N"}, FoundTwice, ActRefund},
		"its only booking":  {full, nil, known{entry: &Entry{Outcome: Done, SetlID: "T", MsgID: "N"}, holds: "O"}, FoundNumbered, ActAsk},
		"not proven twice":  {full, nil, known{entry: &Entry{Outcome: Done, SetlID: "T", MsgID: "N"}}, FoundNumbered, ActAsk},
		"begun to refund":   {full, nil, known{entry: &Entry{Outcome: Done, SetlID: "T", MsgID: "N"}, adopted: &Entry{Outcome: Done}}, FoundNumbered, ActAsk},
		"another's number":  {full, ours, known{entry: &Entry{ID: 2, Outcome: Unknown}}, FoundAnothers, ActAsk},
		"another's, alike":  {with(func(r *ResultRow) { r.Balanced = true }), ours, known{entry: &Entry{ID: 2, Outcome: Unknown}}, FoundAnothers, ActAsk},
		"other day":         {full, nil, known{entry: &Entry{Outcome: Done, SetlID: "S"}}, FoundOtherDay, ActNone},
		"marked before":     {full, nil, known{entry: &Entry{Outcome: Done, SetlID: "S"}, undone: &Entry{Infno: infnoNotBooked}}, FoundVoided, ActAsk},
		"reversed":          {full, nil, known{entry: &Entry{Outcome: Refused}, undone: &Entry{Infno: "2601"}}, FoundReversed, ActNone},
		"the reversal":      {with(func(r *ResultRow) { r.Refund = true; r.Total = SomeFen(-100) }), nil, known{entry: &Entry{Outcome: Done, Infno: "2601"}}, FoundReversed, ActNone},
		"nobody":            {full, nil, known{ours: true}, FoundNobody, ActRefund},
		"maybe another's":   {full, nil, known{}, FoundElsewhere, ActAsk},
		"another's":         {full, nil, known{foreign: true}, FoundElsewhere, ActAsk},
		"a refund":          {with(func(r *ResultRow) { r.Refund = true; r.Total = SomeFen(-100) }), nil, known{ours: true}, FoundRefund, ActAsk},
		"written down":      {full, nil, known{adopted: &Entry{Outcome: Done}}, FoundNobody, ActRefund},
		"refunded by us":    {full, nil, known{adopted: &Entry{Outcome: Done}, undone: &Entry{Infno: "2208"}}, FoundRefunded, ActNone},
		"refund in doubt":   {with(func(r *ResultRow) { r.Refund = true; r.Total = SomeFen(-100) }), nil, known{entry: &Entry{Outcome: Unknown, Undoes: 1}}, FoundUnknown, ActBook},
		"sign of no refund": {with(func(r *ResultRow) { r.Total = SomeFen(-100) }), nil, known{entry: &Entry{Outcome: Unknown}}, FoundIncomplete, ActAsk},
	} {
		if d, ok := classify(x.result, x.row, x.known); !ok || d.Finding != x.finding || d.Action != x.action {
			t.Errorf("%s: %s %s", name, d.Finding, d.Action)
		}
	}
}
