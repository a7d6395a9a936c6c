package virtual_test

import (
	"errors"
	"testing"

	"onecard/reader"
	"onecard/reader/virtual"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A card that counts what is done to it.
type card struct{ on, off, commands int }

func (c *card) PowerOn() []byte { c.on++; return []byte{0x3B, 0x00} }
func (c *card) PowerOff()       { c.off++ }
func (c *card) Transmit([]byte) []byte {
	c.commands++
	return []byte{0x90, 0x00}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPower(t *testing.T) {
	d, c := virtual.New("a"), new(card)
	check(t, d.Insert("a", c))
	check(t, d.ResetByOther("a"))
	check(t, d.Remove("a"))
	if c.on != 2 || c.off != 2 {
		t.Errorf("powered on %d and off %d times", c.on, c.off)
	}
}

// A fault meets the command it was ordered for, and the card sees a torn one.
func TestOrder(t *testing.T) {
	d, c := virtual.New("a"), new(card)
	check(t, d.Order("a", virtual.Fault{Kind: virtual.Fail, At: 2, Times: 2}))
	check(t, d.Order("a", virtual.Fault{Kind: virtual.Status, At: 4, Status: 0x6A82}))
	check(t, d.Order("a", virtual.Fault{Kind: virtual.Tear, At: 5}))
	check(t, d.Insert("a", c)) // what was ordered for the empty slot stands
	l, err := d.Open(t.Context(), "a", reader.Shared)
	check(t, err)
	for i, want := range []error{nil, reader.ErrFault, reader.ErrFault, nil, reader.ErrCardRemoved, reader.ErrCardRemoved} {
		answer, err := l.Transmit(t.Context(), []byte{0, 0x84, 0, 0})
		if !errors.Is(err, want) {
			t.Errorf("command %d: %v, want %v", i+1, err, want)
		}
		if i == 3 && string(answer) != "\x6A\x82" {
			t.Errorf("%X", answer)
		}
	}
	if c.commands != 2 {
		t.Errorf("the card saw %d commands", c.commands)
	}
	check(t, l.Close())
	check(t, l.Close())
}

func TestMute(t *testing.T) {
	d := virtual.New("a")
	check(t, d.Order("a", virtual.Fault{Kind: virtual.Mute}))
	check(t, d.Insert("a", new(card)))
	if _, err := d.Open(t.Context(), "a", reader.Shared); !errors.Is(err, reader.ErrMute) {
		t.Errorf("%v", err)
	}
	check(t, d.Clear("a"))
	check(t, d.ResetByOther("a"))
	l, err := d.Open(t.Context(), "a", reader.Shared)
	check(t, err)
	check(t, l.Close())
}

func TestRefused(t *testing.T) {
	d := virtual.New("a")
	for name, err := range map[string]error{
		"unknown slot":     d.Insert("b", new(card)),
		"slot twice":       d.AddSlot("a"),
		"empty slot":       d.Remove("a"),
		"no slot to pull":  d.RemoveSlot("b"),
		"no such fault":    d.Order("a", virtual.Fault{}),
		"fault of no slot": d.Order("b", virtual.Fault{Kind: virtual.Mute}),
	} {
		if !errors.Is(err, virtual.ErrSlot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
