package card_test

import (
	"strings"
	"testing"

	"onecard/card"
	"onecard/fault"
)

// A card that takes updates with secure messaging alone (6988 otherwise) is
// written by a key holder that can secure commands, torn or not.
func TestSecuredUpdates(t *testing.T) {
	for _, image := range []string{"2.0", "3.0"} {
		base := changed(t, image, func(m map[string]any) {
			m["secure_messaging"] = []any{"DF03EF07", "SSSEEF06", "DF02EF07", "DF01EF16"}
		})
		lines := []string{"DF03EF07 73=2026-11-21", "SSSEEF06 09=卡卓娅", "DF02EF07 +6120103^20200101^^样例公司", "DF01EF16 @200=hex:" + strings.Repeat("42", 96)}
		s := insertClone(base.card.Clone())
		c := verified(t, &s.simConn)
		err := write(t, c, newPlans(), lines...)
		if fault.Of(err).Code != fault.HolderUnable {
			t.Errorf("%s, a holder that secures nothing: %v", image, err)
		}
		if value(t, c, "DF03EF07", "73") == "2026-11-21" {
			t.Errorf("%s: written all the same", image)
		}
		n := tearFlow(t, flow{name: "secured", run: verifying(writing(lines...))}, base.card)
		t.Logf("%d cut points", n)
	}
}

// A card whose memory does not keep what is written to it (worn out, or a
// reader that lies) is found out, and the plan does not count as done.
func TestWhatIsNotKept(t *testing.T) {
	s := example(t, "3.0")
	for _, lines := range [][]string{{"DF03EF07 73=2026-11-21", "DF03EF07 71=330100"}, {"DF02EF07 +6120103^20200101^^样例公司"}, {"DF01EF16 @200=hex:4242"}} {
		worn := insertClone(s.card.Clone())
		before := content(t, worn.card)
		forgets := &forgetful{tornConn: worn}
		c, err := card.Open(t.Context(), forgets)
		if err != nil {
			t.Fatal(err)
		}
		store := newPlans()
		p, err := c.NewPlan(t.Context(), &vault{}, changes(t, lines...)...)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Execute(t.Context(), &vault{}, store, p)
		if fault.Of(err).Code != fault.WriteNotKept || len(store.closed) > 0 && store.closed[0] == card.PlanDone || content(t, worn.card) != before {
			t.Errorf("%s: %v, %v", lines[0], err, store.closed)
		}
	}
}
