package apdu

import (
	"fmt"

	"onecard/fault"
)

// A Response is a response APDU (ISO 7816-4, 5.1): up to 65536 bytes of data
// and the status word.
type Response struct {
	Data   []byte
	Status Status
}

// Errors for bytes that are not an answer of a card.
var (
	// ErrGarbage is wrapped by every error for an answer that does not follow
	// ISO 7816: a status word outside 61..6F and 90..9F, more data than the
	// command's form can carry, TLV that is none.
	ErrGarbage = fault.New(fault.CardGarbage, "the card's answer does not follow ISO 7816")

	// ErrShortResponse is an answer that has no room for a status word. It wraps
	// [ErrGarbage].
	ErrShortResponse = fmt.Errorf("%w: shorter than a status word", ErrGarbage)

	// ErrEndless is wrapped by the errors for an answer that never ends: 61xx
	// or 6Cxx beyond the [Limits].
	ErrEndless = fault.New(fault.CardEndless, "the card's answer never ends")
)

// ParseResponse splits an answer into data and status word. Data is a part of
// b, not a copy. The errors are [ErrShortResponse], and [ErrGarbage] for more
// than 65536 bytes of data; the value of the status word is not judged.
func ParseResponse(b []byte) (Response, error) {
	n := len(b) - 2
	if n < 0 {
		return Response{}, ErrShortResponse
	}
	if n > MaxExtendedLe {
		return Response{}, fmt.Errorf("%w: %d bytes of data", ErrGarbage, n)
	}
	return Response{Data: b[:n:n], Status: Status(b[n])<<8 | Status(b[n+1])}, nil
}

// Bytes encodes the response, data first. It is the inverse of
// [ParseResponse].
func (r Response) Bytes() []byte {
	b := make([]byte, 0, len(r.Data)+2)
	b = append(b, r.Data...)
	return append(b, byte(r.Status>>8), byte(r.Status))
}
