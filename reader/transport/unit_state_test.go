//go:build linux

package transport_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"onecard/reader"
	"onecard/reader/transport"
	"onecard/reader/transport/transportsim"
)

// shown waits until the published state of the unit is as wanted.
func (b *bed) shown(what string, wanted func(reader.UnitState) bool) reader.UnitState {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	var last *reader.UnitState
	// Every round of a subscription tells of all that changed; the picture is what
	// counts.
	for range b.watcher.Subscribe(ctx) {
		for _, s := range b.watcher.Slots() {
			sam := strings.Contains(s.Slot, "SAM")
			if sam != (s.Unit == nil) {
				b.Fatalf("%s shows %+v", s.Slot, s.Unit)
			}
			if sam {
				continue
			}
			if last = s.Unit; wanted(*last) {
				return *last
			}
		}
	}
	b.Fatalf("%s is never shown: %+v", what, last)
	return reader.UnitState{}
}

func TestUnitStateIsPublished(t *testing.T) {
	b := newBed(t, transportsim.New(transportsim.WithHopper(person(t, "3.0"), person(t, "2.0")), transportsim.WithBin(1)), func(cfg *transport.Config) {
		cfg.Hopper = true
	})
	st := b.shown("an empty unit", func(s reader.UnitState) bool { return s.Hopper == reader.HopperLow && s.InBin == 0 })
	if st.Name != "kiosk" || st.Card != reader.Nowhere || st.BinFull || !st.Dispenses || st.Problem != nil || st.Incident.Err != nil {
		t.Errorf("%+v", st)
	}
	mover, err := b.watcher.Mover("kiosk card")
	check(t, err)
	if _, err := b.watcher.Mover("nowhere"); !errors.Is(err, reader.ErrNoReader) {
		t.Errorf("%v", err)
	}
	check(t, mover.Dispense(b.ctx))
	b.shown("a card inside", func(s reader.UnitState) bool { return s.Card == reader.Inside })
	check(t, mover.Return(b.ctx))
	b.shown("a card at the mouth", func(s reader.UnitState) bool { return s.Card == reader.AtMouth })
	check(t, b.sim.Pull())
	st = b.shown("nothing", func(s reader.UnitState) bool { return s.Card == reader.Nowhere })
	if st.Incident.Err != nil {
		t.Errorf("taking a card from the mouth is an incident: %v", st.Incident.Err)
	}
	check(t, mover.Dispense(b.ctx))
	check(t, mover.Capture(b.ctx))
	st = b.shown("a full bin", func(s reader.UnitState) bool { return s.BinFull })
	if st.InBin != 1 || st.Hopper != reader.HopperEmpty || !errors.Is(st.Incident.Err, transport.ErrCaptured) {
		t.Errorf("%+v", st)
	}
	check(t, mover.Emptied(b.ctx))
	b.shown("an empty bin", func(s reader.UnitState) bool { return !s.BinFull && s.InBin == 0 })
}

// A card that is pulled out of the unit, and a power failure with a card inside, are
// each told as what they are.
func TestIncidents(t *testing.T) {
	b := newBed(t, transportsim.New(), nil)
	b.see("the mouth opens", func(s transportsim.State) bool { return s.Open })
	b.insert(person(t, "3.0"))
	b.until(reader.CardInserted, "kiosk card")
	check(t, b.sim.Pull())
	st := b.shown("pulled by hand", func(s reader.UnitState) bool { return s.Incident.Err != nil })
	if !errors.Is(st.Incident.Err, transport.ErrMovedByHand) || st.Card != reader.Nowhere {
		t.Errorf("%+v", st)
	}
	b.insert(person(t, "2.0"))
	b.until(reader.CardInserted, "kiosk card")
	b.sim.PowerFail()
	b.until(reader.CardRemoved, "kiosk card")
	b.until(reader.CardInserted, "kiosk card")
	st = b.shown("power lost", func(s reader.UnitState) bool { return errors.Is(s.Incident.Err, transport.ErrPowerLost) })
	if st.Problem != nil || st.Card != reader.Inside {
		t.Errorf("%+v", st)
	}
}

// A unit that answers and cannot be initialised is shown with what it says, not as
// one that is unplugged.
func TestUnitThatCannotBegin(t *testing.T) {
	sim := transportsim.New(transportsim.WithInside(person(t, "3.0")))
	sim.Order(transportsim.Fault{Kind: transportsim.Jam, CM: 0x30})
	b := newBed(t, sim, nil)
	b.shown("the jam", func(s reader.UnitState) bool { return errors.Is(s.Problem, transport.ErrJam) })
	if err := b.driver.Return(b.ctx); !errors.Is(err, transport.ErrJam) && !errors.Is(err, reader.ErrReaderGone) {
		t.Errorf("%v", err)
	}
	sim.Clear()
	b.shown("freed", func(s reader.UnitState) bool { return s.Problem == nil && s.Card == reader.Inside })
	check(t, challenge(b.open("kiosk card"), b.ctx))
}

// What was captured while nobody could write it down is recorded afterwards, once.
func TestCapturesAreReconciled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "captures.jsonl")
	log := transport.NewCaptureLog(file)
	if _, known, err := log.Last("SIM0000001"); known || err != nil {
		t.Fatalf("%t, %v", known, err)
	}
	var failing atomic.Bool
	sim := transportsim.New(transportsim.WithHopper(person(t, "3.0"), person(t, "3.0"), person(t, "3.0")))
	b := newBed(t, sim, func(cfg *transport.Config) {
		cfg.Recorded = func(serial string) (int, bool, error) {
			last, known, err := log.Last(serial)
			return last.BinCount, known, err
		}
		cfg.Record = func(c transport.Capture) error {
			if failing.Load() {
				return os.ErrPermission
			}
			return log.Record(c)
		}
	})
	capture := func() error {
		b.shown("room", func(s reader.UnitState) bool { return s.Card == reader.Nowhere })
		check(t, b.driver.Dispense(b.ctx))
		return b.driver.Capture(b.ctx)
	}
	check(t, capture())
	failing.Store(true)
	if err := capture(); !errors.Is(err, transport.ErrUnrecorded) {
		t.Errorf("a capture without its record: %v", err)
	}
	b.shown("unrecorded", func(s reader.UnitState) bool { return errors.Is(s.Incident.Err, transport.ErrUnrecorded) })
	failing.Store(false)
	// A power failure cut the next line short.
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteString(`{"time":"2026-`)
	check(t, errors.Join(err, f.Close()))
	for range 2 { // the second time there is nothing to add
		sim.PowerFail()
		b.until(reader.SlotRemoved, "kiosk card")
		b.until(reader.SlotAdded, "kiosk card")
	}
	last, known, err := log.Last("SIM0000001")
	if err != nil || !known || last.Reason != transport.FoundInBin || last.BinCount != 2 {
		t.Errorf("%+v, %t, %v", last, known, err)
	}
	check(t, b.driver.Emptied(b.ctx))
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), transport.FoundInBin) != 1 || strings.Count(string(text), transport.Emptied) != 1 {
		t.Errorf("%s, %v", text, err)
	}
}
