package terminal_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"onecard/fault"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// impatient sends again what failed as soon as it may.
func impatient(c *terminal.Config) {
	c.Outbox = terminal.OutboxConfig{FirstPause: terminal.Duration(time.Millisecond), LongestPause: terminal.Duration(20 * time.Millisecond), Attempts: 50}
}

// booked counts the bookings of a transaction in the centre's ledger.
func booked(t *testing.T, b *deskbed.Bed, infno string) (n int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.Dir, "center.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var l struct {
			Event struct {
				Infno string `json:"infno"`
			} `json:"event"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Event.Infno == infno {
			n++
		}
	}
	return n
}

// awaitItem waits until the latest item of a kind is in a state.
func awaitItem(t *testing.T, b *deskbed.Bed, kind, state string) terminal.OutboxItem {
	t.Helper()
	var found terminal.OutboxItem
	b.Await(kind+" "+state, func(terminal.State) bool {
		list, err := b.Service.Outbox(t.Context(), "all", kind, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) == 1 {
			found = list.Items[0]
		}
		return len(list.Items) == 1 && found.State == state
	})
	return found
}

// Whatever becomes of the cancellation when a visit is given up: nothing stays at
// the centre, and the desk is free at once.
func TestGivenUpVisitIsTakenBackLater(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults []centersim.Fault
	}{
		{"lines: not reached", []centersim.Fault{{Infno: "2205", Kind: centersim.DropBefore}}},
		{"lines: answer lost", []centersim.Fault{{Infno: "2205", Kind: centersim.DropAfter}}},
		{"registration: not reached", []centersim.Fault{{Infno: "2202", Kind: centersim.DropBefore}}},
		{"registration: answer lost", []centersim.Fault{{Infno: "2202", Kind: centersim.DropAfter}}},
		{"maintenance", []centersim.Fault{{Infno: "2205", Kind: centersim.HTTPBefore, Number: 503}, {Infno: "2202", Kind: centersim.HTTPBefore, Number: 502}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{Configure: impatient})
			b.Ready()
			v := b.Tried()
			if err := b.Center.Order(c.faults...); err != nil {
				t.Fatal(err)
			}
			if err := b.Service.Abandon(t.Context(), v.ID); err != nil {
				t.Fatal(err)
			}
			if s := b.Service.State(); s.Visit != nil {
				t.Errorf("still shown: %+v", s.Visit)
			}
			awaitItem(t, b, terminal.LetterWithdraw, "sent")
			if n := booked(t, b, "2202"); n != 1 {
				t.Errorf("the registration was cancelled %d times", n)
			}
			if got, err := b.Service.Visit(v.ID); err != nil || got.State != terminal.VisitClosed || len(got.Next) != 0 {
				t.Errorf("visit: %+v, %v", got, err)
			}
		})
	}
}

// A registration whose answer was lost may be at the centre: it is taken back,
// too, and the next visit is not in its way.
func TestLostRegistrationIsTakenBackLater(t *testing.T) {
	for _, kind := range []centersim.FaultKind{centersim.DropAfter, centersim.DropBefore} {
		b := deskbed.New(t, deskbed.Options{Configure: impatient})
		b.Ready()
		if err := b.Center.Order(centersim.Fault{Infno: "2201", Kind: kind}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{}); code(err) != fault.NoAnswer {
			t.Fatalf("%s: open: %v", kind, err)
		}
		awaitItem(t, b, terminal.LetterWithdraw, "sent")
		if n := booked(t, b, "2202"); n != 1 {
			t.Errorf("%s: cancelled %d times", kind, n)
		}
		if v := b.Tried(); v.State != terminal.VisitTried {
			t.Errorf("%s: the next visit: %+v", kind, v)
		}
	}
}

// The centre is down when a visit is given up, and onecardd ends before it is
// back: the next one takes the visit back.
func TestGivenUpVisitIsTakenBackAfterARestart(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	v := b.Tried()
	b.HTTP.CloseClientConnections()
	b.HTTP.Close()
	if err := b.Service.Abandon(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	i := awaitItem(t, b, terminal.LetterWithdraw, "waiting")
	if i.Lane != v.ID || i.Attempts != 0 {
		t.Errorf("queued: %+v", i)
	}
	b.Stop()
	if err := b.Center.Close(); err != nil { // one ledger, one centre
		t.Fatal(err)
	}
	again := deskbed.New(t, deskbed.Options{Dir: b.Dir, Image: "none", Configure: impatient})
	awaitItem(t, again, terminal.LetterWithdraw, "sent")
	if n := booked(t, again, "2202"); n != 1 {
		t.Errorf("cancelled %d times", n)
	}
	if s := again.Service.State(); s.Visit != nil {
		t.Errorf("shown after the restart: %+v", s.Visit)
	}
}

// What the centre refuses is a dead letter that health and metrics show until a
// person has decided.
func TestDeadLetterWantsAPerson(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Configure: impatient})
	b.Ready()
	v := b.Tried()
	if err := b.Center.Order(
		centersim.Fault{Infno: "2202", Kind: centersim.Refuse, Text: "不可撤销"}, centersim.Fault{Infno: "2202", Kind: centersim.Refuse, Text: "不可撤销"},
	); err != nil {
		t.Fatal(err)
	}
	if err := b.Service.Abandon(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	i := awaitItem(t, b, terminal.LetterWithdraw, "dead")
	if i.Fault == nil || i.Fault.Code != fault.UpstreamRefused || i.Fault.Detail != "不可撤销" {
		t.Errorf("dead: %+v", i.Fault)
	}
	condition := func(s terminal.State) *terminal.Condition {
		for _, c := range s.Health {
			if c.Name == terminal.HealthOutbox {
				return &c
			}
		}
		return nil
	}
	s := b.Await("the condition", func(s terminal.State) bool { return condition(s) != nil })
	if c := condition(s); c.OK || c.Fault.Code != fault.OutboxDead || c.Fault.Detail != "1" {
		t.Errorf("condition: %+v", c)
	}
	if _, err := b.Service.RetryLetter(t.Context(), i.ID, terminal.OutboxOrder{Who: "chief"}); code(err) != fault.DecisionInvalid {
		t.Errorf("without a reason: %v", err)
	}
	if _, err := b.Service.RetryLetter(t.Context(), i.ID, terminal.OutboxOrder{Who: "chief", Reason: "the centre has opened the day again"}); err != nil {
		t.Fatal(err)
	}
	awaitItem(t, b, terminal.LetterWithdraw, "sent")
	b.Await("well again", func(s terminal.State) bool { c := condition(s); return c != nil && c.OK })
	d, err := b.Service.OutboxContent(t.Context(), i.ID)
	if err != nil || len(d.Decisions) != 1 || d.Decisions[0].Who != "chief" || d.Decisions[0].Verdict != "retry" {
		t.Errorf("decisions: %+v, %v", d, err)
	}
	if !strings.Contains(b.Log.String(), "outbox item retried") {
		t.Error("the decision is not in the audit log")
	}
}

func department(number string) json.RawMessage {
	return json.RawMessage(`{"deptinfo":{"hosp_dept_codg":"` + number + `","caty":"A03","hosp_dept_name":"内科","begntime":"2026-01-01 08:00:00","itro":"内科","dept_resper_name":"李医生","dept_resper_tel":"02800000000","dept_estbdat":"2026-01-01 08:00:00","aprv_bed_cnt":0,"hi_crtf_bed_cnt":0,"poolarea_no":"510100","dr_psncnt":1,"phar_psncnt":0,"nurs_psncnt":0,"tecn_psncnt":0}}`)
}

// An upload that no patient waits for is validated at once, sent when the centre
// takes it, and queued once.
func TestUploadWaits(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Configure: impatient})
	if err := b.Center.Order(centersim.Fault{Infno: "3401", Kind: centersim.DropBefore}); err != nil {
		t.Fatal(err)
	}
	first, err := b.Service.QueueUpload(t.Context(), terminal.UploadRequest{Infno: "3401", Input: department("0300"), Once: "0300"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Service.QueueUpload(t.Context(), terminal.UploadRequest{Infno: "3401", Input: department("0300"), Once: "0300"})
	if err != nil || again.ID != first.ID {
		t.Fatalf("queued twice: %+v, %v", again, err)
	}
	awaitItem(t, b, terminal.LetterUpload, "sent")
	if n := booked(t, b, "3401"); n != 1 {
		t.Errorf("uploaded %d times", n)
	}
	for name, bad := range map[string]struct {
		req  terminal.UploadRequest
		code fault.Code
	}{
		"a settlement":  {terminal.UploadRequest{Infno: "2207", Input: department("1"), Once: "1"}, fault.MayNotWait},
		"a look-up":     {terminal.UploadRequest{Infno: "5201", Input: department("1"), Once: "1"}, fault.MayNotWait},
		"no number":     {terminal.UploadRequest{Infno: "", Input: department("1"), Once: "1"}, fault.MayNotWait},
		"two rows":      {terminal.UploadRequest{Infno: "3401\t", Input: department("1"), Once: "1"}, fault.MayNotWait},
		"no input":      {terminal.UploadRequest{Infno: "3401", Once: "1"}, fault.FieldMissing},
		"no name":       {terminal.UploadRequest{Infno: "3401", Input: department("1")}, fault.FieldMissing},
		"a wrong area":  {terminal.UploadRequest{Infno: "3401", Input: department("1"), Once: "1", Area: "51"}, fault.BodyInvalid},
		"a wrong field": {terminal.UploadRequest{Infno: "3401", Input: department(strings.Repeat("0", 99)), Once: "1"}, fault.FieldTooLong},
	} {
		if _, err := b.Service.QueueUpload(t.Context(), bad.req); code(err) != bad.code {
			t.Errorf("%s: %v (%s), want %s", name, err, code(err), bad.code)
		}
	}
}

// An upload of which no answer came is not sent again where a second would be
// another one.
func TestUploadOfWhichNobodyKnows(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Configure: impatient})
	if err := b.Center.Order(centersim.Fault{Infno: "3403", Kind: centersim.DropAfter}); err != nil {
		t.Fatal(err)
	}
	input := json.RawMessage(`{"data":{"hosp_dept_codg":"0300","hosp_dept_name":"内科","begntime":"2026-01-01"}}`)
	if _, err := b.Service.QueueUpload(t.Context(), terminal.UploadRequest{Infno: "3403", Input: input, Once: "0300"}); err != nil {
		t.Fatal(err)
	}
	i := awaitItem(t, b, terminal.LetterUpload, "dead")
	if !i.Doubt || booked(t, b, "3403") != 1 {
		t.Errorf("sent again: %+v, booked %d", i, booked(t, b, "3403"))
	}
}

// Who may not resolve may look and not decide.
func TestOutboxWantsTheRight(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Rights: []string{terminal.RightSettle}})
	if _, err := b.Service.Outbox(t.Context(), "", "", 0, 10); err != nil {
		t.Error(err)
	}
	if _, err := b.Service.Outbox(t.Context(), "lost", "", 0, 10); code(err) != fault.BodyInvalid {
		t.Errorf("a state that is none: %v", err)
	}
	for name, do := range map[string]func() error{
		"retry": func() error { _, err := b.Service.RetryLetter(t.Context(), 1, terminal.OutboxOrder{}); return err },
		"drop":  func() error { _, err := b.Service.DropLetter(t.Context(), 1, terminal.OutboxOrder{}); return err },
	} {
		if err := do(); code(err) != fault.NotPermitted {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A refund that nobody waits for goes through the journal: once, also where its
// answer is lost, and not at all where the centre has not been asked yet.
func TestQueuedRefund(t *testing.T) {
	for name, faults := range map[string][]centersim.Fault{
		"at once":       nil,
		"maintenance":   {{Infno: "9001", Kind: centersim.HTTPBefore, Number: 503}},
		"a bad gateway": {{Infno: "2208", Kind: centersim.HTTPBefore, Number: 429}},
	} {
		t.Run(name, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{Configure: impatient})
			b.Ready()
			v := b.Tried()
			v, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Center.Order(faults...); err != nil {
				t.Fatal(err)
			}
			first, err := b.Service.QueueRefund(t.Context(), terminal.RefundRequest{Entry: v.Journal, Reason: "policy"})
			if err != nil {
				t.Fatal(err)
			}
			if again, err := b.Service.QueueRefund(t.Context(), terminal.RefundRequest{Entry: v.Journal}); err == nil && again.ID != first.ID {
				t.Errorf("queued twice: %+v", again)
			}
			awaitItem(t, b, terminal.LetterRefund, "sent")
			if n := booked(t, b, "2208"); n != 1 {
				t.Errorf("refunded %d times", n)
			}
			if got, err := b.Service.Visit(v.ID); err != nil || len(got.Refunds) != 1 || got.Refunds[0].Reason != "policy" {
				t.Errorf("visit: %+v, %v", got, err)
			}
			if _, err := b.Service.QueueRefund(t.Context(), terminal.RefundRequest{Entry: v.Journal}); code(err) != fault.Refunded {
				t.Errorf("queued although it was taken back: %v", err)
			}
		})
	}
}

// The answer to a queued refund is lost: it is in doubt in the journal, is not
// sent again, and ends when a person has decided it there.
func TestQueuedRefundInDoubt(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Configure: impatient})
	b.Ready()
	v := b.Tried()
	v, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Center.Order(centersim.Fault{Infno: "2208", Kind: centersim.DropAfter}); err != nil {
		t.Fatal(err)
	}
	item, err := b.Service.QueueRefund(t.Context(), terminal.RefundRequest{Entry: v.Journal})
	if err != nil {
		t.Fatal(err)
	}
	b.Await("it was tried more than once", func(terminal.State) bool {
		list, err := b.Service.Outbox(t.Context(), "all", terminal.LetterRefund, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		return list.Items[0].Misses > 2
	})
	if n := booked(t, b, "2208"); n != 1 {
		t.Fatalf("sent again: booked %d times", n)
	}
	day, err := b.Service.Journal(t.Context(), "", "unknown", 10)
	if err != nil || len(day.Entries) != 1 {
		t.Fatalf("journal: %+v, %v", day, err)
	}
	at := b.Center.Settlements()
	negative := func(yuan string) string {
		if yuan == "0.00" {
			return yuan
		}
		return "-" + yuan
	}
	if _, err := b.Service.Resolve(t.Context(), day.Entries[0].ID, terminal.ResolveRequest{
		Outcome: "done", Who: "chief", Reason: "told by the centre", SettlementID: at[len(at)-1].SetlID,
		Total: negative(v.Receipt.Total), Fund: negative(v.Receipt.Fund), Account: negative(v.Receipt.Account), Cash: negative(v.Receipt.Cash),
	}); err != nil {
		t.Fatal(err)
	}
	if i := awaitItem(t, b, terminal.LetterRefund, "sent"); i.ID != item.ID {
		t.Errorf("another item: %+v", i)
	}
	if n := booked(t, b, "2208"); n != 1 {
		t.Errorf("booked %d times", n)
	}
}
