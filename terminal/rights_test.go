package terminal_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"onecard/fault"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

const rightsConfig = `state_dir = "state"
[operator]
%
`

func TestRightsAreConfigured(t *testing.T) {
	for lines, want := range map[string][]string{
		"":            nil,
		"rights = []": {},
		`rights = ["settle", "refund", "resolve", "reconcile"]`: {"settle", "refund", "resolve", "reconcile"},
	} {
		c, err := terminal.ParseConfig([]byte(strings.Replace(rightsConfig, "%", lines, 1)), t.TempDir())
		if err != nil || !slices.Equal(c.Operator.Rights, want) || (want == nil) != (c.Operator.Rights == nil) {
			t.Errorf("%s: %#v, %v", lines, c.Operator.Rights, err)
		}
	}
	_, err := terminal.ParseConfig([]byte(strings.Replace(rightsConfig, "%", `rights = ["settle", "refunds"]`, 1)), t.TempDir())
	if !errors.Is(err, terminal.ErrConfig) || !strings.Contains(err.Error(), "operator.rights[1]") {
		t.Errorf("a right that does not exist: %v", err)
	}
}

// A desk without the right to settle reads cards and shows what there is.
func TestDeskWithoutRights(t *testing.T) {
	dir := t.TempDir()
	b := deskbed.New(t, deskbed.Options{Dir: dir, Center: centersim.Config{Ledger: filepath.Join(t.TempDir(), "first.jsonl")}})
	b.Ready()
	v := b.Tried()
	b.Stop()
	b = deskbed.New(t, deskbed.Options{Dir: dir, Rights: []string{}})
	if r := b.Ready(); r.State != terminal.ReaderReady {
		t.Fatalf("the card was not read: %+v", r)
	}
	if s := b.Service.State(); s.Rights == nil || len(s.Rights) != 0 || s.Visit == nil || s.Visit.ID != v.ID {
		t.Errorf("state: %v, %v", s.Rights, s.Visit)
	}
	ctx := t.Context()
	for name, err := range map[string]error{
		"open":    second(b.Service.OpenVisit(ctx, terminal.VisitRequest{})),
		"lines":   second(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()})),
		"trial":   second(b.Service.Trial(ctx, v.ID)),
		"settle":  second(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v))),
		"give up": b.Service.Abandon(ctx, v.ID),
	} {
		if code(err) != fault.NotPermitted || terminal.Explain(err).Detail != "settle" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(b.Center.Settlements()); n != 0 {
		t.Errorf("%d settlements", n)
	}
}

func second[T any](_ T, err error) error { return err }
