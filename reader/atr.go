package reader

import "fmt"

// An ATR is a card's answer to reset, taken apart (ISO 7816-3, 8.2).
type ATR struct {
	TS         byte        // 3B direct, 3F inverse convention
	Interface  []Interface // the groups of interface bytes, TA1 to TD1 first
	Historical []byte      // the historical bytes, at most 15; a part of the parsed bytes
	Check      bool        // TCK is there, and right
}

// An Interface is one group of interface bytes, TAi to TDi. A byte that the card
// does not send is -1.
type Interface struct{ TA, TB, TC, TD int }

// ErrATR is wrapped by the errors for bytes that are no answer to reset. It wraps
// [ErrGarbage].
var ErrATR = fmt.Errorf("%w: malformed answer to reset", ErrGarbage)

// maxATR is the length of the longest ATR, TS included.
const maxATR = 33

// ParseATR takes an answer to reset of at most 33 bytes apart. The error wraps
// [ErrATR]: not 3B or 3F, cut short, bytes left over, or a wrong TCK. A TCK that
// should be there and is missing is an error; one that should not be there is
// too.
func ParseATR(b []byte) (ATR, error) {
	if len(b) < 2 || len(b) > maxATR {
		return ATR{}, fmt.Errorf("%w: %d bytes", ErrATR, len(b))
	}
	a := ATR{TS: b[0]}
	if a.TS != 0x3B && a.TS != 0x3F {
		return ATR{}, fmt.Errorf("%w: TS %02X", ErrATR, a.TS)
	}
	history := int(b[1] & 0x0F)
	follow, check := b[1]>>4, false
	rest := b[2:]
	for follow != 0 {
		group := Interface{-1, -1, -1, -1}
		for i, to := range []*int{&group.TA, &group.TB, &group.TC, &group.TD} {
			if follow&(1<<i) == 0 {
				continue
			}
			if len(rest) == 0 {
				return ATR{}, fmt.Errorf("%w: interface bytes cut short", ErrATR)
			}
			*to, rest = int(rest[0]), rest[1:]
		}
		a.Interface = append(a.Interface, group)
		follow = 0
		if group.TD >= 0 {
			follow = byte(group.TD) >> 4
			// TCK is there as soon as another protocol than T=0 is named.
			check = check || group.TD&0x0F != 0
		}
	}
	want := history
	if check {
		want++
	}
	if len(rest) != want {
		return ATR{}, fmt.Errorf("%w: %d bytes where %d belong", ErrATR, len(rest), want)
	}
	a.Historical = rest[:history:history]
	if check {
		var sum byte
		for _, x := range b[1:] {
			sum ^= x
		}
		if sum != 0 {
			return ATR{}, fmt.Errorf("%w: TCK wrong", ErrATR)
		}
		a.Check = true
	}
	return a, nil
}

// Protocols returns the numbers of the transmission protocols that the card
// offers, in its order: 0 for T=0, 1 for T=1. 15 marks global interface bytes
// and is no protocol. A card that names none speaks T=0.
func (a ATR) Protocols() []byte {
	var list []byte
	for _, group := range a.Interface {
		if group.TD < 0 {
			continue
		}
		t := byte(group.TD & 0x0F)
		known := t == 15
		for _, have := range list {
			known = known || have == t
		}
		if !known {
			list = append(list, t)
		}
	}
	if len(list) == 0 {
		return []byte{0}
	}
	return list
}
