package keys_test

import (
	"errors"
	"strings"
	"testing"

	"onecard/card/keys"
)

const heading = "name\tid\tuse\tnote\n"

// The numbers that card specification, section 5, states in words.
func TestReferenceNumbers(t *testing.T) {
	for name, want := range map[string]byte{
		"STK": 0x02, "UKSSSE": 0x04, "BK": 0x05, "PUK": 0x06, "RKSSSE": 0x0A, "IRK": 0x00,
		"STKDF01": 0x82, "STKDF07": 0x82,
		"UK1DF01": 0x83, "UK5DF01": 0x87, "RK1DF01": 0x88, "UK6DF01": 0x89, "UK7DF01": 0x8A, "UKBDF01": 0x8E,
		"UK1DF02": 0x83, "RK1DF02": 0x88, "UK6DF02": 0x89,
		"LKDF03": 0x83, "RK1DF03": 0x84, "RK2DF03": 0x85, "UK1DF03": 0x86, "UK8DF03": 0x8D,
		"LKDF04": 0x83, "RK1DF04": 0x84, "UK1DF04": 0x85, "UK2DF04": 0x86,
		"RK1DF05": 0x83, "UK1DF06": 0x84, "UK2DF06": 0x85,
		"RK1DF07": 0x83, "RK3DF07": 0x85, "UK1DF07": 0x86, "UK3DF07": 0x88,
	} {
		if got, ok := keys.KeyID(name); !ok || got != want {
			t.Errorf("KeyID(%s) = %02X, %t; want %02X", name, got, ok, want)
		}
	}
	for _, name := range []string{"DPK", "DTK", "RK9DF01", ""} {
		if got, ok := keys.KeyID(name); ok {
			t.Errorf("KeyID(%s) = %02X", name, got)
		}
	}
}

func TestParseTableRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":            "",
		"no heading":         "IRK\t00\tinternal\t\n",
		"columns":            heading + "IRK\t00\tinternal\n",
		"name":               heading + "irk\t00\tinternal\t\n",
		"empty name":         heading + "\t00\tinternal\t\n",
		"long name":          heading + strings.Repeat("A", 17) + "\t00\tinternal\t\n",
		"use":                heading + "IRK\t00\tanything\t\n",
		"number":             heading + "IRK\t0\tinternal\t\n",
		"long number":        heading + "IRK\t0001\tinternal\t\n",
		"external, unnumber": heading + "RK1DF04\t-\texternal\t\n",
		"name twice":         heading + "IRK\t00\tinternal\t\nIRK\t01\tinternal\t\n",
		"number twice":       heading + "RK1DF04\t84\texternal\t\nRK2DF04\t84\texternal\t\n",
		"huge":               heading + strings.Repeat("\n", 1<<16),
	} {
		if _, err := keys.ParseTable(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseTable(f *testing.F) {
	f.Add(heading + "IRK\t00\tinternal\tnote\n")
	f.Add(heading + "IRK\t00\tinternal\t\r\nDPK\t-\tdebit\t\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := keys.ParseTable(text)
		if err != nil {
			return
		}
		n := 0
		for e := range table.All() {
			n++
			if got, ok := table.Lookup(e.Name); !ok || got != e || !keys.ValidName(e.Name) {
				t.Errorf("%q is not found again", e.Name)
			}
		}
		if n != table.Len() {
			t.Errorf("%d of %d", n, table.Len())
		}
	})
}

func TestRing(t *testing.T) {
	ring := keys.TestRing(keys.Reference())
	if !ring.Test() {
		t.Error("the test ring does not say so")
	}
	held := ring.Held()
	if len(held) != keys.Reference().Len() || len(held[0].Versions) != keys.Versions {
		t.Errorf("holds %d names, the first in versions %v", len(held), held[0].Versions)
	}
	second := card
	second.Version = 2
	k1, err1 := ring.CardKey(card, "IRK")
	k2, err2 := ring.CardKey(second, "IRK")
	if err1 != nil || err2 != nil || k1 == k2 {
		t.Errorf("versions 1 and 2: %v, %v, equal: %t", err1, err2, k1 == k2)
	}
	if _, err := ring.CardKey(card, "RK9DF99"); !errors.Is(err, keys.ErrKeyUnknown) {
		t.Errorf("unknown name: %v", err)
	}

	own := keys.NewRing(keys.Reference())
	if own.Test() {
		t.Error("a ring of one's own says that it is the test ring")
	}
	if err := own.Add("IRK", 1, keys.Key{1}); err != nil {
		t.Fatal(err)
	}
	if err := own.Add("XXX", 1, keys.Key{1}); !errors.Is(err, keys.ErrKeyUnknown) {
		t.Errorf("add an unknown name: %v", err)
	}
	for _, v := range []byte{0, 4} {
		if err := own.Add("IRK", v, keys.Key{1}); !errors.Is(err, keys.ErrSubject) {
			t.Errorf("add version %d: %v", v, err)
		}
	}
	if _, err := own.CardKey(second, "IRK"); !errors.Is(err, keys.ErrKeyUnknown) {
		t.Errorf("version that is not held: %v", err)
	}
	own.Wipe()
	if _, err := own.Root("IRK", 1); !errors.Is(err, keys.ErrKeyUnknown) {
		t.Errorf("after Wipe: %v", err)
	}
}
