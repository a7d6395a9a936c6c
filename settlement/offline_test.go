package settlement

import (
	"errors"
	"strings"
	"testing"
)

func anUpload() OfflineUpload {
	return OfflineUpload{Infno: "2190", Name: "脱机扣款", Node: "data", Fields: map[string]string{
		"c": "card", "s": "sequence", "t": "terminal", "n": "terminal_sequence", "at": "time",
		"a": "account", "p": "self_paid", "f": "pooling", "tac": "tac", "kind": "=2",
	}}
}

// A region's transaction is checked and sent as any other, and by nobody by hand.
func TestOfflineUpload(t *testing.T) {
	national, err := NewCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	u := anUpload()
	if err := u.Check(national); err != nil {
		t.Fatal(err)
	}
	if err := new(OfflineUpload).Check(national); err != nil {
		t.Errorf("none: %v", err)
	}
	for name, spoil := range map[string]func(*OfflineUpload){
		"offline.infno":                      func(u *OfflineUpload) { u.Infno = "" },
		"offline.infno: 2102 is a national":  func(u *OfflineUpload) { u.Infno = "2102" },
		"offline.node":                       func(u *OfflineUpload) { u.Node = "a b" },
		"offline.fields.x":                   func(u *OfflineUpload) { u.Fields["x"] = "price" },
		"offline.fields.a-b":                 func(u *OfflineUpload) { u.Fields["a-b"] = "name" },
		"offline.fields: none holds tac":     func(u *OfflineUpload) { delete(u.Fields, "tac") },
		"offline.fields: none holds account": func(u *OfflineUpload) { u.Fields["a"] = "=1" },
	} {
		bad := anUpload()
		spoil(&bad)
		if err := bad.Check(national); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := national.Transaction("2190"); !errors.Is(err, ErrTransactionUnknown) {
		t.Errorf("known before it was declared: %v", err)
	}
	u.Declare(national)
	if err := national.CheckAlone("2190"); !errors.Is(err, ErrBooks) {
		t.Errorf("called by hand: %v", err)
	}
	d := CardDebit{
		Card: "51", Sequence: 4, Terminal: "510100000001", TerminalSequence: 2, Time: "2026-11-21 08:00:00",
		Account: 3680, SelfPaid: 5, TAC: "5f3a90c1", Name: "某人",
	}
	raw, err := u.Input(d)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"data":{"a":36.80,"at":"2026-11-21 08:00:00","c":"51","f":0.00,"kind":"2","n":"2","p":0.05,"s":"4","t":"510100000001","tac":"5F3A90C1"}}`
	if string(raw) != want {
		t.Errorf("input %s", raw)
	}
	if err := national.Validate("2190", raw); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*CardDebit){
		"no TAC": func(d *CardDebit) { d.TAC = "" }, "no time": func(d *CardDebit) { d.Time = "yesterday" },
	} {
		bad := d
		spoil(&bad)
		raw, err := u.Input(bad)
		if err != nil {
			t.Fatal(err)
		}
		if err := national.Validate("2190", raw); err == nil {
			t.Errorf("%s: %s is sent", name, raw)
		}
	}
	if s := d.String(); strings.Contains(s, "某人") || strings.Contains(s, "51") && !strings.Contains(s, "36.80") {
		t.Errorf("prints %s", s)
	}
}

// Every value that a region may name exists and can be written.
func TestOfflineValues(t *testing.T) {
	for _, name := range OfflineValues() {
		u := anUpload()
		u.Fields["x"] = name
		if _, err := u.Input(CardDebit{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
