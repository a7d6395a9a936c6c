package terminal_test

import (
	"encoding/json"
	"errors"
	"testing"

	"onecard/settlement"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// What a version before life cycles had stored goes on where it was.
func TestVisitOfAnEarlierVersion(t *testing.T) {
	for _, c := range []struct {
		name string
		upTo func(*deskbed.Bed) terminal.Visit
	}{
		{"registered", func(b *deskbed.Bed) terminal.Visit {
			return must(t)(b.Service.OpenVisit(t.Context(), terminal.VisitRequest{}))
		}},
		{"lines", func(b *deskbed.Bed) terminal.Visit {
			v := must(t)(b.Service.OpenVisit(t.Context(), terminal.VisitRequest{}))
			return must(t)(b.Service.SetLines(t.Context(), v.ID, terminal.LinesRequest{Lines: deskbed.Lines()[:1]}))
		}},
		{"lines after a trial", func(b *deskbed.Bed) terminal.Visit {
			v := b.Tried()
			return must(t)(b.Service.SetLines(t.Context(), v.ID, terminal.LinesRequest{Lines: deskbed.Lines()[:1]}))
		}},
		{"tried", func(b *deskbed.Bed) terminal.Visit { return b.Tried() }},
		{"settled", func(b *deskbed.Bed) terminal.Visit {
			v := b.Tried()
			return must(t)(b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := deskbed.New(t, deskbed.Options{})
			b.Ready()
			ctx, step := t.Context(), must(t)
			v := c.upTo(b)
			for {
				stored, err := b.Journal.Visits().Get(ctx, v.ID)
				if err != nil {
					t.Fatal(err)
				}
				var body map[string]any
				if err := json.Unmarshal(stored.Body, &body); err != nil {
					t.Fatal(err)
				}
				for _, since := range []string{"At", "kind", "Stay", "Extras", "Reason", "GivenUp"} {
					delete(body, since)
				}
				if stored.Body, err = json.Marshal(body); err != nil {
					t.Fatal(err)
				}
				_, err = b.Journal.Visits().Put(ctx, stored)
				if err == nil {
					break
				}
				if !errors.Is(err, settlement.ErrVisitChanged) { // stored by the service meanwhile
					t.Fatal(err)
				}
			}
			b = restarted(t, b)
			got := step(b.Service.Visit(v.ID))
			if got.State != v.State || got.Kind != terminal.KindOutpatient {
				t.Fatalf("%+v", got)
			}
			if got.State != terminal.VisitSettled {
				got = step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()}))
				got = step(b.Service.Trial(ctx, v.ID))
				got = step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(got)))
			}
			if _, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: got.Journal}); err != nil {
				t.Fatal(err)
			}
			if _, total := ledger(b); total != settlement.Fen(0) {
				t.Errorf("%s stands", total.Yuan())
			}
			reconciled(b)
		})
	}
}
