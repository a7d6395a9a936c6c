package card_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"onecard/apdu"
	"onecard/card"
	"onecard/card/cardsim"
	"onecard/card/planstore"
	"onecard/fault"
)

// The tear test: every flow that writes, with the card torn out at every cut
// point there is. A cut point is either a command boundary (the card leaves
// before the command arrives, or before its answer does) or a phase inside one
// of the card's own writes. Afterwards the card is put in again, and it must
// hold exactly the old or exactly the new state, with nothing left open and
// nothing doubled.

var errTorn = fault.New(fault.CardRemoved, "torn out by the test")

// tornConn is a Conn whose card leaves at a command boundary, or by itself.
type tornConn struct {
	simConn
	before, after int // at which command, from 1; 0 never
	n             int
	gone          bool
}

func (s *tornConn) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	s.n++
	if s.gone || s.n == s.before {
		s.gone = true
		return nil, errTorn
	}
	answer := s.card.Transmit(command)
	if s.n == s.after || s.card.Torn() {
		s.gone = true
		return nil, errTorn
	}
	return answer, nil
}

func (s *tornConn) Exchange(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	return s.x.Exchange(ctx, c)
}

// insertClone puts a copy of a card into a reader.
func insertClone(c *cardsim.Card) *tornConn {
	s := &tornConn{simConn: simConn{card: c}}
	s.atr = c.PowerOn()
	s.x = apdu.NewExchanger(s)
	return s
}

// books is what a terminal keeps.
type books struct {
	plans  *plans
	debits *debits
}

// content is what of a card's memory a flow may change: files, PIN, account.
// The tries of keys and the proofs go their own way.
func content(t testing.TB, c *cardsim.Card) string {
	t.Helper()
	b, err := c.EEPROM()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if len(m["files"]) == 0 || len(m["pin"]) == 0 || len(m["account"]) == 0 {
		t.Fatal("the simulator's EEPROM has another form")
	}
	return string(m["files"]) + string(m["pin"]) + string(m["account"]) + string(m["certificate_user"])
}

// A cut is one cut point.
type cut struct {
	tear          cardsim.Tear
	before, after int
}

func (x cut) String() string {
	if x.tear.Write > 0 {
		return "write " + x.tear.String()
	}
	return fmt.Sprintf("before command %d, after command %d", x.before, x.after)
}

func cuts(writes, commands int) []cut {
	var list []cut
	for _, tear := range cardsim.Tears(writes) {
		list = append(list, cut{tear: tear})
	}
	for n := 1; n <= commands; n++ {
		list = append(list, cut{before: n}, cut{after: n})
	}
	if everyCut == 1 {
		return list
	}
	var some []cut
	for i := 0; i < len(list); i += everyCut {
		some = append(some, list[i])
	}
	return some
}

var tears atomic.Int64 // cut points survived, all tests together

func TestTears(t *testing.T) {
	for _, f := range flows() {
		for _, image := range f.images {
			t.Run(f.name+" "+image, func(t *testing.T) {
				t.Parallel()
				img, err := cardsim.Example(image)
				if err != nil {
					t.Fatal(err)
				}
				base, err := cardsim.New(img)
				if err != nil {
					t.Fatal(err)
				}
				n := tearFlow(t, f, base)
				t.Logf("%d cut points", n)
				tears.Add(int64(n))
			})
		}
	}
	t.Cleanup(func() { t.Logf("tear test: %d cut points, all survived", tears.Load()) })
}

func tearFlow(t *testing.T, f flow, base *cardsim.Card) int {
	begin := func() *books { return &books{newPlans(), newDebits()} }
	whole := insertClone(base.Clone())
	old := content(t, whole.card)
	b := begin()
	if err := f.run(t, open(t, whole), b); err != nil {
		t.Fatalf("without a cut: %v", err)
	}
	checkBooks(t, cut{}, b)
	next := content(t, whole.card)
	states := map[string]bool{old: true, next: true}
	if f.name != "plan, load, purchase" && f.name != "PIN unblock" && old == next {
		t.Fatal("the flow changes nothing")
	}
	list := cuts(whole.card.Writes()-base.Writes(), whole.n)
	for _, x := range list {
		s := insertClone(base.Clone())
		s.before, s.after = x.before, x.after
		s.card.TearAt(x.tear)
		b := begin()
		c, err := card.Open(t.Context(), s)
		if err == nil {
			err = f.run(t, c, b)
		}
		if err == nil && x.tear.Write > 0 {
			t.Errorf("%s: the card was torn out and nobody noticed", x)
		}
		// The same card is put in again, and again: recovering twice is once.
		for range 2 {
			back := insertClone(s.card)
			if f.back != nil {
				f.back(t, back, b)
			} else {
				recovering(t, back, b)
			}
		}
		now := content(t, s.card)
		switch {
		case f.name == "plan, load, purchase":
			// Three steps, each whole or not at all; the books say which.
		case !states[now]:
			t.Errorf("%s: neither the old nor the new state", x)
		case err == nil && now != next:
			t.Errorf("%s: success was reported, and the card is in the old state", x)
		}
		checkBooks(t, x, b)
		if f.money {
			checkMoney(t, x, base, s.card, b)
		}
		// Whatever happened, the card is as good as before.
		if err := f.run(t, open(t, insertClone(s.card)), begin()); err != nil && f.back == nil {
			t.Errorf("%s: the card is of no use any more: %v", x, err)
		}
	}
	return len(list)
}

// checkBooks: nothing is open.
func checkBooks(t *testing.T, x cut, b *books) {
	t.Helper()
	for id, r := range b.plans.rows {
		if r.outcome != card.PlanDone {
			t.Errorf("%s: plan %s is %q", x, id[:4], r.outcome)
		}
	}
	for _, tr := range b.debits.all(t) {
		if tr.State == card.TransactionIntended || tr.State == card.TransactionDone && tr.TAC == "" {
			t.Errorf("%s: transaction %+v", x, tr)
		}
	}
}

// checkMoney: balance and records are what the journal says, and each TAC is
// the card's.
func checkMoney(t *testing.T, x cut, before, after *cardsim.Card, b *books) {
	t.Helper()
	first, last := insertClone(before.Clone()), insertClone(after.Clone())
	read := func(s *tornConn) (card.Fen, int) {
		c := open(t, s)
		if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
			t.Fatal(err)
		}
		balance, err := c.Balance(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list, err := c.MedicalTransactions(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return balance.Account, len(list)
	}
	balance, records := read(first)
	for _, tr := range b.debits.all(t) {
		if tr.State != card.TransactionDone {
			continue
		}
		records++
		if tr.Type == "1" {
			balance += tr.Account
		} else {
			balance -= tr.Account
		}
	}
	if gotBalance, gotRecords := read(last); gotBalance != balance || gotRecords != records {
		t.Errorf("%s: the card has %s and %d records, the journal %s and %d", x, gotBalance, gotRecords, balance, records)
	}
}

// A different card is never touched, and the plan waits for its own.
func TestTearAndAnotherCard(t *testing.T) {
	s := example(t, "3.0")
	mine := insertClone(s.card)
	mine.before = 12 // amid the updates
	b := &books{newPlans(), newDebits()}
	c, err := card.Open(t.Context(), mine)
	if err != nil {
		t.Fatal(err)
	}
	err = verifying(writing("DF03EF07 73=2026-11-21", "DF03EF07 6E=1998-07-02", "DF03EF07 6C=2008-07-13", "DF03EF07 71=330100", "DF03EF07 6F=2008-08-02"))(t, c, b)
	if !errors.Is(err, card.ErrUnfinished) || !errors.Is(err, errTorn) || fault.Of(err).Code != fault.WriteUnfinished {
		t.Fatal(err)
	}
	other := example(t, "2.0")
	before := content(t, other.card)
	oc := open(t, other)
	other.commands()
	if list, err := oc.Recover(t.Context(), &vault{}, b.plans); err != nil || len(list) != 0 || other.commands() != "" || content(t, other.card) != before {
		t.Errorf("%v %v", list, err)
	}
	// The same program goes on with the other card in the reader.
	mine.gone, mine.before, mine.card = false, 0, other.card
	if err := c.Execute(t.Context(), &vault{}, b.plans, onlyPlan(t, b)); !errors.Is(err, card.ErrOtherCard) || content(t, other.card) != before {
		t.Errorf("%v", err)
	}
	// A plan that was made over an unfinished one is a conflict; the unfinished
	// one is ended all the same.
	again := open(t, insertClone(s.card))
	if err := writing("DF03EF07 73=2026-11-22")(t, again, b); !errors.Is(err, card.ErrRecordChanged) {
		t.Errorf("%v", err)
	}
	if err := writing("DF03EF07 73=2026-11-22")(t, again, b); err != nil {
		t.Fatal(err)
	}
	if got := value(t, again, "DF03EF07", "71") + value(t, again, "DF03EF07", "73"); got != "3301002026-11-22" {
		t.Errorf("%s", got)
	}
}

func onlyPlan(t *testing.T, b *books) *card.Plan {
	t.Helper()
	list, err := b.plans.Open(t.Context(), "510100D156000005000356767C31A94E")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	return list[0].Plan
}

// The card is torn out again while what was torn before is being finished.
func TestTearsWhileRecovering(t *testing.T) {
	n := 0
	for _, lines := range [][]string{
		{"DF03EF07 73=2026-11-21", "DF03EF07 71=330100"},
		{"DF02EF16 +102^20200101^^^510100", "DF02EF16 +102^20200101^^^510100"},
	} {
		base := example(t, "3.0").card
		whole := insertClone(base.Clone())
		old := content(t, whole.card)
		if err := writing(lines...)(t, open(t, whole), &books{newPlans(), newDebits()}); err != nil {
			t.Fatal(err)
		}
		next := content(t, whole.card)
		// Enough for every cut of the recovery, which is no longer than the flow.
		list := cuts(whole.card.Writes()-base.Writes(), whole.n)
		for i, first := range list {
			if i%6 != 0 {
				continue // every first cut is in TestTears
			}
			for _, second := range list {
				n++
				b := &books{newPlans(), newDebits()}
				s := insertClone(base.Clone())
				s.before, s.after = first.before, first.after
				s.card.TearAt(first.tear)
				if c, err := card.Open(t.Context(), s); err == nil {
					_ = writing(lines...)(t, c, b) // torn
				}
				again := insertClone(s.card)
				again.before, again.after = second.before, second.after
				again.card.TearAt(second.tear)
				if c, err := card.Open(t.Context(), again); err == nil {
					_, _ = c.Recover(t.Context(), &vault{}, b.plans) // torn, perhaps
				}
				s.card.TearAt(cardsim.Tear{})
				recovering(t, insertClone(s.card), b)
				if now := content(t, s.card); now != old && now != next {
					t.Errorf("%s, then %s: neither the old nor the new state", first, second)
				}
				checkBooks(t, first, b)
			}
		}
	}
	t.Logf("%d pairs of cut points", n)
}

// With the real store, in a new process for every cut.
func TestTearsWithStoreOnDisk(t *testing.T) {
	img, err := cardsim.Example("3.0")
	if err != nil {
		t.Fatal(err)
	}
	base, err := cardsim.New(img)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	kh := &vault{}
	run := func(s *tornConn, store *planstore.Store) error {
		c, err := card.Open(t.Context(), s)
		if err != nil {
			return err
		}
		p, err := c.NewPlan(t.Context(), kh, changes(t, "DF03EF07 73=2026-11-21", "DF02EF07 +6120103^20200101^^样例公司")...)
		if err == nil {
			err = c.Execute(t.Context(), kh, store.Plans(), p)
		}
		if err == nil {
			err = c.VerifyPIN(t.Context(), card.PIN("123456"))
		}
		if err == nil {
			_, err = c.Purchase(t.Context(), kh, store.Debits(), order(100, 0, 0))
		}
		return err
	}
	reopen := func(n int) *planstore.Store {
		store, err := planstore.Open(filepath.Join(dir, fmt.Sprint(n, ".db")), nil)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	whole := insertClone(base.Clone())
	store := reopen(0)
	if err := run(whole, store); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, x := range cuts(whole.card.Writes()-base.Writes(), whole.n) {
		if i%7 != 0 {
			continue // every point is in TestTears; here the disk is in question
		}
		n++
		s := insertClone(base.Clone())
		s.before, s.after = x.before, x.after
		s.card.TearAt(x.tear)
		store := reopen(i + 1)
		_ = run(s, store) // torn
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		store = reopen(i + 1)
		c := open(t, insertClone(s.card))
		if _, err := c.Recover(t.Context(), kh, store.Plans()); err != nil {
			t.Errorf("%s: %v", x, err)
		}
		decided, err := c.Resolve(t.Context(), kh, store.Debits())
		if err != nil {
			t.Errorf("%s: %v", x, err)
		}
		for _, d := range decided {
			if d.State == card.TransactionDone && (d.TAC == "" || !d.Verified) {
				t.Errorf("%s: %+v", x, d)
			}
		}
		open, err := store.Plans().Open(t.Context(), c.Issuer().IdentificationCode)
		if err != nil || len(open) != 0 {
			t.Errorf("%s: %d open, %v", x, len(open), err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, fmt.Sprint(i+1, ".db"))); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cut points", n)
}

// Another terminal uses the number of a purchase that never took place: its
// proof must not be taken for ours.
func TestProofOfSomebodyElse(t *testing.T) {
	s := example(t, "3.0")
	for _, kh := range []card.KeyHolder{&vault{}, &vault{checkErr: fault.New(fault.HSMUnreachable, "down")}} {
		b := newDebits()
		torn := insertClone(s.card)
		c := open(t, torn)
		if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
			t.Fatal(err)
		}
		torn.before = torn.n + 3 // SELECT, INIT, then DEBIT is not sent
		if _, err := c.Purchase(t.Context(), &vault{}, b, order(1234, 0, 0)); !errors.Is(err, card.ErrDebitUnknown) || fault.Of(err).Code != fault.DebitUnknown {
			t.Fatal(err)
		}
		elsewhere := open(t, insertClone(s.card))
		if err := elsewhere.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
			t.Fatal(err)
		}
		o := order(1234, 0, 0)
		o.Terminal = "330100000001"
		if _, err := elsewhere.Purchase(t.Context(), &vault{}, newDebits(), o); err != nil {
			t.Fatal(err)
		}
		back := open(t, insertClone(s.card))
		list, err := back.Resolve(t.Context(), kh, b)
		if errors.Is(err, card.ErrPINRequired) {
			if err := back.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
				t.Fatal(err)
			}
			list, err = back.Resolve(t.Context(), kh, b)
		}
		if err != nil || len(list) != 1 || list[0].State != card.TransactionVoid || list[0].TAC != "" {
			t.Errorf("%+v, %v", list, err)
		}
	}
}
