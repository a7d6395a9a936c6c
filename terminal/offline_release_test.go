package terminal

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/card"
	"onecard/card/planstore"
	"onecard/settlement"
	"onecard/settlement/region"
)

// Wherever the process ended between the outbox and the journal of card
// transactions: what the card has done is released, what it was never ordered
// is void, and what nobody knows yet stays held.
func TestHeldDebitsAreDecided(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, ChinaTime)
	clock := func() time.Time { return now }
	journal, err := settlement.OpenJournal(filepath.Join(dir, "journal.db"), clock)
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	store, err := planstore.Open(filepath.Join(dir, "cards.db"), clock)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	rules, err := region.Load("one-endpoint")
	if err != nil {
		t.Fatal(err)
	}
	client, err := settlement.NewClient(settlement.Config{URL: "http://127.0.0.1:1/", Institution: settlement.Institution{Code: "H51010000001"}})
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(t.Output())
	s := New(Config{}, Parts{Journal: journal, Upstream: client, Debits: store.Debits(), Offline: &rules.Offline, Log: log, Now: clock})
	ctx := t.Context()
	long := func(name string) string { return name + strings.Repeat("0", 32-len(name)) }
	hold := func(name string, noted ...card.TransactionState) {
		t.Helper()
		tr := card.Transaction{ID: long(name), Card: "510100D15600000500000001AABBCCDD", Type: "2", State: card.TransactionIntended, Account: 100, Time: card.ChinaTime(now)}
		if err := s.holdDebit(ctx, settlement.CardDebit{Name: "某人"}, tr); err != nil {
			t.Fatal(err)
		}
		for _, tr.State = range noted {
			if tr.State == card.TransactionDone {
				tr.TAC = "0011AABB"
			}
			// Past the outbox, as if the process had ended before it was told.
			if err := store.Debits().Note(ctx, tr); err != nil {
				t.Fatal(err)
			}
		}
	}
	hold("done", card.TransactionIntended, card.TransactionDone)
	hold("void", card.TransactionIntended, card.TransactionVoid)
	hold("torn", card.TransactionIntended)
	hold("never")
	want := func(states map[string]settlement.OutboxState) {
		t.Helper()
		s.releaseDebits(ctx)
		for name, state := range states {
			item, found, err := s.outbox.box.Once(ctx, debitOnce(long(name)))
			if err != nil || !found || item.State != state {
				t.Errorf("%s: %v, %v; want %s", name, item, err, state)
			}
		}
	}
	// A purchase that is on its way may not be noted yet.
	want(map[string]settlement.OutboxState{"done": settlement.OutboxWaiting, "void": settlement.OutboxVoid, "torn": settlement.OutboxHeld, "never": settlement.OutboxHeld})
	now = now.Add(readTime + time.Second)
	want(map[string]settlement.OutboxState{"done": settlement.OutboxWaiting, "void": settlement.OutboxVoid, "torn": settlement.OutboxHeld, "never": settlement.OutboxVoid})
	item, _, err := s.outbox.box.Once(ctx, debitOnce(long("done")))
	var d settlement.CardDebit
	if err != nil || json.Unmarshal(item.Body, &d) != nil || d.TAC != "0011AABB" || d.Name != "某人" {
		t.Errorf("released without its TAC or holder: %+v, %v", d, err)
	}
	// The card is back and says that it has debited.
	if err := s.parts.Debits.Note(ctx, card.Transaction{ID: long("torn"), Card: d.Card, Type: "2", State: card.TransactionDone, TAC: "00", Time: card.ChinaTime(now)}); err != nil {
		t.Fatal(err)
	}
	want(map[string]settlement.OutboxState{"torn": settlement.OutboxWaiting})
	if sum, count, err := s.paidOffline(ctx, s.cardLane(d.Card)); err != nil || count != 2 || sum != 100 {
		t.Errorf("paid today: %s in %d, %v", sum, count, err)
	}
}
