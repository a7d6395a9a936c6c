package settlement_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"onecard/settlement"
)

// TestReconcileMixture: days of settlements, refunds, lost and never arrived
// answers, mistaken decisions, bookings of nobody and of a centre that lost them:
// whatever the mixture, when what is proposed was executed the books balance,
// nothing is doubled, and what stands here is what stands there.
func TestReconcileMixture(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			d := newBookkeeper(t, noon)
			other := d.beside(t)
			var done []int64
			for step := range 6 {
				number := fmt.Sprintf("OP%d", step)
				switch n := random.IntN(10); {
				case n < 3:
					done = append(done, d.settled(t, number).EntryID)
				case n < 4 && len(done) > 0:
					if _, err := d.settler.Refund(t.Context(), settlement.Refunding{Entry: done[0], Scope: d.signed(t)}); err != nil {
						t.Fatal(err)
					}
					done = done[1:]
				case n < 6:
					d.lost(t, number, "drop-after")
				case n < 7:
					d.lost(t, number, "drop-before")
				case n < 8:
					other.settled(t, number)
				case n < 9:
					d.phantom(t, number)
				default:
					d.lost(t, number, "html-after")
					entries, err := d.journal.List(t.Context(), settlement.Filter{Outcome: settlement.Unknown, Limit: 1})
					if err != nil {
						t.Fatal(err)
					}
					if err := d.journal.Decide(t.Context(), entries[0].ID, settlement.Conclusion{Outcome: settlement.Refused}, "clerk", "mistaken"); err != nil {
						t.Fatal(err)
					}
				}
			}
			d.set(noon.Add(time.Hour))
			r := d.reconciler(t)
			report := reconcileDay(t, r, d.today())
			for _, x := range report.Differences {
				if x.Action == settlement.ActAsk {
					t.Errorf("a person is asked: %+v", x)
				}
				if len(x.Choices) > 0 {
					execute(t, r, report, x.N, "")
				}
			}
			wants(t, settlement.Report{State: reconcileDay(t, r, d.today()).State}, settlement.Balanced)

			// What stands: at the centre what was not refunded, here what was not
			// taken back.
			stands := make(map[string]int64)
			for _, b := range d.center.Settlements() {
				stands[b.SetlID] += int64(b.Total)
				if b.Refunds != "" {
					stands[b.Refunds] += int64(b.Total)
					delete(stands, b.SetlID)
				}
			}
			entries, err := d.journal.List(t.Context(), settlement.Filter{Outcome: settlement.Done})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.Undoes == 0 && e.ReversedBy == 0 {
					stands[e.SetlID] -= int64(e.Total)
				}
			}
			for id, amount := range stands {
				if amount != 0 {
					t.Errorf("%s: %d more at the centre", id, amount)
				}
			}
			if n, err := d.journal.Count(t.Context(), settlement.Unknown); err != nil || n != 0 {
				t.Errorf("%d in doubt, %v", n, err)
			}
			d.verify(t)
		})
	}
}
