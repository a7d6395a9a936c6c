// Package apdu speaks ISO 7816-4 to a card: commands and their answers, status
// words, the TLV forms that answers are made of, and the exchange that hides
// how a T=0 card hands out a long answer.
//
// A [Command] is named as the standard names its fields and is turned into
// bytes by [Command.Bytes], in the shortest of the four cases that fits:
//
//	c := apdu.Command{INS: 0xB2, P1: 1, P2: 5<<3 | 4, Le: apdu.MaxShortLe}
//
// An [Exchanger] sends it over a [Transmitter] (a reader's link), follows 61xx
// and 6Cxx within bounds, and returns the whole [Response]:
//
//	x := apdu.NewExchanger(link)
//	r, err := x.Exchange(ctx, c)
//	if err != nil {
//		return err // the reader, or a card that does not keep to the standard
//	}
//	if err := r.Status.Err(); err != nil {
//		return err // what the card says: errors.Is(err, apdu.ErrNotFound)
//	}
//
// A status word is never an error of Exchange: what 6A83 means depends on the
// command, so the caller decides. [Status.Err] gives the error where it is one.
//
// The card is an untrusted peer. No parser here panics, allocates by a length
// that the card claims, or recurses by the card's wish; every error that is the
// card's fault wraps a code of package fault.
//
// A [Trace] records an exchange for a person, with everything masked that could
// be about somebody.
package apdu

import "fmt"

// The largest Le, in bytes expected, of the two length forms (ISO 7816-4, 5.1).
const (
	MaxShortLe    = 256
	MaxExtendedLe = 65536
)

// The largest Lc, in bytes sent, of the two length forms.
const (
	maxShortLc    = 255
	maxExtendedLc = 65535
)

// A Command is a command APDU (ISO 7816-4, 5.1).
type Command struct {
	CLA, INS, P1, P2 byte

	// Data is the command data field: at most 65535 bytes, none in cases 1
	// and 2.
	Data []byte

	// Le is the number of bytes expected: 0 for none, at most 65536. 256 and
	// 65536 are the "all there is" of the short and the extended form.
	Le int

	// Extended asks for extended length fields where short ones would do. A
	// command that does not fit short fields is extended without asking. In
	// case 1 there are no length fields and it means nothing.
	Extended bool
}

// ErrCommand is wrapped by the errors for a command that ISO 7816-4 cannot
// express: too much data, Le out of range, bytes that are no command APDU.
var ErrCommand = fmt.Errorf("not a command APDU")

// Bytes encodes the command: 4 bytes in case 1, else up to 65544. The error
// wraps [ErrCommand].
func (c Command) Bytes() ([]byte, error) {
	return c.Append(make([]byte, 0, 4+3+len(c.Data)+3))
}

// Append is [Command.Bytes] into a buffer of the caller.
func (c Command) Append(dst []byte) ([]byte, error) {
	if len(c.Data) > maxExtendedLc {
		return dst, fmt.Errorf("%w: %d bytes of data, at most %d", ErrCommand, len(c.Data), maxExtendedLc)
	}
	if c.Le < 0 || c.Le > MaxExtendedLe {
		return dst, fmt.Errorf("%w: Le %d, at most %d", ErrCommand, c.Le, MaxExtendedLe)
	}
	dst = append(dst, c.CLA, c.INS, c.P1, c.P2)
	if !c.extended() {
		if len(c.Data) > 0 {
			dst = append(dst, byte(len(c.Data)))
			dst = append(dst, c.Data...)
		}
		if c.Le > 0 {
			dst = append(dst, byte(c.Le)) // 256 is 00
		}
		return dst, nil
	}
	if len(c.Data) == 0 {
		return append(dst, 0, byte(c.Le>>8), byte(c.Le)), nil // 65536 is 0000
	}
	dst = append(dst, 0, byte(len(c.Data)>>8), byte(len(c.Data)))
	dst = append(dst, c.Data...)
	if c.Le > 0 {
		dst = append(dst, byte(c.Le>>8), byte(c.Le))
	}
	return dst, nil
}

// extended reports whether the encoded command has extended length fields.
func (c Command) extended() bool {
	if len(c.Data) == 0 && c.Le == 0 {
		return false
	}
	return c.Extended || len(c.Data) > maxShortLc || c.Le > MaxShortLe
}

// ParseCommand decodes a command APDU. It is the inverse of [Command.Bytes]:
// Extended tells which length form the bytes have. Data is a part of b, not a
// copy. The error wraps [ErrCommand].
func ParseCommand(b []byte) (Command, error) {
	if len(b) < 4 {
		return Command{}, fmt.Errorf("%w: %d bytes, at least 4", ErrCommand, len(b))
	}
	c := Command{CLA: b[0], INS: b[1], P1: b[2], P2: b[3]}
	body := b[4:]
	switch {
	case len(body) == 0: // case 1
		return c, nil
	case len(body) == 1: // case 2, short
		c.Le = expected(int(body[0]), MaxShortLe)
		return c, nil
	case body[0] != 0: // cases 3 and 4, short
		lc := int(body[0])
		switch rest := body[1:]; len(rest) {
		case lc:
			c.Data = rest
			return c, nil
		case lc + 1:
			c.Data, c.Le = rest[:lc:lc], expected(int(rest[lc]), MaxShortLe)
			return c, nil
		}
		return Command{}, fmt.Errorf("%w: Lc %d, %d bytes follow", ErrCommand, lc, len(body)-1)
	case len(body) < 3:
		return Command{}, fmt.Errorf("%w: extended length field cut short", ErrCommand)
	}
	c.Extended = true
	n := int(body[1])<<8 | int(body[2])
	rest := body[3:]
	switch {
	case len(rest) == 0: // case 2, extended
		c.Le = expected(n, MaxExtendedLe)
		return c, nil
	case n == 0:
	case len(rest) == n:
		c.Data = rest
		return c, nil
	case len(rest) == n+2:
		c.Data, c.Le = rest[:n:n], expected(int(rest[n])<<8|int(rest[n+1]), MaxExtendedLe)
		return c, nil
	}
	return Command{}, fmt.Errorf("%w: extended Lc %d, %d bytes follow", ErrCommand, n, len(rest))
}

// expected decodes an Le field, in which 0 stands for the most there can be.
func expected(le, all int) int {
	if le == 0 {
		return all
	}
	return le
}

// Case returns which of the four cases of ISO 7816-3, 12.1.1 the command is: 1
// neither data nor Le, 2 Le, 3 data, 4 both.
func (c Command) Case() int {
	n := 1
	if c.Le > 0 {
		n++
	}
	if len(c.Data) > 0 {
		n += 2
	}
	return n
}
