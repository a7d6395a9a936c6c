package settlement_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onecard/settlement"
	"onecard/settlement/centersim"
)

// An accident is what befalls one request, and what a plain mind expects of it.
type accident struct {
	order   string
	booked  bool
	outcome settlement.Outcome
}

var accidents = []accident{
	{"", true, settlement.Done}, {"", true, settlement.Done}, {"", true, settlement.Done},
	{"sloppy", true, settlement.Done}, {"text-code", true, settlement.Done}, {"delay=2ms", true, settlement.Done},
	{"refuse=目录停用", false, settlement.Refused}, {"maintenance", false, settlement.Refused}, {"http-before=401", false, settlement.Refused},
	{"drop-before", false, settlement.Unknown}, {"http-before=503", false, settlement.Unknown}, {"html-before", false, settlement.Unknown},
	{"drop-after", true, settlement.Unknown}, {"http-after=502", true, settlement.Unknown}, {"html-after", true, settlement.Unknown},
	{"truncate", true, settlement.Unknown}, {"cut", true, settlement.Unknown}, {"broken-json", true, settlement.Unknown},
	{"wrong-setl", true, settlement.Unknown},
}

// The standings of a visit.
const (
	isOpen       = "open" // may be settled
	isSettled    = "settled"
	isDoubtful   = "doubtful"       // a settlement of unknown outcome
	isTakingBack = "taking it back" // a refund of unknown outcome
)

// A plainVisit is what the model knows of one.
type plainVisit struct {
	in      settlement.Settling
	is      string
	entry   int64                // the settlement that stands, in doubt, or was taken back last
	doubt   bool                 // what is in doubt is booked
	entries []settlement.Outcome // of the journal, in order
	rows    int                  // of the ledger
	stands  bool                 // a settlement does, at the centre
}

// A plainDesk plays against a real journal and a real centre what the model says.
type plainDesk struct {
	*rescue
	visits  []*plainVisit
	crashes int
	did     map[string]int
}

// TestSettlementModel plays random visits, misfortunes, crashes, restarts, double
// clicks, refunds, and people who decide, against a plain model of journal and
// ledger: after every step both are exactly what the model says.
func TestSettlementModel(t *testing.T) {
	wanted := times(8, 300)
	played, failed := 0, false
	did := make(map[string]int)
	rapid.Check(t, func(rt *rapid.T) {
		// rapid's own number of runs would take minutes; one that fails is played
		// again as often as it likes.
		if played >= wanted && !failed {
			return
		}
		defer func() { failed = failed || rt.Failed() }()
		d := &plainDesk{rescue: newRescue(t, centersim.Config{}), did: did}
		rt.Repeat(map[string]func(*rapid.T){
			"visit": func(*rapid.T) {
				in := d.visit(fmt.Sprint("N", len(d.visits)+1))
				d.visits = append(d.visits, &plainVisit{in: in, is: isOpen})
			},
			"settle":      func(rt *rapid.T) { d.settle(rt, d.any(rt), d.accident(rt)) },
			"refund":      func(rt *rapid.T) { d.refund(rt, d.any(rt), d.accident(rt)) },
			"two windows": func(rt *rapid.T) { d.twice(rt, d.any(rt)) },
			"crash":       func(rt *rapid.T) { d.crash(rt, d.any(rt)) },
			"restart":     func(*rapid.T) { d.stop(); d.start() },
			"resolve":     func(*rapid.T) { d.resolve() },
			"person":      func(rt *rapid.T) { d.person(rt, d.any(rt)) },
			"":            d.check,
		})
		d.resolve()
		d.check(rt)
		d.stop()
		played++
	})
	t.Logf("%d plays: %v", played, did)
}

func (d *plainDesk) any(rt *rapid.T) *plainVisit {
	if len(d.visits) == 0 {
		rt.Skip("no visit yet")
	}
	return rapid.SampledFrom(d.visits).Draw(rt, "visit")
}

func (d *plainDesk) accident(rt *rapid.T) accident {
	return rapid.SampledFrom(accidents).Draw(rt, "accident")
}

// send settles, or takes back, whatever comes next of the visit.
func (d *plainDesk) send(v *plainVisit, infno string) error {
	if infno == "2208" {
		_, err := d.settler.Refund(context.Background(), settlement.Refunding{Entry: v.entry, Scope: v.in.Scope})
		return err
	}
	_, err := d.settler.Settle(context.Background(), v.in)
	return err
}

// next is what may be sent of a visit.
func (v *plainVisit) next() (infno string, ok bool) {
	switch v.is {
	case isOpen:
		return "2207", true
	case isSettled:
		return "2208", true
	}
	return "", false
}

// sent tells the model that a request was sent, and what became of it.
func (d *plainDesk) sent(v *plainVisit, infno string, booked bool, outcome settlement.Outcome) {
	d.did[infno+" "+string(outcome)]++
	v.entries = append(v.entries, outcome)
	if booked {
		v.rows++
		v.stands = infno == "2207"
	}
	switch {
	case infno == "2207":
		v.is = map[settlement.Outcome]string{settlement.Done: isSettled, settlement.Refused: isOpen, settlement.Unknown: isDoubtful}[outcome]
		if outcome != settlement.Refused {
			v.entry = d.latest(v).ID
		}
	case outcome == settlement.Done:
		v.is = isOpen
	case outcome == settlement.Unknown:
		v.is = isTakingBack
	}
	v.doubt = booked
}

func (d *plainDesk) latest(v *plainVisit) settlement.Entry {
	d.t.Helper()
	list, err := d.journal.List(context.Background(), settlement.Filter{Visit: v.in.Visit, Limit: 1})
	if err != nil || len(list) != 1 {
		d.t.Fatalf("entries of %s: %v, %v", v.in.Visit, list, err)
	}
	return list[0]
}

func (d *plainDesk) settle(rt *rapid.T, v *plainVisit, a accident) {
	want := map[string]error{isSettled: settlement.ErrSettled, isDoubtful: settlement.ErrUnknownUnresolved, isTakingBack: settlement.ErrUnknownUnresolved}[v.is]
	d.sendOrNot(rt, v, "2207", a, want)
}

func (d *plainDesk) refund(rt *rapid.T, v *plainVisit, a accident) {
	if v.entry == 0 {
		rt.Skip("never settled")
	}
	want := map[string]error{isOpen: settlement.ErrRefunded, isDoubtful: settlement.ErrUnknownUnresolved, isTakingBack: settlement.ErrUnknownUnresolved}[v.is]
	if v.is == isOpen && d.rescue.entry(v.entry).Outcome == settlement.Refused {
		want = settlement.ErrNotRefundable // it turned out never to have arrived
	}
	d.sendOrNot(rt, v, "2208", a, want)
}

// sendOrNot sends with an accident, or where want is an error must be refused
// with it, unsent.
func (d *plainDesk) sendOrNot(rt *rapid.T, v *plainVisit, infno string, a accident, want error) {
	if want != nil {
		if err := d.send(v, infno); !errors.Is(err, want) || settlement.OutcomeOf(err) != settlement.NotSent {
			rt.Fatalf("%s while %s: %v, want %v", infno, v.is, err, want)
		}
		return
	}
	if a.order != "" {
		d.order(infno + ":" + a.order)
	}
	err := d.send(v, infno)
	if got := settlement.OutcomeOf(err); got != a.outcome {
		rt.Fatalf("%s with %q: %s, want %s: %v", infno, a.order, got, a.outcome, err)
	}
	d.sent(v, infno, a.booked, a.outcome)
}

// twice clicks in two windows at once: one request is sent.
func (d *plainDesk) twice(rt *rapid.T, v *plainVisit) {
	infno, ok := v.next()
	if !ok {
		rt.Skip("in doubt")
	}
	var errs [2]error
	var windows sync.WaitGroup
	for i := range errs {
		windows.Go(func() { errs[i] = d.send(v, infno) })
	}
	windows.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		rt.Fatalf("%s in two windows: %v; %v", infno, errs[0], errs[1])
	}
	if late := errors.Join(errs[:]...); settlement.OutcomeOf(late) != settlement.NotSent {
		rt.Fatalf("the second window: %v", late)
	}
	d.sent(v, infno, true, settlement.Done)
}

// crash takes the process away while a request is on its way: what is on the
// disk then is what the next process finds. The request goes on without it.
func (d *plainDesk) crash(rt *rapid.T, v *plainVisit) {
	infno, ok := v.next()
	if !ok {
		rt.Skip("in doubt")
	}
	booked := rapid.Bool().Draw(rt, "booked")
	if booked {
		d.order(infno + ":" + rapid.SampledFrom([]string{"hang-before", "hang-after"}).Draw(rt, "where"))
	} else {
		d.order(infno+":hang-before", infno+":drop-before")
	}
	ended := make(chan error, 1)
	go func() { ended <- d.send(v, infno) }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := d.center.AwaitHanging(ctx, 1); err != nil {
		rt.Fatal(err)
	}
	d.crashes++
	left := filepath.Join(d.t.TempDir(), fmt.Sprint("crash", d.crashes))
	if err := os.Mkdir(left, 0o700); err != nil {
		rt.Fatal(err)
	}
	for _, name := range []string{"journal.db", "journal.db-wal", "journal.key", "journal.mark"} {
		text, err := os.ReadFile(filepath.Join(d.dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(left, name), text, 0o600)
		}
		if err != nil {
			rt.Fatal(err)
		}
	}
	d.center.Release()
	<-ended // whatever it was told, nobody knows any more
	d.stop()
	d.dir = left
	d.start()
	d.did["crash"]++
	d.sent(v, infno, booked, settlement.Unknown)
}

// resolve lets the resolver find out about everything that is in doubt.
func (d *plainDesk) resolve() {
	d.t.Helper()
	if d.unknown() == 0 {
		return
	}
	d.run("nothing is in doubt", func() bool { return d.unknown() == 0 })
	for _, v := range d.visits {
		d.learn(v)
	}
}

// learn tells the model that what was in doubt of a visit has been decided.
func (d *plainDesk) learn(v *plainVisit) {
	if v.is != isDoubtful && v.is != isTakingBack {
		return
	}
	d.did["resolved"]++
	last := len(v.entries) - 1
	v.entries[last] = settlement.Refused
	if v.doubt {
		v.entries[last] = settlement.Done
	}
	if v.doubt == (v.is == isDoubtful) {
		v.is = isSettled
	} else {
		v.is = isOpen
	}
}

// person looks at the centre's list and decides.
func (d *plainDesk) person(rt *rapid.T, v *plainVisit) {
	if v.is != isDoubtful {
		rt.Skip("not in doubt")
	}
	e := d.latest(v)
	c := settlement.Conclusion{Outcome: settlement.Refused}
	for _, s := range d.center.Settlements() {
		if s.MsgID == e.MsgID {
			c = settlement.Conclusion{Outcome: settlement.Done, SetlID: s.SetlID, Booked: &settlement.Amounts{
				Total: settlement.Fen(s.Total), Fund: settlement.Fen(s.Fund), Account: settlement.Fen(s.Account), Cash: settlement.Fen(s.Cash),
			}}
		}
	}
	if err := d.journal.Decide(context.Background(), e.ID, c, "收费一", "looked up in the centre's list"); err != nil {
		rt.Fatal(err)
	}
	d.learn(v)
}

// check holds journal and ledger against the model.
func (d *plainDesk) check(rt *rapid.T) {
	ledger := make(map[string][]centersim.Settlement)
	for _, s := range d.center.Settlements() {
		ledger[s.MdtrtID] = append(ledger[s.MdtrtID], s)
	}
	rows := 0
	for _, v := range d.visits {
		entries, err := d.journal.List(context.Background(), settlement.Filter{Visit: v.in.Visit, Earliest: true})
		if err != nil {
			rt.Fatal(err)
		}
		outcomes := make([]settlement.Outcome, len(entries))
		done := make(map[string]settlement.Entry)
		for i, e := range entries {
			if outcomes[i] = e.Outcome; e.Outcome == settlement.Done {
				done[e.MsgID] = e
			}
		}
		if !slices.Equal(outcomes, v.entries) {
			rt.Fatalf("visit %s, which is %s: the journal has %v, the model %v", v.in.Visit, v.is, outcomes, v.entries)
		}
		booked := ledger[v.in.Input.MdtrtID]
		rows += v.rows
		stands := 0
		for _, s := range booked {
			if s.State == centersim.StateSettled {
				stands++
			}
			e, found := done[s.MsgID]
			if found && (e.SetlID != s.SetlID || int64(e.Total) != s.Total || int64(e.Fund) != s.Fund || int64(e.Account) != s.Account || int64(e.Cash) != s.Cash) {
				rt.Fatalf("%v, and the centre has %+v", e, s)
			}
			delete(done, s.MsgID)
		}
		if len(booked) != v.rows || stands > 1 || (stands == 1) != v.stands || len(done) != 0 {
			rt.Fatalf("visit %s, which is %s: the ledger has %d rows, of which %d stand, the model %d, %v; done and not booked: %v",
				v.in.Visit, v.is, len(booked), stands, v.rows, v.stands, slices.Collect(maps.Values(done)))
		}
	}
	if all := len(d.center.Settlements()); all != rows {
		rt.Fatalf("the ledger has %d rows, the model %d", all, rows)
	}
}
