package terminal_test

import (
	"fmt"
	"strings"
	"testing"

	"onecard/fault"
	"onecard/reader/virtual"
	"onecard/settlement"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// offline is what the insurer of these tests permits.
func offline(c *terminal.Config) {
	impatient(c)
	c.Offline = terminal.OfflineConfig{
		Allowed: true, Institution: "510104001", PurchaseLimit: "100.00", DayLimit: "150.00", DayCount: 3,
		CardLimit: "500.00", CardCount: 5, ContactHours: 24,
	}
}

// cut takes the centre away.
func cut(b *deskbed.Bed) {
	b.HTTP.CloseClientConnections()
	b.HTTP.Close()
}

// back is the same desk after a restart, with the centre there again: what was
// begun before is its to end.
func back(t *testing.T, b *deskbed.Bed) *deskbed.Bed {
	t.Helper()
	b.Stop()
	if err := b.Center.Close(); err != nil { // one ledger, one centre
		t.Fatal(err)
	}
	return deskbed.New(t, deskbed.Options{Dir: b.Dir, Image: "none", Configure: offline})
}

// offlineDesk is a desk that has met the centre, has a card with its PIN, and
// then loses the line.
func offlineDesk(t *testing.T, o deskbed.Options) *deskbed.Bed {
	t.Helper()
	if o.Configure == nil {
		o.Configure = offline
	}
	b := deskbed.New(t, o)
	b.Ready()
	met(t, b)
	if err := b.Service.VerifyPIN(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	cut(b)
	return b
}

// met has the centre answer a transaction.
func met(t *testing.T, b *deskbed.Bed) {
	t.Helper()
	v, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Service.Abandon(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	b.Await("the contact is kept", func(terminal.State) bool {
		at, err := b.Journal.Contact(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return !at.IsZero()
	})
}

func pay(b *deskbed.Bed, yuan string) (terminal.CardTransaction, error) {
	return b.Service.Debit(b.T.Context(), "", terminal.DebitRequest{Account: yuan, Offline: true})
}

// A card pays while the line is down; when it is back the insurer is told once,
// with the card's own signature, in the order of the purchases.
func TestOfflineDebit(t *testing.T) {
	b := offlineDesk(t, deskbed.Options{})
	var paid []terminal.CardTransaction
	for _, yuan := range []string{"36.80", "12.00"} {
		tr, err := pay(b, yuan)
		if err != nil {
			t.Fatal(err)
		}
		if tr.State != "done" || tr.TAC == "" || !tr.Verified || tr.Account != yuan {
			t.Fatalf("debit: %+v", tr)
		}
		paid = append(paid, tr)
	}
	if total, count := value(t, b, "DF04EF06", "92"), value(t, b, "DF04EF06", "93"); total != "48.80" || count != "2" {
		t.Errorf("the card counts %s in %s purchases", total, count)
	}
	list, err := b.Service.Outbox(t.Context(), "", terminal.LetterDebit, 0, 10)
	if err != nil || len(list.Items) != 2 || list.Items[0].Lane != list.Items[1].Lane {
		t.Fatalf("queued: %+v, %v", list, err)
	}
	again := back(t, b)
	awaitItem(t, again, terminal.LetterDebit, "sent") // the latest, and so all
	got := again.Center.Debits()
	for n, d := range got {
		if d.TAC != strings.ToUpper(paid[n].TAC) || d.ID != paid[n].ID || fmt.Sprint(paid[n].Sequence) != d.Sequence ||
			settlement.Fen(d.Account).Yuan() != paid[n].Account {
			t.Errorf("uploaded %+v, the card paid %+v", d, paid[n])
		}
		if log := again.Log.String() + b.Log.String(); strings.Contains(log, d.Card) || strings.Contains(log, d.TAC) {
			t.Error("the card or its TAC is in the log")
		}
	}
	if len(got) != 2 {
		t.Errorf("uploaded %d", len(got))
	}
}

// An upload that the centre refuses is a dead letter with everything a person
// needs, and the later debits of that card wait behind it.
func TestOfflineDebitRefused(t *testing.T) {
	b := offlineDesk(t, deskbed.Options{})
	var ids []string
	for range 2 {
		tr, err := pay(b, "5.00")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, tr.ID)
	}
	b.Stop()
	if err := b.Center.Close(); err != nil {
		t.Fatal(err)
	}
	// Once for the sign_no that may have lapsed.
	refuse := centersim.Fault{Infno: "2190", Kind: centersim.Refuse, Text: "卡已挂失"}
	again := deskbed.New(t, deskbed.Options{Dir: b.Dir, Image: "none", Configure: offline, Center: centersim.Config{Faults: []centersim.Fault{refuse, refuse}}})
	again.Await("a dead letter", func(s terminal.State) bool {
		for _, c := range s.Health {
			if c.Name == terminal.HealthOutbox && !c.OK {
				return true
			}
		}
		return false
	})
	items, err := again.Service.Outbox(t.Context(), "", terminal.LetterDebit, 0, 10)
	if err != nil || len(items.Items) != 2 || items.Items[1].State != "dead" || items.Items[0].State != "waiting" {
		t.Fatalf("after the refusal: %+v, %v", items, err)
	}
	d, err := again.Service.OutboxContent(t.Context(), items.Items[1].ID)
	if err != nil || !strings.Contains(d.Content, ids[0]) || !strings.Contains(d.Content, `"tac":"`) || d.Fault == nil || d.Fault.Detail != "卡已挂失" {
		t.Fatalf("what a person sees: %+v, %v", d, err)
	}
	if _, err := again.Service.RetryLetter(t.Context(), d.ID, terminal.OutboxOrder{Who: "chief", Reason: "the loss was undone"}); err != nil {
		t.Fatal(err)
	}
	awaitItem(t, again, terminal.LetterDebit, "sent")
	if got := again.Center.Debits(); len(got) != 2 || got[0].ID != ids[0] || got[1].ID != ids[1] {
		t.Errorf("uploaded %+v", got)
	}
}

// Each limit has its own code, and nothing is debited or counted.
func TestOfflineLimits(t *testing.T) {
	change := func(how func(*terminal.OfflineConfig)) func(*terminal.Config) {
		return func(c *terminal.Config) { offline(c); how(&c.Offline) }
	}
	for _, c := range []struct {
		name  string
		o     deskbed.Options
		first string // paid before
		yuan  string
		code  fault.Code
	}{
		{"not permitted here", deskbed.Options{Configure: change(func(o *terminal.OfflineConfig) { o.Allowed = false })}, "", "1.00", fault.OfflineForbidden},
		{"nothing", deskbed.Options{}, "", "0.00", fault.AmountInvalid},
		{"negative", deskbed.Options{}, "", "-1.00", fault.AmountInvalid},
		{"one purchase", deskbed.Options{}, "", "100.01", fault.OfflinePurchaseLimit},
		{"a day", deskbed.Options{}, "80.00", "70.01", fault.OfflineDayLimit},
		{"purchases of a day", deskbed.Options{Configure: change(func(o *terminal.OfflineConfig) { o.DayCount = 1 })}, "1.00", "1.00", fault.OfflineCountLimit},
		{"the card's total", deskbed.Options{Configure: change(func(o *terminal.OfflineConfig) { o.CardLimit = "50.00" })}, "30.00", "20.01", fault.OfflineCardLimit},
		{"the card's count", deskbed.Options{Configure: change(func(o *terminal.OfflineConfig) { o.CardCount = 1 })}, "1.00", "1.00", fault.OfflineCardLimit},
		{"elsewhere", deskbed.Options{Configure: change(func(o *terminal.OfflineConfig) { o.Institution = "510109999" })}, "", "1.00", fault.OfflineInstitution},
		{"a card of version 1.0", deskbed.Options{Image: "1.0", Configure: change(func(o *terminal.OfflineConfig) { o.Institution = "510104001" })}, "", "1.00", fault.OfflineCardForbids},
		{"a card that forbids it", deskbed.Options{Image: "2.0", Configure: change(func(o *terminal.OfflineConfig) { o.Institution = "410105001" })}, "", "1.00", fault.OfflineCardForbids},
		{"more than the balance", deskbed.Options{Configure: change(func(o *terminal.OfflineConfig) {
			o.PurchaseLimit, o.DayLimit, o.CardLimit = "90000.00", "90000.00", "90000.00"
		})}, "", "80000.00", fault.AmountRefused},
		{"no right", deskbed.Options{Configure: func(c *terminal.Config) { offline(c); c.Operator.Rights = []string{} }}, "", "1.00", fault.NotPermitted},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := c.o
			if o.Configure == nil {
				o.Configure = offline
			}
			b := deskbed.New(t, o)
			b.Ready()
			if err := b.Journal.SetContact(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := b.Service.VerifyPIN(t.Context(), "", nil); err != nil {
				t.Fatal(err)
			}
			cut(b)
			if c.first != "" {
				if _, err := pay(b, c.first); err != nil {
					t.Fatal(err)
				}
			}
			before, err := b.Service.Account(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pay(b, c.yuan); code(err) != c.code {
				t.Fatalf("debit: %v (%s), want %s", err, code(err), c.code)
			}
			if after, err := b.Service.Account(t.Context(), ""); err != nil || after != before {
				t.Errorf("the account had %+v and has %+v, %v", before, after, err)
			}
			if o.Image == "1.0" {
				return
			}
			count := "0"
			if c.first != "" {
				count = "1"
			}
			if got := value(t, b, "DF04EF06", "93"); got != count {
				t.Errorf("the card counts %s purchases, not %s", got, count)
			}
		})
	}
}

// Off-line is for the time without a line, and not for a desk that has long been
// without one, or for a card without its PIN.
func TestOfflineWantsItsTime(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Configure: offline})
	b.Ready()
	if _, err := pay(b, "1.00"); code(err) != fault.OfflineContactOld {
		t.Errorf("a desk that never met the centre: %v", err)
	}
	if err := b.Journal.SetContact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := pay(b, "1.00"); code(err) != fault.OfflineNotNeeded {
		t.Errorf("the centre answers: %v", err)
	}
	cut(b)
	if _, err := pay(b, "1.00"); code(err) != fault.PINRequired {
		t.Errorf("without the PIN: %v", err)
	}
}

// A card that is torn out at any command of an off-line debit decides when it is
// back: what it paid is uploaded once, what it did not pay never is, and no
// counter of the card says less than it paid.
func TestOfflineTornCard(t *testing.T) {
	b := offlineDesk(t, deskbed.Options{Configure: func(c *terminal.Config) {
		offline(c)
		c.Offline.DayCount, c.Offline.CardCount = 1000, 99
		c.Offline.DayLimit, c.Offline.CardLimit = "9000.00", "9000.00"
	}})
	account := func() settlement.Fen {
		a, err := b.Service.Account(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		balance, err := settlement.ParseYuan(a.Balance)
		if err != nil {
			t.Fatal(err)
		}
		return balance
	}
	before := account()
	torn := 0
	for at, done := 1, false; !done; at++ {
		for _, kind := range []virtual.FaultKind{virtual.Remove, virtual.Tear} {
			if err := b.Reader.Order(deskbed.Slot, virtual.Fault{Kind: kind, At: at}); err != nil {
				t.Fatal(err)
			}
			_, err := pay(b, "1.00")
			if err == nil {
				done = true
				break
			}
			torn++
			b.Await("the card is gone", func(s terminal.State) bool { return s.Readers[0].State == terminal.ReaderEmpty })
			b.Reinsert()
			if r := b.Ready(); r.State != terminal.ReaderReady {
				t.Fatalf("cut %d: after the card returned: %+v", at, r)
			}
			if err := b.Service.VerifyPIN(t.Context(), "", nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.Reader.Clear(deskbed.Slot); err != nil {
		t.Fatal(err)
	}
	paid := before - account()
	total, err := settlement.ParseYuan(value(t, b, "DF04EF06", "92"))
	if err != nil || total < paid {
		t.Errorf("the card paid %s and counts %s, %v", paid, total, err)
	}
	again := back(t, b)
	again.Await("nothing is held or waits", func(terminal.State) bool {
		kinds, err := again.Service.OutboxKinds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(kinds) == 0
	})
	var told settlement.Fen
	for _, d := range again.Center.Debits() {
		told += settlement.Fen(d.Account)
	}
	if told != paid || torn < 10 {
		t.Errorf("the card paid %s, the centre was told of %s; torn out %d times", paid, told, torn)
	}
	t.Logf("torn out %d times, %s paid", torn, paid)
}
