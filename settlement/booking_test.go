package settlement

import (
	"errors"
	"strings"
	"testing"

	"onecard/fault"
)

func TestCheckAlone(t *testing.T) {
	c, err := NewCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSuffix(bookingTSV, "\n"), "\n")
	if len(rows) < 30 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows[1:] {
		infno, why, ok := strings.Cut(row, "\t")
		var booking *BookingError
		if err := c.CheckAlone(infno); !ok || why == "" || !errors.As(err, &booking) || !errors.Is(err, ErrBooks) || booking.Why != why ||
			fault.Of(err).Code != fault.TransactionBooks || !strings.Contains(booking.FaultDetail(), infno) {
			t.Errorf("%s: %v", row, err)
		}
	}
	for _, infno := range []string{"1101", "1319", "2001", "3202", "5201", "5203", "5204", "9102", "100001"} {
		if err := c.CheckAlone(infno); err != nil {
			t.Errorf("%s: %v", infno, err)
		}
	}
	for _, infno := range []string{"", "ENVELOPE", "9999", "infno", "why", "2207\tbooks"} {
		if err := c.CheckAlone(infno); !errors.Is(err, ErrTransactionUnknown) {
			t.Errorf("%q: %v", infno, err)
		}
	}
	// Nothing of a transaction that can settle escapes: whatever answers a
	// setl_id of its own, or takes omsgid to reverse.
	for _, infno := range c.Transactions() {
		tx, err := c.Transaction(infno)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range tx.In {
			if _, reverses := n.index["omsgid"]; reverses && c.CheckAlone(infno) == nil {
				t.Errorf("%s %s reverses and may be called alone", infno, tx.NameZH)
			}
		}
		for _, word := range []string{"结算撤销", "冲正", "退费", "预结算", "办理"} {
			if strings.Contains(tx.NameZH, word) && !strings.Contains(tx.NameZH, "查询") && c.CheckAlone(infno) == nil {
				t.Errorf("%s %s may be called alone", infno, tx.NameZH)
			}
		}
	}
}
