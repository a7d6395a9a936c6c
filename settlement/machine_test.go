package settlement

import (
	"errors"
	commandline "flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = commandline.Bool("update", false, "write the life cycles to testdata and docs/settlement.md")

// strictCentre refuses everything that is out of order, as the published texts
// have it, knows nothing of the machine, and counts what stands.
type strictCentre struct {
	kind                               CareKind
	open, described, lines, discharged bool
	standing, everBooked, everRefunded int
}

// take is what a centre does with a request that arrives; refused says why not.
func (c *strictCentre) take(r Rule) (refused string) {
	infno := r.Infno
	need := func(ok bool, why string) {
		if !ok && refused == "" {
			refused = infno + ": " + why
		}
	}
	switch infno {
	case "2201", "2401": // known by the institution's number
		need(c.standing == 0, "settled")
		if refused == "" && !c.open {
			c.open, c.described, c.lines, c.discharged = true, false, false, false
		}
	case "2203":
		need(c.open && c.standing == 0, "no visit, or settled")
		if refused == "" {
			c.described = true
		}
	case "2204":
		need(c.open && c.described, "no visit, or no diagnoses")
		need(c.standing == 0, "settled")
		need(!c.lines, "batch is there") // known, but a centre may say so
		if refused == "" {
			c.lines = true
		}
	case "2301":
		need(c.open && !c.discharged && c.standing == 0, "not in hospital")
		if refused == "" {
			c.lines = true
		}
	case "2205":
		need(c.open && c.standing == 0, "settled")
		if refused == "" {
			c.lines = false
		}
	case "2302":
		need(c.open && c.standing == 0 && !c.discharged, "settled or discharged")
		if refused == "" && r.Step != StepTakeBack {
			c.lines = false
		}
	case "2403":
		need(c.open && !c.discharged && c.standing == 0, "not in hospital")
	case "2402":
		need(c.open && !c.discharged && c.standing == 0, "not in hospital")
		if refused == "" {
			c.discharged = true
		}
	case "2405":
		need(c.open && c.discharged && c.standing == 0, "settled, or in hospital")
		if refused == "" {
			c.discharged = false
		}
	case "2202", "2404":
		need(c.open && !c.lines && !c.discharged && c.standing == 0, "lines, a discharge or a settlement")
		if refused == "" {
			c.open = false
		}
	case "2206":
		need(c.open && c.lines && c.standing == 0, "no lines")
	case "2303":
		need(c.open && c.lines && c.standing == 0, "no lines")
	case "2101":
	case "2207":
		need(c.open && c.described && c.lines && c.standing == 0, "settled, or no lines")
	case "2304":
		need(c.open && c.discharged && c.lines && c.standing == 0, "settled, or not discharged")
	case "2102":
		need(c.standing == 0, "sold twice")
	case "2208", "2305", "2103":
		need(c.standing == 1, "nothing to take back")
		if refused == "" {
			c.standing--
			c.everRefunded++
		}
	default:
		refused = infno + ": unknown"
	}
	if refused == "" && (infno == "2207" || infno == "2304" || infno == "2102") {
		c.standing++
		c.everBooked++
	}
	return refused
}

// found is what a look-up, or the journal once it was resolved, says of the
// step in doubt.
func (c *strictCentre) found(d Doubt) bool {
	switch d.Step {
	case StepRegister:
		return c.open
	case StepDischarge:
		return c.discharged
	case StepReadmit:
		return !c.discharged
	case StepCancel:
		return !c.open
	case StepCharge:
		return c.lines
	case StepWithdraw:
		return !c.lines
	case StepSettle:
		return c.standing == 1
	case StepRefund:
		return c.standing == 0
	}
	return false
}

func machines(t testing.TB) []*Machine {
	t.Helper()
	var list []*Machine
	for _, kind := range []CareKind{Outpatient, Inpatient, Pharmacy} {
		m, err := MachineOf(kind)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

// fates are what becomes of a request.
var fates = []string{"answered", "refused", "not sent", "dies before", "lost before", "lost after", "dies after"}

// proceed takes one step and returns the state that is stored then. An error
// says what must never be.
func (c *strictCentre) proceed(m *Machine, r Rule, fate string) (State, error) {
	stored := r.During
	switch fate {
	case "answered":
		why := c.take(r)
		repeated := r.Infno == "2204" && r.From == StateCharging
		if why != "" && !repeated {
			return stored, fmt.Errorf("from %s: out of order: %s", r.From, why)
		}
		stored = r.After(Done)
		if why != "" {
			stored = r.After(Refused)
		}
	case "refused":
		stored = r.After(Refused)
	case "not sent":
		stored = r.After(NotSent)
	case "dies before": // what is stored says that it may have been sent
	case "lost before":
		stored = r.After(Unknown)
	case "lost after":
		c.take(r)
		stored = r.After(Unknown)
	case "dies after":
		c.take(r)
	}
	if c.standing > 1 || c.everBooked-c.everRefunded != c.standing {
		return stored, fmt.Errorf("%s from %s: booked twice", r.Infno, r.From)
	}
	return stored, c.agrees(m, stored)
}

// agrees compares what is stored here with what is so there.
func (c *strictCentre) agrees(m *Machine, stored State) error {
	_, doubtful := m.Doubt(stored)
	switch {
	case doubtful:
	case (stored == StateSettled) != (c.standing == 1):
		return fmt.Errorf("%s here, %d standing there", stored, c.standing)
	case stored == StateClosed && m.Kind != Pharmacy && (c.lines || c.discharged):
		return fmt.Errorf("closed here, lines or a discharge there")
	}
	return nil
}

// resolve leaves a state that nothing may be sent from before it is resolved.
func (c *strictCentre) resolve(m *Machine, stored State) (next State, resolved bool, err error) {
	d, doubtful := m.Doubt(stored)
	if !doubtful || d.Recovery != ByJournal && d.Recovery != AskFirst {
		return stored, false, nil
	}
	if steps := m.Steps(stored); len(steps) != 0 {
		return stored, false, fmt.Errorf("%s offers %v before it is resolved", stored, steps)
	}
	next = m.Resolved(stored, c.found(d))
	return next, true, c.agrees(m, next)
}

// A person takes any step that the machine offers, any answer may be lost on
// either way, and this side may die before or after sending: nothing is booked
// twice, nothing reaches the centre out of order, and whoever comes after finds
// the way on from what is stored.
func TestMachineNeverBooksTwice(t *testing.T) {
	for _, m := range machines(t) {
		t.Run(string(m.Kind), rapid.MakeCheck(func(t *rapid.T) {
			centre, stored := &strictCentre{kind: m.Kind}, StateNew
			for range 100 {
				next, resolved, err := centre.resolve(m, stored)
				if err != nil {
					t.Fatal(err)
				}
				if stored = next; resolved {
					continue
				}
				steps := m.Steps(stored)
				if len(steps) == 0 { // closed: the next visit
					centre, stored = &strictCentre{kind: m.Kind}, StateNew
					continue
				}
				r, err := m.Begin(stored, rapid.SampledFrom(steps).Draw(t, "step"))
				if err != nil {
					t.Fatal(err)
				}
				if r.Infno == "" {
					stored = r.Done
					continue
				}
				fate := "answered"
				if rapid.IntRange(0, 2).Draw(t, "trouble") == 0 {
					fate = rapid.SampledFrom(fates).Draw(t, "fate")
				}
				if stored, err = centre.proceed(m, r, fate); err != nil {
					t.Fatal(err)
				}
			}
		}))
	}
}

// The same for every step and fate from everything that can be reached, not
// only what chance finds. From each of them there is a way to the end.
func TestMachineEverywhere(t *testing.T) {
	type place struct {
		stored State
		centre strictCentre
	}
	for _, m := range machines(t) {
		taken := map[Rule]bool{}
		from := map[place][]place{} // where a place is reached from
		start := place{StateNew, strictCentre{kind: m.Kind}}
		queue := []place{start}
		from[start] = nil
		reach := func(here, next place) {
			next.centre.everBooked, next.centre.everRefunded = next.centre.standing, 0
			if _, seen := from[next]; !seen {
				queue = append(queue, next)
			}
			from[next] = append(from[next], here)
		}
		for len(queue) > 0 {
			here := queue[0]
			queue = queue[1:]
			centre := here.centre
			next, resolved, err := centre.resolve(m, here.stored)
			if err != nil {
				t.Fatalf("%s: %+v: %v", m.Kind, here, err)
			}
			if resolved {
				reach(here, place{next, centre})
				continue
			}
			for _, r := range m.Rules() {
				if r.From != here.stored {
					continue
				}
				taken[r] = true
				if r.Infno == "" {
					reach(here, place{r.Done, here.centre})
					continue
				}
				for _, fate := range fates {
					centre := here.centre
					next, err := centre.proceed(m, r, fate)
					if err != nil {
						t.Fatalf("%s: %+v, %s %s: %v", m.Kind, here, r.Step, fate, err)
					}
					reach(here, place{next, centre})
				}
			}
		}
		for _, r := range m.Rules() {
			if !taken[r] {
				t.Errorf("%s: %s from %s is never reached", m.Kind, r.Step, r.From)
			}
		}
		ends := map[place]bool{}
		var back func(p place)
		back = func(p place) {
			if !ends[p] {
				ends[p] = true
				for _, q := range from[p] {
					back(q)
				}
			}
		}
		for p := range from {
			if p.stored == StateClosed {
				back(p)
			}
		}
		for p := range from {
			if !ends[p] {
				t.Errorf("%s: no way to the end from %+v", m.Kind, p)
			}
		}
		t.Logf("%s: %d places", m.Kind, len(from))
	}
}

// From every state there is a way to the end, and what is undone is undone in
// the order of the texts.
func TestMachineEnds(t *testing.T) {
	orders := map[CareKind][]string{
		Outpatient: {"2208", "2205", "2202"},
		Inpatient:  {"2305", "2405", "2302", "2404"},
		Pharmacy:   {"2103"},
	}
	for _, m := range machines(t) {
		reached := map[State]bool{}
		var walk func(s State)
		walk = func(s State) {
			if reached[s] {
				return
			}
			reached[s] = true
			for _, r := range m.Rules() {
				if r.From == s {
					for _, next := range []State{r.During, r.Done, r.Refused, r.Unknown} {
						walk(next)
					}
				}
			}
			if d, ok := m.Doubt(s); ok {
				walk(d.Done)
				walk(d.Absent)
			}
		}
		walk(StateNew)
		for _, s := range m.States() {
			if !reached[s] {
				t.Errorf("%s: %s cannot be reached", m.Kind, s)
			}
			_, doubtful := m.Doubt(s)
			if !doubtful && s != StateClosed && len(m.Steps(s)) == 0 {
				t.Errorf("%s: no way on from %s", m.Kind, s)
			}
			if doubtful {
				continue
			}
			if _, ok := m.Undoing(s); !ok {
				t.Errorf("%s: %s cannot be undone", m.Kind, s)
			}
		}
		// What may be in flight is in the table of doubts.
		for _, r := range m.Rules() {
			if _, ok := m.Doubt(r.During); r.During != r.From && !ok {
				t.Errorf("%s: %s is stored before %s leaves and has no way out", m.Kind, r.During, r.Infno)
			}
			if r.After(NotSent) != r.From {
				t.Errorf("%s: %s not sent leads from %s to %s", m.Kind, r.Step, r.From, r.After(NotSent))
			}
		}
		steps, ok := m.Undoing(StateSettled)
		var sent []string
		s := StateSettled
		for _, p := range steps {
			r, err := m.Begin(s, p)
			if err != nil {
				t.Fatal(err)
			}
			if r.Infno != "" {
				sent = append(sent, r.Infno)
			}
			s = r.Done
		}
		if !ok || !slices.Equal(sent, orders[m.Kind]) || s != StateClosed {
			t.Errorf("%s is undone by %v", m.Kind, sent)
		}
	}
}

func TestMachineRefusesWhatIsNoStep(t *testing.T) {
	for _, m := range machines(t) {
		for _, x := range []struct {
			state State
			step  Step
		}{
			{StateSettled, StepSettle}, {StateUnknown, StepSettle}, {StateSettling, StepSettle}, {StateLines, StepSettle},
			{StateSettled, StepCancel}, {StateSettled, StepWithdraw}, {StateSettled, StepLines}, {StateRefundDoubt, StepRefund}, {"", ""}, {"x\n", "y"},
		} {
			if _, err := m.Begin(x.state, x.step); !errors.Is(err, ErrStep) {
				t.Errorf("%s: %s from %s: %v", m.Kind, x.step, x.state, err)
			}
		}
	}
	if _, err := MachineOf("dental"); err == nil {
		t.Error("a machine for an unknown kind of care")
	}
}

// The printed life cycles are those of the code, in testdata and, between
// marks, in docs/settlement.md.
func TestMachinePrinted(t *testing.T) {
	docs := filepath.Join("..", "docs", "settlement.md")
	page, err := os.ReadFile(docs)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	text := string(page)
	for _, m := range machines(t) {
		for ext, want := range map[string]string{"md": m.Markdown(), "dot": m.DOT()} {
			file := filepath.Join("testdata", fmt.Sprintf("machine-%s.%s", m.Kind, ext))
			if *update {
				if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != want {
				t.Errorf("%s is not the life cycle (go test -run MachinePrinted -update): %v", file, err)
			}
		}
		begin, end := fmt.Sprintf("<!-- machine %s -->\n", m.Kind), "<!-- end -->\n"
		before, rest, found := strings.Cut(text, begin)
		if !found {
			continue
		}
		old, after, found := strings.Cut(rest, end)
		if !found {
			t.Fatalf("%s: %s without an end", docs, strings.TrimSpace(begin))
		}
		if *update {
			text = before + begin + m.Markdown() + end + after
		} else if old != m.Markdown() {
			t.Errorf("%s: the life cycle %s is not the code's (-update writes it)", docs, m.Kind)
		}
	}
	if *update && text != string(page) {
		if err := os.WriteFile(docs, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
