package terminal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"onecard/fault"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// inDoubt brings a desk to a settlement whose answer is lost.
func inDoubt(t *testing.T, kind centersim.FaultKind) (*deskbed.Bed, terminal.Visit, int64) {
	t.Helper()
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	v := b.Tried()
	if err := b.Center.Order(centersim.Fault{Infno: "2207", Kind: kind}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.AnswerLost {
		t.Fatalf("settle: %v", err)
	}
	day, err := b.Service.Journal(t.Context(), "", "unknown", 1)
	if err != nil || len(day.Entries) != 1 {
		t.Fatalf("%+v, %v", day, err)
	}
	return b, v, day.Entries[0].ID
}

// What a person decides is what the visit says, and the desk counts.
func TestResolvedAsNeverBooked(t *testing.T) {
	b, v, id := inDoubt(t, centersim.DropBefore)
	e, err := b.Service.Resolve(t.Context(), id, terminal.ResolveRequest{Outcome: "refused", Who: "chief", Reason: "not in the list"})
	if err != nil || e.Outcome != "refused" || e.Decision == nil || e.Decision.Who != "chief" || e.Personal != nil {
		t.Fatalf("%+v, %v", e, err)
	}
	if s := b.Service.State(); s.Journal.Unknown != 0 || s.Journal.Refused != 1 {
		t.Errorf("the state counts %+v", s.Journal)
	}
	got, err := b.Service.Visit(v.ID)
	if err != nil || got.State != terminal.VisitTried || got.Fault != nil || got.Receipt != nil {
		t.Fatalf("visit: %+v, %v", got, err)
	}
	if got, err = b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(got)); err != nil || got.State != terminal.VisitSettled || len(b.Center.Settlements()) != 1 {
		t.Errorf("settled afterwards: %+v, %v", got, err)
	}
}

func TestResolvedAsBooked(t *testing.T) {
	b, v, id := inDoubt(t, centersim.DropAfter)
	req := terminal.ResolveRequest{Outcome: "done", Who: "chief", Reason: "told", SettlementID: "S9", Total: v.Trial.Total, Fund: v.Trial.Fund, Account: v.Trial.Account}
	if _, err := b.Service.Resolve(t.Context(), id, req); code(err) != fault.AmountInvalid {
		t.Errorf("no cash: %v", err)
	}
	req.Cash = v.Trial.Cash
	for name, bad := range map[string]func(*terminal.ResolveRequest){
		"nobody": func(r *terminal.ResolveRequest) { r.Who = "" }, "no reason": func(r *terminal.ResolveRequest) { r.Reason = "" },
		"no id": func(r *terminal.ResolveRequest) { r.SettlementID = "" }, "refused with amounts": func(r *terminal.ResolveRequest) { r.Outcome = "refused" },
		"unknown": func(r *terminal.ResolveRequest) { r.Outcome = "unknown" },
	} {
		wrong := req
		bad(&wrong)
		if _, err := b.Service.Resolve(t.Context(), id, wrong); code(err) != fault.DecisionInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.Service.Resolve(t.Context(), id, req); err != nil {
		t.Fatal(err)
	}
	got, err := b.Service.Visit(v.ID)
	if err != nil || got.State != terminal.VisitSettled || got.Receipt == nil || got.Receipt.SettlementID != "S9" || got.Receipt.Cash != v.Trial.Cash {
		t.Fatalf("visit: %+v, %v", got, err)
	}
	if again, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err != nil || again.Receipt.SettlementID != "S9" || len(b.Center.Settlements()) != 1 {
		t.Errorf("settled again: %+v, %v", again, err)
	}
	if _, err := b.Service.Resolve(t.Context(), id, req); code(err) != fault.EntryClosed {
		t.Errorf("decided twice: %v", err)
	}
	content, err := b.Service.EntryContent(t.Context(), id)
	if err != nil || content.Personal == nil || !strings.Contains(content.Personal.Request, content.Personal.PsnNo) || content.Personal.PsnNo == "" {
		t.Errorf("%+v, %v", content, err)
	}
	part, err := b.Service.ExportJournal(t.Context(), content.Opened.In(terminal.ChinaTime).Format("2006-01-02"), 0, false)
	if err != nil || len(part.Entries) != 1 || part.Next != 0 || part.Entries[0].Personal != nil || part.Entries[0].Decision == nil {
		t.Errorf("%+v, %v", part, err)
	}
	if _, err := b.Service.ExportJournal(t.Context(), "yesterday", 0, false); code(err) != fault.FieldDate {
		t.Errorf("%v", err)
	}
	whole, err := b.Service.VerifyJournal(t.Context())
	if err != nil || whole.Entries != 1 || whole.Links != 3 {
		t.Errorf("%+v, %v", whole, err)
	}
	copied, err := b.Service.BackupJournal(t.Context())
	if err != nil || copied.JournalVerification != whole {
		t.Fatalf("%+v, %v", copied, err)
	}
	if info, err := os.Stat(copied.File); err != nil || info.Size() != copied.Bytes || filepath.Base(filepath.Dir(copied.File)) != "backup" {
		t.Errorf("%v, %v", info, err)
	}
}
