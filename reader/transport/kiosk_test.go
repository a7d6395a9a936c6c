//go:build linux

package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"onecard/reader"
	"onecard/reader/transport"
	"onecard/reader/transport/transportsim"
)

// clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestMonitor(t *testing.T) {
	c := &clock{now: time.Unix(0, 0)}
	m := transport.Monitor{After: time.Minute, Now: c.Now}
	for i, step := range []struct {
		wait time.Duration
		so   bool
		due  bool
	}{
		{0, true, false}, {59 * time.Second, true, false}, {time.Second, true, true}, {0, true, false}, // told once
		{59 * time.Second, true, false}, {time.Second, true, true}, // and again
		{59 * time.Second, true, false}, {0, false, false}, {time.Minute, true, false}, {time.Minute, true, true},
	} {
		c.advance(step.wait)
		if due := m.Look(step.so); due != step.due {
			t.Errorf("step %d: %t", i, due)
		}
	}
	never := transport.Monitor{Now: c.Now}
	never.Look(true)
	c.advance(24 * time.Hour)
	if never.Look(true) {
		t.Error("due without a time")
	}
}

// A card that nobody uses is returned, and captured and recorded when nobody takes
// it.
func TestLeftCardIsCaptured(t *testing.T) {
	c := &clock{now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)}
	file := filepath.Join(t.TempDir(), "captures.jsonl")
	b := newBed(t, transportsim.New(), func(cfg *transport.Config) {
		cfg.Now, cfg.Record = c.Now, transport.NewCaptureLog(file).Record
		cfg.CaptureAfter, cfg.ReturnAfter, cfg.Poll = time.Minute, 2*time.Minute, time.Hour
	})
	b.see("the mouth opens", func(s transportsim.State) bool { return s.Open })
	b.insert(person(t, "2.0"))
	check(t, b.driver.Look(b.ctx))
	b.until(reader.CardInserted, "kiosk card")
	s := b.open("kiosk card")
	c.advance(time.Hour)
	for range 2 {
		check(t, b.driver.Look(b.ctx))
	}
	check(t, challenge(s, b.ctx)) // it is in use, and stays
	check(t, s.Close())
	check(t, b.driver.Look(b.ctx))
	c.advance(2 * time.Minute)
	check(t, b.driver.Look(b.ctx))
	if st := b.sim.State(); st.Position != '1' || st.Open {
		t.Fatalf("the card is not at the mouth, or the mouth is open: %+v", st)
	}
	check(t, b.driver.Look(b.ctx))
	b.until(reader.CardRemoved, "kiosk card")
	c.advance(59 * time.Second)
	check(t, b.driver.Look(b.ctx))
	if st := b.sim.State(); st.Bin != 0 {
		t.Fatal("captured too early")
	}
	c.advance(time.Second)
	check(t, b.driver.Look(b.ctx))
	if st := b.sim.State(); st.Bin != 1 || st.Position != '0' {
		t.Fatalf("not captured: %+v", st)
	}
	text, err := os.ReadFile(file)
	check(t, err)
	var got transport.Capture
	check(t, json.Unmarshal(text, &got))
	want := transport.Capture{Time: c.Now(), Unit: "kiosk", Serial: "SIM0000001", Reason: transport.LeftAtMouth, BinCount: 1}
	if got != want || strings.Count(string(text), "\n") != 1 {
		t.Errorf("%s", text)
	}
	// The next holder's card is let in.
	check(t, b.driver.Look(b.ctx))
	b.insert(person(t, "3.0"))
	check(t, b.driver.Look(b.ctx))
	b.until(reader.CardInserted, "kiosk card")
}

func TestReturnCaptureDispense(t *testing.T) {
	var records []transport.Capture
	b := newBed(t, transportsim.New(transportsim.WithHopper(person(t, "3.0"), person(t, "2.0")), transportsim.WithBin(1)), func(cfg *transport.Config) {
		cfg.Record = func(c transport.Capture) error { records = append(records, c); return nil }
	})
	b.see("the mouth opens", func(s transportsim.State) bool { return s.Open })
	ctx := b.ctx
	if err := b.driver.Return(ctx); !errors.Is(err, reader.ErrNoCard) {
		t.Errorf("return nothing: %v", err)
	}
	if err := b.driver.Capture(ctx); !errors.Is(err, reader.ErrNoCard) {
		t.Errorf("capture nothing: %v", err)
	}
	check(t, b.driver.Dispense(ctx))
	b.until(reader.CardInserted, "kiosk card")
	if err := b.driver.Dispense(ctx); !errors.Is(err, transport.ErrOccupied) {
		t.Errorf("a second card: %v", err)
	}
	s := b.open("kiosk card")
	check(t, challenge(s, ctx))
	check(t, b.driver.Return(ctx))
	if err := challenge(s, ctx); !errors.Is(err, reader.ErrCardRemoved) {
		t.Errorf("a session on a returned card: %v", err)
	}
	b.until(reader.CardRemoved, "kiosk card")
	check(t, b.sim.Pull())
	b.see("the mouth opens again", func(s transportsim.State) bool { return s.Open })
	check(t, b.driver.Dispense(ctx))
	b.until(reader.CardInserted, "kiosk card")
	check(t, b.driver.Capture(ctx))
	b.until(reader.CardRemoved, "kiosk card")
	if len(records) != 1 || records[0].Reason != transport.ByOrder || records[0].BinCount != 1 {
		t.Errorf("%+v", records)
	}
	if err := b.driver.Dispense(ctx); !errors.Is(err, transport.ErrHopperEmpty) {
		t.Errorf("an empty hopper: %v", err)
	}
	b.see("the mouth opens", func(s transportsim.State) bool { return s.Open })
	b.insert(person(t, "1.0"))
	b.until(reader.CardInserted, "kiosk card")
	if err := b.driver.Capture(ctx); !errors.Is(err, transport.ErrBinFull) {
		t.Errorf("a full bin: %v", err)
	}
	check(t, challenge(b.open("kiosk card"), ctx)) // nothing has happened to it
	st, err := b.driver.Status()
	if err != nil || !st.BinFull || st.Hopper != reader.HopperEmpty || st.Card != reader.Inside {
		t.Errorf("%+v, %v", st, err)
	}
	check(t, b.driver.Do(ctx, func(ctx context.Context, u transport.Unit) error {
		n, err := u.BinCount(ctx)
		if n != 1 {
			t.Errorf("%d in the bin", n)
		}
		return errors.Join(err, u.ResetBinCount(ctx))
	}))
	b.see("the bin is emptied", func(s transportsim.State) bool { return s.Bin == 0 && s.Counter == 0 })
}

// A stuck card is told of as what it is, once, and the unit goes on when a person
// has freed it.
func TestJam(t *testing.T) {
	problems := make(chan error, 10)
	b := newBed(t, transportsim.New(), func(cfg *transport.Config) {
		cfg.Problem = func(err error) { problems <- err }
	})
	b.see("the mouth opens", func(s transportsim.State) bool { return s.Open })
	b.sim.Order(transportsim.Fault{Kind: transportsim.Jam, CM: 0x32})
	b.insert(person(t, "3.0"))
	if err := <-problems; !errors.Is(err, transport.ErrJam) {
		t.Errorf("%v", err)
	}
	if err := b.driver.Return(b.ctx); !errors.Is(err, transport.ErrJam) {
		t.Errorf("return a stuck card: %v", err)
	}
	b.sim.Clear()
	check(t, b.sim.Pull())
	if err := <-problems; err != nil {
		t.Errorf("after it is freed: %v", err)
	}
	b.insert(person(t, "3.0"))
	for b.until(reader.CardInserted, "kiosk card").Mute {
	}
	check(t, challenge(b.open("kiosk card"), b.ctx))
}

// docs/kiosk-hardware.md says what every error means, in the table's words.
func TestErrorsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/kiosk-hardware.md")
	check(t, err)
	for _, e := range transport.ErrorTexts() {
		row := "| " + e.Code + " | " + e.ZH + "<br>" + e.EN + " | " + e.CureZH + "<br>" + e.CureEN + " |"
		if !strings.Contains(string(text), row+"\n") {
			t.Errorf("no row %s", row)
		}
	}
	if n := strings.Count(string(text), "<br>"); n != 2*len(transport.ErrorTexts()) {
		t.Errorf("%d rows, %d codes", n/2, len(transport.ErrorTexts()))
	}
	for kind := range transport.Units {
		if !strings.Contains(string(text), "| `"+kind+"` |") {
			t.Errorf("the unit %s is not described", kind)
		}
	}
}
