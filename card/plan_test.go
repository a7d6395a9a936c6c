package card_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"onecard/card"
	"onecard/card/cardsim"
	"onecard/fault"
)

// plans is a PlanStore in memory that keeps, like a disk, bytes and nothing
// else.
type plans struct {
	mu     sync.Mutex
	order  []string
	rows   map[string]*planRow
	fail   error // every call
	closed []card.PlanOutcome
}

type planRow struct {
	card    string
	json    []byte
	writing int
	outcome card.PlanOutcome
}

func newPlans() *plans { return &plans{rows: map[string]*planRow{}} }

func (s *plans) Begin(_ context.Context, p *card.Plan) (bool, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return false, 0, s.fail
	}
	if r, ok := s.rows[p.ID]; ok && (r.outcome == "" || r.outcome == card.PlanDone) {
		return r.outcome == card.PlanDone, r.writing, nil
	}
	b, err := json.Marshal(p)
	if err != nil {
		return false, 0, err
	}
	s.rows[p.ID] = &planRow{card: p.Card, json: b, writing: -1}
	s.order = append(s.order, p.ID)
	return false, -1, nil
}

func (s *plans) Progress(_ context.Context, id string, item int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[id].writing = item
	return s.fail
}

func (s *plans) Close(_ context.Context, id string, o card.PlanOutcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.rows[id].outcome = o
	s.closed = append(s.closed, o)
	return nil
}

func (s *plans) Open(_ context.Context, code string) ([]card.OpenPlan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []card.OpenPlan
	for _, id := range s.order {
		r := s.rows[id]
		if r.outcome != "" || r.card != code {
			continue
		}
		p, err := card.ParsePlan(r.json)
		if err != nil {
			return nil, err
		}
		list = append(list, card.OpenPlan{Plan: p, Writing: r.writing})
	}
	return list, s.fail
}

func changes(t testing.TB, lines ...string) []card.Change {
	t.Helper()
	var list []card.Change
	for _, line := range lines {
		name, text, _ := strings.Cut(line, " ")
		file, err := card.ParseFileID(name)
		if err != nil {
			t.Fatal(err)
		}
		ch, err := card.ParseChange(file, text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, ch)
	}
	return list
}

// write plans and executes.
func write(t testing.TB, c *card.Card, store card.PlanStore, lines ...string) error {
	t.Helper()
	p, err := c.NewPlan(t.Context(), &holder{}, changes(t, lines...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c.Execute(t.Context(), &holder{}, store, p)
}

func verified(t testing.TB, s *simConn) *card.Card {
	t.Helper()
	c := open(t, s)
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
		t.Fatal(err)
	}
	return c
}

func value(t testing.TB, c *card.Card, file, tag string) string {
	t.Helper()
	id, _ := card.ParseFileID(file)
	f, err := c.ReadFile(t.Context(), id, &holder{})
	if err != nil {
		t.Fatal(err)
	}
	r, ok := f.Find(tag)
	if !ok {
		t.Fatalf("%s has no %s", file, tag)
	}
	return r.Value.String()
}

func TestWritePensionInTheFewestCommands(t *testing.T) {
	s := example(t, "3.0")
	c := verified(t, s)
	s.commands()
	p, err := c.NewPlan(t.Context(), &holder{}, changes(t,
		"DF03EF07 70=120", "DF03EF07 71=330100", "DF03EF07 6E=1998-07-02", "DF03EF07 6C=20080713", "DF03EF07 6F=2008-08-02", "DF03EF07 73=2026-11-21")...)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.commands(); got != "A4 B2" {
		t.Errorf("planning: %s", got)
	}
	store := newPlans()
	if err := c.Execute(t.Context(), &holder{}, store, p); err != nil {
		t.Fatal(err)
	}
	if got, want := s.commands(), "B2 84 82 DC DC DC DC DC DC B2"; got != want {
		t.Errorf("executing: %s, want %s", got, want)
	}
	pension, err := c.Pension(t.Context(), nil)
	if err != nil || pension.Type.Code != "120" || pension.Area.Code != "330100" || pension.Retired.String() != "2008-07-13" || pension.Updated.String() != "2026-11-21" {
		t.Errorf("%+v, %v", pension, err)
	}
	s.commands()
	// The same plan twice is one.
	if err := c.Execute(t.Context(), &holder{}, store, p); err != nil || s.commands() != "" {
		t.Errorf("again: %v", err)
	}
	// And so is what is on the card already.
	again, err := c.NewPlan(t.Context(), &holder{}, changes(t, "DF03EF07 70=120")...)
	if err != nil || !again.Empty() {
		t.Errorf("%+v, %v", again, err)
	}
	if !slices.Equal(store.closed, []card.PlanOutcome{card.PlanDone}) {
		t.Errorf("%v", store.closed)
	}
}

func TestWriteEveryKindOfFile(t *testing.T) {
	for _, image := range []string{"1.0", "2.0", "3.0"} {
		for _, quirks := range [][]cardsim.Quirk{nil, {cardsim.QuirkSelectP1Zero}, {cardsim.QuirkMode5Structure}, {cardsim.QuirkStrictLe}, {cardsim.QuirkGetResponse}} {
			t.Run(fmt.Sprint(image, quirks), func(t *testing.T) {
				s := example(t, image, cardsim.WithQuirks(quirks...))
				c := verified(t, s)
				store := newPlans()
				if err := write(t, c, store, "DF03EF07 73=2026-11-21", "SSSEEF06 09=卡卓娅"); err != nil {
					t.Fatal(err)
				}
				if got := value(t, c, "DF03EF07", "73"); got != "2026-11-21" {
					t.Errorf("pension: %s", got)
				}
				id, err := c.Identity(t.Context(), &holder{})
				if err != nil || id.Holder.Name != "卡卓娅" {
					t.Errorf("%+v %v", id, err)
				}
				if image == "1.0" {
					return
				}
				photo := strings.Repeat("A55A01", 300)
				if err := write(t, c, store, "DF01EF15 40:2/57=408", "DF01EF15 40:2/59=样例大学", "SSSEEF08 @100=hex:"+photo, "DF01EF16 @290=hex:010203",
					"DF02EF07 +6120103^20200101^^样例公司", "DF02EF07 +6120103^20210101^^样例公司", "DF04EF15 +77^2", "DF03EF19 79:3/1C=12.34",
					"DF04EF06 92=99.50"); err != nil {
					t.Fatal(err)
				}
				f, err := c.ReadFile(t.Context(), card.FileID{DF: "SSSE", EF: "EF08"}, &holder{})
				if err != nil || !bytes.Equal(f.Data[100:103], []byte{0xA5, 0x5A, 0x01}) || f.Data[999] != 0x01 || f.Data[1000] == 0xA5 {
					t.Errorf("photo: %v", err)
				}
				jobs, err := c.ReadFile(t.Context(), card.FileID{DF: "DF02", EF: "EF07"}, &holder{})
				if err != nil || len(jobs.Records) < 2 || jobs.Records[0].Members[1].Value.String() != "2021-01-01" || jobs.Records[1].Members[1].Value.String() != "2020-01-01" {
					t.Errorf("jobs: %+v, %v", jobs, err)
				}
				if got := value(t, c, "DF04EF06", "92"); got != "99.50" {
					t.Errorf("off-line total %s", got)
				}
				education, err := c.ReadFile(t.Context(), card.FileID{DF: "DF01", EF: "EF15"}, &holder{})
				if err != nil || len(education.Records) < 3 || education.Records[2].Members[0].Value.String() != "408" || education.Records[2].Members[2].Value.String() != "样例大学" {
					t.Errorf("education: %+v, %v", education, err)
				}
			})
		}
	}
}

// On a 1.0 card a record keeps the meaning that it has, unless it is asked to
// change.
func TestWriteMeaningsOfOldCards(t *testing.T) {
	c := verified(t, example(t, "1.0"))
	f, err := c.ReadFile(t.Context(), card.FileID{DF: "DF03", EF: "EF07"}, &holder{})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := f.Find("71")
	old := "12.34"
	if !r.V1 {
		old = "330200"
	}
	if err := write(t, c, newPlans(), "DF03EF07 71="+old); err != nil || value(t, c, "DF03EF07", "71") != old {
		t.Errorf("%v", err)
	}
	if err := write(t, c, newPlans(), "DF03EF07 2.0:71=330100"); err != nil {
		t.Fatal(err)
	}
	f, err = c.ReadFile(t.Context(), card.FileID{DF: "DF03", EF: "EF07"}, &holder{})
	r, _ = f.Find("71")
	if err != nil || r.V1 || r.Value.String() != "330100" || len(r.Raw) != 4 || r.Raw[3] != 0xEE {
		t.Errorf("%+v %v", r, err)
	}
	if err := write(t, c, newPlans(), "DF03EF07 71=330200"); err != nil || value(t, c, "DF03EF07", "71") != "330200" {
		t.Errorf("a rewritten record keeps its new meaning: %v", err)
	}
}

// What does not fit the profile is refused before the first command.
func TestPlanRefuses(t *testing.T) {
	s := example(t, "3.0")
	c := verified(t, s)
	s.commands()
	for _, tt := range []struct {
		line string
		code fault.Code
	}{
		{"DF03EF07 71=999900", fault.ValueInvalid},
		{"DF03EF07 71=51010", fault.ValueInvalid},
		{"DF03EF07 71=5101AB", fault.ValueInvalid},
		{"DF03EF07 73=20261341", fault.ValueInvalid},
		{"DF03EF07 73=2026-02-30", fault.ValueInvalid},
		{"DF03EF07 70=999", fault.ValueInvalid},
		{"DF03EF07 70=1100", fault.ValueInvalid},
		{"DF03EF07 99=1", fault.FileUnknown},
		{"DF03EF07 70:2=110", fault.FileUnknown},
		{"DF03EF07 70/57=110", fault.ValueInvalid},
		{"DF01EF15 40/99=1", fault.ValueInvalid},
		{"DF01EF15 40=408", fault.ValueInvalid},
		{"DF03EF99 70=110", fault.FileUnknown},
		{"DF03EF08 7A=510100", fault.FileMissing}, // a file of 1.0 cards
		{"DF04EF08 +1^1^1^1^1^1^1", fault.NotWritable},
		{"SSSEEF05 01=510100D156000005000356767C31A94E", fault.NotWritable},
		{"SSSEEF05 07=B51000036", fault.ValueInvalid},
		{"SSSEEF06 08=510104195807120025", fault.ValueInvalid},
		{"SSSEEF06 09=" + strings.Repeat("欧", 26), fault.ValueInvalid},
		{"SSSEEF06 0A=7", fault.ValueInvalid},
		{"DF01EF06 28=一二三", fault.ValueInvalid},
		{"DF01EF06 23=\u202e", fault.ValueInvalid},
		{"DF02EF07 +1^2^3", fault.ValueInvalid},
		{"DF02EF07 +^^^", fault.ValueInvalid},
		{"DF02EF07 70=110", fault.ValueInvalid},
		{"DF01EF16 @295=hex:0102", fault.ValueInvalid},
		{"DF01EF16 70=110", fault.ValueInvalid},
		{"DF03EF07 @1=hex:01", fault.ValueInvalid},
		{"DF04EF05 81=31011200", fault.ValueInvalid},
		{"DF04EF05 81=3101", fault.ValueInvalid},
	} {
		_, err := c.NewPlan(t.Context(), &holder{}, changes(t, tt.line)...)
		if got := fault.Of(err).Code; err == nil || got != tt.code {
			t.Errorf("%s: %v: %s, want %s", tt.line, err, got, tt.code)
		}
		if _, text, _ := strings.Cut(tt.line, "="); err != nil && len(text) > 4 && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error holds the value: %v", tt.line, err)
		}
	}
	if got := s.commands(); got != "" {
		t.Errorf("sent %s", got)
	}
	for _, bad := range []string{"", "71", "7=1", "71:0=1", "71:x=1", "@x=hex:01", "@40000=hex:01", "@1=01", "@1=hex:0", "@1=hex:", "71/5=1"} {
		if _, err := card.ParseChange(card.FileID{DF: "DF03", EF: "EF07"}, bad); !errors.Is(err, card.ErrValue) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestPlanWithoutWhatItNeeds(t *testing.T) {
	plan := func(c *card.Card, kh card.KeyHolder, line string) error {
		p, err := c.NewPlan(t.Context(), kh, changes(t, line)...)
		if err != nil {
			return err
		}
		return c.Execute(t.Context(), kh, newPlans(), p)
	}
	if err := plan(open(t, example(t, "2.0")), nil, "DF03EF07 73=20261121"); fault.Of(err).Code != fault.PINRequired {
		t.Errorf("neither PIN nor keys: %v", err)
	}
	if err := plan(verified(t, example(t, "2.0")), nil, "DF03EF07 73=20261121"); !errors.Is(err, card.ErrNoKeyHolder) {
		t.Errorf("no keys: %v", err)
	}
	if err := plan(open(t, example(t, "2.0")), &holder{}, "DF04EF06 92=1"); fault.Of(err).Code != fault.PINRequired {
		t.Errorf("PIN and key: %v", err)
	}
	if err := plan(verified(t, example(t, "2.0")), &holder{wrongExternal: true}, "DF03EF07 73=20261121"); fault.Of(err).Code != fault.ExternalAuthFailed {
		t.Errorf("wrong keys: %v", err)
	}
}

// A record that changed since it was read is a conflict, and nothing of the
// plan is on the card.
func TestConflict(t *testing.T) {
	s := example(t, "2.0")
	c := verified(t, s)
	store := newPlans()
	p, err := c.NewPlan(t.Context(), &holder{}, changes(t, "DF01EF08 2B=2", "DF03EF07 71=330100", "DF03EF07 73=20261121")...)
	if err != nil {
		t.Fatal(err)
	}
	before := value(t, c, "DF01EF08", "2B")
	if err := write(t, c, newPlans(), "DF03EF07 71=340100"); err != nil {
		t.Fatal(err)
	}
	err = c.Execute(t.Context(), &holder{}, store, p)
	var conflict *card.ConflictError
	if !errors.As(err, &conflict) || conflict.Tag != "71" || fault.Of(err).Code != fault.RecordChanged {
		t.Fatal(err)
	}
	if value(t, c, "DF03EF07", "71") != "340100" || value(t, c, "DF01EF08", "2B") != before || value(t, c, "DF03EF07", "73") == "2026-11-21" {
		t.Error("the plan left traces")
	}
	if !slices.Equal(store.closed, []card.PlanOutcome{card.PlanConflict}) {
		t.Errorf("%v", store.closed)
	}
	// A record appended by somebody else is one, too.
	p, err = c.NewPlan(t.Context(), &holder{}, changes(t, "DF04EF15 +77^2")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(t, c, newPlans(), "DF04EF15 +78^2"); err != nil {
		t.Fatal(err)
	}
	if err = c.Execute(t.Context(), &holder{}, store, p); !errors.Is(err, card.ErrRecordChanged) {
		t.Error(err)
	}
}

func TestPlanOfAnotherCard(t *testing.T) {
	p, err := verified(t, example(t, "2.0")).NewPlan(t.Context(), &holder{}, changes(t, "DF03EF07 73=20261121")...)
	if err != nil {
		t.Fatal(err)
	}
	s := example(t, "3.0")
	c := verified(t, s)
	s.commands()
	store := newPlans()
	if err := c.Execute(t.Context(), &holder{}, store, p); !errors.Is(err, card.ErrOtherCard) || s.commands() != "" || len(store.rows) != 0 {
		t.Errorf("%v", err)
	}
}

func TestNothingIsWrittenWithoutTheStore(t *testing.T) {
	s := example(t, "2.0")
	c := verified(t, s)
	p, err := c.NewPlan(t.Context(), &holder{}, changes(t, "DF03EF07 73=20261121")...)
	if err != nil {
		t.Fatal(err)
	}
	store := newPlans()
	store.fail = fmt.Errorf("disk full: %w", card.ErrPlanStore)
	s.commands()
	if err := c.Execute(t.Context(), &holder{}, store, p); fault.Of(err).Code != fault.PlanStoreUnavailable || strings.Contains(s.commands(), "DC") {
		t.Error(err)
	}
}

// A plan says to a person what it changes, and to a log nothing.
func TestDescribe(t *testing.T) {
	c := verified(t, example(t, "3.0"))
	p, err := c.NewPlan(t.Context(), &holder{}, changes(t, "DF03EF07 71=330100", "DF01EF15 40:1/57=408", "DF02EF07 +6120103^20200101^^样例公司", "DF01EF16 @0=hex:0102", "SSSEEF06 09=卡卓娅")...)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, d := range p.Describe(c) {
		text = append(text, fmt.Sprintf("%s %s %s→%s", d.File, d.Tag, d.Old, d.New))
	}
	for _, want := range []string{"DF03EF07 71 510100→330100", "DF01EF15 40/57 →408", "DF02EF07 @15 →样例公司", "SSSEEF06 09 欧阳海燕→卡卓娅", "DF01EF16 @0 2 bytes→2 bytes"} {
		if !slices.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%x", "%s"} {
		if s := fmt.Sprintf(verb, p.Items); strings.Contains(s, "33010") || strings.Contains(s, "[51 1") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}
