package settlement

import (
	_ "embed"
	"fmt"
	"strings"

	"onecard/fault"
)

// bookingTSV lists the transactions that nobody calls by hand: what they do
// must be in the journal, or is a step of a visit that onecard keeps.
//
//go:embed booking.tsv
var bookingTSV string

// ErrBooks is a transaction that is not called on its own (OC-2008).
var ErrBooks = fault.New(fault.TransactionBooks, "the transaction books or belongs to a visit")

// A BookingError names the transaction and why it is not called on its own.
type BookingError struct{ Infno, Why string }

// Error names both.
func (e *BookingError) Error() string { return e.Infno + " " + e.Why }

// FaultDetail is the same, for a person.
func (e *BookingError) FaultDetail() string { return e.Error() }

// Unwrap returns ErrBooks.
func (e *BookingError) Unwrap() error { return ErrBooks }

// CheckAlone says whether a transaction may be called on its own, without visit
// and journal: the error is a *[BookingError], or ErrTransactionUnknown.
func (c *Catalogue) CheckAlone(infno string) error {
	if _, err := c.Transaction(infno); err != nil || infno == envelopeInfno {
		return fmt.Errorf("infno %q: %w", printable(infno), ErrTransactionUnknown)
	}
	c.mu.Lock()
	why := c.books[infno]
	c.mu.Unlock()
	if why != "" {
		return &BookingError{infno, why}
	}
	if _, rest, found := strings.Cut(bookingTSV, "\n"+infno+"\t"); found {
		why, _, _ := strings.Cut(rest, "\n")
		return &BookingError{infno, why}
	}
	return nil
}
