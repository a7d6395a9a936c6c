package terminal_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"onecard/card/cardsim"
	"onecard/fault"
	"onecard/reader"
	"onecard/reader/pinpad"
	"onecard/reader/virtual"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// bankCard answers as a card that is not ours: it has no social security
// application.
type bankCard struct{}

func (bankCard) PowerOn() []byte            { return []byte{0x3B, 0x60, 0x00, 0x00} }
func (bankCard) PowerOff()                  {}
func (bankCard) Transmit(cmd []byte) []byte { return []byte{0x6A, 0x82} }

func TestCardsThatCannotBeUsed(t *testing.T) {
	for _, c := range []struct {
		quirk cardsim.Quirk
		code  fault.Code
	}{
		{cardsim.QuirkMute, fault.CardMute},
		{cardsim.QuirkSSF33, fault.AlgorithmUnsupported},
		{cardsim.QuirkAppBlocked, fault.CardBlocked},
		{cardsim.QuirkEndless61, fault.CardEndless},
		{cardsim.QuirkEndless6C, fault.CardEndless},
		{cardsim.QuirkGarbage, fault.CardGarbage},
	} {
		t.Run(string(c.quirk), func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{Quirks: []cardsim.Quirk{c.quirk}})
			r := b.Ready()
			if r.State != terminal.ReaderFailed || r.Fault == nil || r.Fault.Code != c.code || r.Card != nil {
				t.Fatalf("reader: %+v, fault: %+v", r, r.Fault)
			}
			if _, err := b.Service.Identity(t.Context(), ""); code(err) != c.code {
				t.Errorf("identity: %v", err)
			}
			// The next card is none the worse for it.
			b.Remove()
			b.Insert("2.0")
			b.Await("the next card", func(s terminal.State) bool { return s.Readers[0].State == terminal.ReaderReady })
		})
	}
	t.Run("bank card", func(t *testing.T) {
		b := deskbed.New(t, deskbed.Options{Image: "none"})
		if err := b.Reader.Insert(deskbed.Slot, bankCard{}); err != nil {
			t.Fatal(err)
		}
		if r := b.Ready(); r.Fault == nil || r.Fault.Code != fault.NotSocialSecurityCard {
			t.Fatalf("fault: %+v", r.Fault)
		}
		// Raw commands reach it all the same.
		x, err := b.Service.APDU(t.Context(), "", []string{"00A40000023F00"})
		if err != nil || len(x) != 1 || x[0].Status != "6A82" {
			t.Errorf("raw command: %+v, %v", x, err)
		}
	})
}

func TestPIN(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx := t.Context()
	if _, err := b.Service.File(ctx, "", "DF03EF07"); code(err) != fault.PINRequired {
		t.Fatalf("pension without PIN: %v", err)
	}
	b.Pad.Will("", pinpad.ErrCancelled)
	if err := b.Service.VerifyPIN(ctx, "", nil); code(err) != fault.PINCancelled {
		t.Errorf("cancelled: %v", err)
	}
	b.Pad.Will("12", nil)
	if err := b.Service.VerifyPIN(ctx, "", nil); code(err) != fault.PINFormat {
		t.Errorf("too short: %v", err)
	}
	for left := 5; left >= 0; left-- {
		b.Pad.Will("654321", nil)
		err := b.Service.VerifyPIN(ctx, "", nil)
		f := terminal.Explain(err)
		if f == nil || f.TriesLeft == nil || *f.TriesLeft != left {
			t.Fatalf("wrong PIN: %v, fault %+v, want %d left", err, f, left)
		}
		if s := b.Service.State(); *s.Readers[0].Card.PIN.TriesLeft != left {
			t.Errorf("state says %d left", *s.Readers[0].Card.PIN.TriesLeft)
		}
	}
	b.Pad.Will(deskbed.PIN, nil)
	if err := b.Service.VerifyPIN(ctx, "", nil); code(err) != fault.PINBlocked {
		t.Errorf("blocked: %v", err)
	}
	if p, err := b.Service.PINState(ctx, ""); err != nil || p.TriesLeft == nil || *p.TriesLeft != 0 {
		t.Errorf("tries left of a blocked PIN: %+v, %v", p, err)
	}
}

func TestRecordsAfterPIN(t *testing.T) {
	for _, version := range []string{"1.0", "2.0", "3.0"} {
		t.Run(version, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{Image: version})
			b.Ready()
			ctx := t.Context()
			digits := []byte(deskbed.PIN)
			if err := b.Service.VerifyPIN(ctx, "", digits); err != nil {
				t.Fatal(err)
			}
			for _, d := range digits {
				if d != 0 {
					t.Fatal("the PIN was not wiped")
				}
			}
			for _, name := range []string{"DF03EF07", "DF03EF05", "DF04EF05"} {
				f, err := b.Service.File(ctx, "", name)
				if err != nil || len(f.Records) == 0 || f.Name.Chinese == "" || f.Name.English == "" {
					t.Errorf("%s: %+v, %v", name, f, err)
				}
				for _, r := range f.Records {
					if r.Fault != nil || r.Name.Chinese == "" || r.Name.English == "" || (r.Value == "") != r.Unset {
						t.Errorf("%s: %+v", name, r)
					}
				}
			}
			if _, err := b.Service.File(ctx, "", "DF03EF99"); code(err) != fault.FileUnknown {
				t.Errorf("no such file: %v", err)
			}
			if _, err := b.Service.File(ctx, "", "nonsense"); code(err) != fault.FileUnknown {
				t.Errorf("nonsense: %v", err)
			}
			// Raw commands may have changed anything: the PIN is gone.
			if _, err := b.Service.APDU(ctx, "", []string{"0084000008"}); err != nil {
				t.Fatal(err)
			}
			b.Ready()
			if _, err := b.Service.File(ctx, "", "DF03EF07"); code(err) != fault.PINRequired {
				t.Errorf("pension after raw commands: %v", err)
			}
		})
	}
}

// A card that is swapped while its holder is at the pad must not get the PIN.
func TestPINGoesToTheCardItWasAskedFor(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	asked, resume := b.Pad.Hold()
	failed := make(chan error, 1)
	go func() { failed <- b.Service.VerifyPIN(t.Context(), "", nil) }()
	<-asked
	b.Await("the pad waits", func(s terminal.State) bool { return s.Readers[0].Card.PIN.Phase == terminal.PINWaiting })
	b.Remove()
	b.Insert("2.0")
	b.Await("another card", func(s terminal.State) bool {
		return s.Readers[0].Card != nil && s.Readers[0].Card.Version == "2.00"
	})
	resume <- struct{}{}
	if err := <-failed; code(err) != fault.CardChanged {
		t.Fatalf("verify: %v", err)
	}
}

func TestResetByAnotherProgramForgetsThePIN(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx := t.Context()
	if err := b.Service.VerifyPIN(ctx, "", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Reader.ResetByOther(deskbed.Slot); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.File(ctx, "", "DF03EF07"); code(err) != fault.CardReset {
		t.Fatalf("after the reset: %v", err)
	}
	b.Await("the card is read again", func(s terminal.State) bool {
		return s.Readers[0].State == terminal.ReaderReady && !s.Readers[0].Card.PIN.Verified
	})
	if _, err := b.Service.File(ctx, "", "DF03EF07"); code(err) != fault.PINRequired {
		t.Fatalf("pension after the reset: %v", err)
	}
}

func TestCardTornOutDuringACommand(t *testing.T) {
	for kind, want := range map[virtual.FaultKind]fault.Code{
		virtual.Remove: fault.CardRemoved, virtual.Tear: fault.CardRemoved, virtual.Fail: fault.ReaderFault, virtual.Garbage: fault.CardGarbage,
	} {
		b := deskbed.New(t, deskbed.Options{})
		b.Ready()
		if err := b.Reader.Order(deskbed.Slot, virtual.Fault{Kind: kind}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Service.PINState(t.Context(), ""); code(err) != want {
			t.Errorf("fault %d: %v (%s), want %s", kind, err, code(err), want)
		}
	}
}

func TestReaderServiceDownAndUp(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	b.Reader.Stop()
	b.Await("the service is down", func(s terminal.State) bool {
		for _, h := range s.Health {
			if h.Name == terminal.HealthReader && !h.OK && h.Fault.Code == fault.SmartCardServiceDown {
				return len(s.Readers) == 0
			}
		}
		return false
	})
	if _, err := b.Service.Identity(t.Context(), ""); code(err) != fault.SmartCardServiceDown {
		t.Errorf("identity: %v", err)
	}
	b.Reader.Start()
	b.Await("the card is read again", func(s terminal.State) bool {
		return len(s.Readers) == 1 && s.Readers[0].State == terminal.ReaderReady
	})
}

func TestSlotsAndAbsentCards(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Image: "none"})
	b.Await("the reader", func(s terminal.State) bool { return len(s.Readers) == 1 })
	ctx := t.Context()
	if _, err := b.Service.Identity(ctx, ""); code(err) != fault.NoCard {
		t.Errorf("no card: %v", err)
	}
	if err := b.Service.VerifyPIN(ctx, "", nil); code(err) != fault.NoCard {
		t.Errorf("PIN without card: %v", err)
	}
	if _, err := b.Service.Identity(ctx, "r9"); code(err) != fault.SlotUnknown {
		t.Errorf("no such reader: %v", err)
	}
	if err := b.Service.Looked(ctx); !errors.Is(err, reader.ErrNoCard) {
		t.Errorf("looked: %v", err)
	}
	if err := b.Reader.RemoveSlot(deskbed.Slot); err != nil {
		t.Fatal(err)
	}
	b.Await("no reader", func(s terminal.State) bool { return len(s.Readers) == 0 })
	if _, err := b.Service.Identity(ctx, ""); code(err) != fault.NoReader {
		t.Errorf("no reader: %v", err)
	}
	if err := b.Reader.AddSlot("second reader"); err != nil {
		t.Fatal(err)
	}
	s := b.Await("another reader", func(s terminal.State) bool { return len(s.Readers) == 1 })
	if s.Readers[0].ID == "r1" {
		t.Error("another reader has the number of one that is gone")
	}
	waiting, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.Service.Looked(waiting); !errors.Is(err, context.Canceled) && !errors.Is(err, reader.ErrNoCard) {
		t.Errorf("looked: %v", err)
	}
}

func TestRawCommandsAreChecked(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	for _, commands := range [][]string{nil, {"00"}, {"zz"}, make([]string, 65), {"00A40000053F00"}} {
		if _, err := b.Service.APDU(t.Context(), "", commands); code(err) != fault.BodyInvalid {
			t.Errorf("%v: %v", commands, err)
		}
	}
	for _, text := range []string{"0020000003123456", "00 20 00 00 03 123456", "805E010006123456FF6543", "842400000411223344", "002C000003123456"} {
		if !terminal.CarriesPIN([]string{"00A40000023F00", text}) {
			t.Errorf("%s passes as harmless", text)
		}
	}
	if terminal.CarriesPIN([]string{"00A40000023F00", "00200000", "B02C01000F" + strings.Repeat("00", 15)}) {
		t.Error("the free query passes as a PIN")
	}
	x, err := b.Service.APDU(t.Context(), "", []string{"0020000003123456"})
	if err != nil || x[0].Command != "00200000 **" || x[0].Status != "9000" {
		t.Errorf("VERIFY: %+v, %v", x, err)
	}
}

func TestDoctor(t *testing.T) {
	failing := func(s *terminal.Service) map[string]fault.Code {
		m := make(map[string]fault.Code)
		for _, c := range s.Doctor(t.Context()) {
			if !c.OK {
				m[c.Name] = c.Fault.Code
			}
			if c.Text.Chinese == "" || c.Text.English == "" {
				t.Errorf("%s has no words", c.Name)
			}
		}
		return m
	}
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	if f := failing(b.Service); len(f) != 0 {
		t.Errorf("a healthy desk: %v", f)
	}
	b.StopHSM()
	b.Remove()
	b.Await("no card", func(s terminal.State) bool { return s.Readers[0].State == terminal.ReaderEmpty })
	b.HTTP.CloseClientConnections()
	b.HTTP.Listener.Close()
	f := failing(b.Service)
	if f["hsm"] != fault.HSMUnreachable || f["reader r1"] != fault.NoCard || f["upstream"] != fault.UpstreamUnreachable {
		t.Errorf("a sick desk: %v", f)
	}
	b.Reader.Stop()
	b.Await("no service", func(s terminal.State) bool { return len(s.Readers) == 0 })
	if f := failing(b.Service); f["pcsc"] != fault.SmartCardServiceDown {
		t.Errorf("a desk without the card service: %v", f)
	}
}

// faultyOpen fails to connect the first n times.
type faultyOpen struct {
	reader.Driver
	left atomic.Int32
}

func (f *faultyOpen) Open(ctx context.Context, slot string, sharing reader.Sharing) (reader.Link, error) {
	if f.left.Add(-1) >= 0 {
		return nil, reader.ErrFault
	}
	return f.Driver.Open(ctx, slot, sharing)
}

// A card that was swapped faster than the service looks fails at its first
// command; connected anew it is read. One whose line stays bad is left alone.
func TestLineFaultIsTriedAgain(t *testing.T) {
	f := &faultyOpen{}
	f.left.Store(1)
	b := deskbed.New(t, deskbed.Options{Wrap: func(d reader.Driver) reader.Driver { f.Driver = d; return f }})
	b.Await("the card is read after all", func(s terminal.State) bool {
		return len(s.Readers) == 1 && s.Readers[0].State == terminal.ReaderReady
	})
	if f.left.Load() != -1 {
		t.Errorf("connected %d times too often", -1-f.left.Load())
	}
}
