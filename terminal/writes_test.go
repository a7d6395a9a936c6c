package terminal_test

import (
	"strings"
	"testing"

	"onecard/fault"
	"onecard/reader/virtual"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// value reads one record of a file.
func value(t *testing.T, b *deskbed.Bed, file, tag string) string {
	t.Helper()
	f, err := b.Service.File(t.Context(), "", file)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, r := range f.Records {
		if r.Tag == tag {
			return r.Value
		}
	}
	t.Fatalf("%s has no record %s", file, tag)
	return ""
}

func TestWrite(t *testing.T) {
	for _, version := range []string{"2.0", "3.0"} {
		t.Run(version, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{Image: version})
			b.Ready()
			ctx := t.Context()
			req := terminal.WriteRequest{File: "DF03EF07", Set: []string{"71=330100", "73=2026-11-21"}, DryRun: true}
			shown, err := b.Service.Write(ctx, "", req)
			if err != nil || shown.Written || len(shown.Differences) != 2 {
				t.Fatalf("dry run: %+v, %v", shown, err)
			}
			req.DryRun = false
			done, err := b.Service.Write(ctx, "", req)
			if err != nil || !done.Written {
				t.Fatalf("write: %+v, %v", done, err)
			}
			again, err := b.Service.Write(ctx, "", req)
			if err != nil || again.Written || len(again.Differences) != 0 {
				t.Fatalf("the same again: %+v, %v", again, err)
			}
			if err := b.Service.VerifyPIN(ctx, "", nil); err != nil {
				t.Fatal(err)
			}
			if got := value(t, b, "DF03EF07", "71"); got != "330100" {
				t.Errorf("the card holds %s", got)
			}
			for name, bad := range map[string]terminal.WriteRequest{
				"no file":       {File: "DF99EF07", Set: []string{"71=1"}},
				"not a change":  {File: "DF03EF07", Set: []string{"71"}},
				"no changes":    {File: "DF03EF07"},
				"not a date":    {File: "DF03EF07", Set: []string{"73=2026-13-41"}},
				"too long":      {File: "DF03EF07", Set: []string{"71=3301000000000"}},
				"unknown tag":   {File: "DF03EF07", Set: []string{"EE=1"}},
				"identity code": {File: "SSSEEF05", Set: []string{"01=" + strings.Repeat("0", 32)}},
			} {
				if _, err := b.Service.Write(ctx, "", bad); err == nil || code(err) == fault.Internal {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func TestWriteNeedsAKeyHolderAndAGenuineCard(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Image: "2.0", NoHSM: true})
	b.Ready()
	if _, err := b.Service.Write(t.Context(), "", terminal.WriteRequest{File: "DF03EF07", Set: []string{"71=330100"}}); code(err) != fault.NoKeyHolder {
		t.Errorf("without a key holder: %v", err)
	}
}

// A card torn out at any command of a write holds, when it is put in again and
// was read, either the old values or the new ones, never some of each.
func TestTornWriteIsEndedWhenTheCardReturns(t *testing.T) {
	survived := 0
	for at := 1; ; at++ {
		for _, kind := range []virtual.FaultKind{virtual.Remove, virtual.Tear} {
			b := deskbed.New(t, deskbed.Options{})
			b.Ready()
			if err := b.Reader.Order(deskbed.Slot, virtual.Fault{Kind: kind, At: at}); err != nil {
				t.Fatal(err)
			}
			_, err := b.Service.Write(t.Context(), "", terminal.WriteRequest{File: "DF03EF07", Set: []string{"71=330100", "73=2026-11-21"}})
			if err == nil {
				if survived == 0 {
					t.Fatal("no cut point met the write")
				}
				t.Logf("%d cut points survived", survived)
				return
			}
			b.Await("the card is gone", func(s terminal.State) bool { return s.Readers[0].State == terminal.ReaderEmpty })
			b.Reinsert()
			r := b.Ready()
			if r.State != terminal.ReaderReady || r.Card.Unfinished != nil {
				t.Fatalf("cut %d: after the card returned: %+v, %+v", at, r, r.Card)
			}
			if err := b.Service.VerifyPIN(t.Context(), "", nil); err != nil {
				t.Fatal(err)
			}
			area, day := value(t, b, "DF03EF07", "71"), value(t, b, "DF03EF07", "73")
			if (area == "330100") != (day == "2026-11-21") {
				t.Errorf("cut %d: half written: %s %s", at, area, day)
			}
			b.Stop()
			survived++
		}
	}
}

func TestInitialPINIsRecognised(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx := t.Context()
	if err := b.Service.VerifyPIN(ctx, "", nil); err != nil {
		t.Fatal(err)
	}
	if s := b.Service.State(); !s.Readers[0].Card.PIN.Initial {
		t.Error("the initial PIN passes as any other")
	}
	if err := b.Service.ChangePIN(ctx, "", terminal.PINs{Old: []byte(deskbed.PIN), New: []byte("481516")}); err != nil {
		t.Fatal(err)
	}
	if err := b.Service.VerifyPIN(ctx, "", []byte("481516")); err != nil {
		t.Fatal(err)
	}
	if s := b.Service.State(); s.Readers[0].Card.PIN.Initial {
		t.Error("a PIN that was changed passes as the initial one")
	}
}

func TestPINIsChangedResetAndUnblocked(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx := t.Context()
	if err := b.Service.ChangePIN(ctx, "", terminal.PINs{Old: []byte(deskbed.PIN), New: []byte("123456")}); code(err) != fault.PINTrivial {
		t.Errorf("a trivial PIN: %v", err)
	}
	if err := b.Service.ChangePIN(ctx, "", terminal.PINs{Old: []byte("999999"), New: []byte("481516")}); code(err) != fault.PINWrong {
		t.Errorf("a wrong old PIN: %v", err)
	}
	if err := b.Service.ChangePIN(ctx, "", terminal.PINs{Old: []byte(deskbed.PIN), New: []byte("481516")}); err != nil {
		t.Fatal(err)
	}
	if err := b.Service.VerifyPIN(ctx, "", []byte("481516")); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if err := b.Service.VerifyPIN(ctx, "", []byte("000000")); err == nil {
			t.Fatal("a wrong PIN is taken")
		}
	}
	if err := b.Service.UnblockPIN(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if p, err := b.Service.PINState(ctx, ""); err != nil || *p.TriesLeft != 6 {
		t.Errorf("after unblocking: %+v, %v", p, err)
	}
	if err := b.Service.ResetPIN(ctx, "", terminal.PINs{New: []byte("230718")}); err != nil {
		t.Fatal(err)
	}
	if err := b.Service.VerifyPIN(ctx, "", []byte("230718")); err != nil {
		t.Error(err)
	}
}

func TestDebit(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx := t.Context()
	if _, err := b.Service.Account(ctx, ""); code(err) != fault.PINRequired {
		t.Errorf("account without PIN: %v", err)
	}
	if err := b.Service.VerifyPIN(ctx, "", nil); err != nil {
		t.Fatal(err)
	}
	before, err := b.Service.Account(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Debit(ctx, "", terminal.DebitRequest{Account: "-1"}); code(err) != fault.AmountInvalid {
		t.Errorf("a negative amount: %v", err)
	}
	if _, err := b.Service.Debit(ctx, "", terminal.DebitRequest{Account: "99999999.00"}); code(err) != fault.AmountRefused {
		t.Errorf("more than there is: %v", err)
	}
	tr, err := b.Service.Debit(ctx, "", terminal.DebitRequest{Account: "12.34", SelfPaid: "1.00"})
	if err != nil || tr.State != "done" || !tr.Verified || len(tr.TAC) != 8 {
		t.Fatalf("debit: %+v, %v", tr, err)
	}
	after, err := b.Service.Account(ctx, "")
	if err != nil || after.Balance != tr.Balance || after == before {
		t.Fatalf("account before %+v, after %+v, %v", before, after, err)
	}
	proof, err := b.Service.Proof(ctx, "", tr.Sequence)
	if err != nil || proof.TAC != tr.TAC {
		t.Errorf("proof: %+v, %v; the debit's TAC is %s", proof, err, tr.TAC)
	}
}
