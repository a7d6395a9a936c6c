package transportsim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A FaultKind is a way in which the unit fails.
type FaultKind string

// The faults that can be ordered.
const (
	Nak         FaultKind = "nak"        // NAK in place of carrying the command out
	Deaf        FaultKind = "deaf"       // nothing at all, nothing is carried out
	LostAck     FaultKind = "lost-ack"   // the answer comes without an ACK before it
	Unanswered  FaultKind = "unanswered" // ACK, carried out, and then silence; NAK fetches the answer
	Corrupt     FaultKind = "corrupt"    // the answer comes with a wrong bit; NAK fetches it again
	Slow        FaultKind = "slow"       // the answer comes after Delay
	NoiseBefore FaultKind = "noise"      // noise that looks like a frame's beginning comes first
	Foreign     FaultKind = "foreign"    // the late answer of another command comes first
	Fragment    FaultKind = "fragment"   // the answer comes byte by byte
	Fail        FaultKind = "error"      // failure Code, nothing is carried out
	LetterE     FaultKind = "letter-e"   // a failure is spelt 'E'
	Jam         FaultKind = "jam"        // the card is stuck from now on, until [Unit.Clear]
	PullOut     FaultKind = "pull"       // the card is pulled out, then the command is carried out
	PowerLoss   FaultKind = "power-loss" // the power fails in place of carrying out
)

// Faults returns the kinds, each with what it does.
func Faults() []FaultKind {
	return []FaultKind{Nak, Deaf, LostAck, Unanswered, Corrupt, Slow, NoiseBefore, Foreign, Fragment, Fail, LetterE, Jam, PullOut, PowerLoss}
}

// A Fault is ordered by [Unit.Order].
type Fault struct {
	Kind  FaultKind
	At    int           // which of the following commands meets it: 1, like 0, is the next
	Times int           // how many commands meet it; 0 is one
	CM    byte          // only commands of this CM count; 0: all
	Delay time.Duration // of Slow
	Code  string        // of Fail, two characters
}

// ParseFault reads KIND[=VALUE][:CM][@AT][xTIMES]: "error=10:32@2" is a card jam at
// the second move, "nakx3" three NAKs, "slow=2s" one slow answer. CM is
// hexadecimal.
func ParseFault(text string) (Fault, error) {
	wrong := func() (Fault, error) {
		return Fault{}, fmt.Errorf("fault %q: KIND[=VALUE][:CM][@AT][xTIMES] expected, KIND one of %v", text, Faults())
	}
	var f Fault
	rest, kind := text, ""
	for _, k := range Faults() {
		if strings.HasPrefix(rest, string(k)) && len(k) > len(kind) {
			kind = string(k)
		}
	}
	if kind == "" {
		return wrong()
	}
	f.Kind, rest = FaultKind(kind), rest[len(kind):]
	number := func(s string) (int, bool) {
		n, err := strconv.Atoi(s)
		return n, err == nil && n > 0 && n < 1<<20
	}
	if head, times, ok := cutLast(rest, "x"); ok {
		if f.Times, ok = number(times); !ok {
			return wrong()
		}
		rest = head
	}
	if head, at, ok := cutLast(rest, "@"); ok {
		if f.At, ok = number(at); !ok {
			return wrong()
		}
		rest = head
	}
	if head, cm, ok := cutLast(rest, ":"); ok {
		n, err := strconv.ParseUint(cm, 16, 8)
		if err != nil || n == 0 {
			return wrong()
		}
		f.CM, rest = byte(n), head
	}
	value, has := strings.CutPrefix(rest, "=")
	switch f.Kind {
	case Slow:
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 || d > time.Hour {
			return wrong()
		}
		f.Delay = d
	case Fail:
		if len(value) != 2 {
			return wrong()
		}
		f.Code = value
	default:
		if has || rest != "" {
			return wrong()
		}
	}
	return f, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Order makes the unit fail. Of several faults due at one command the first ordered
// comes.
func (u *Unit) Order(faults ...Fault) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, f := range faults {
		f.At, f.Times = max(f.At, 1), max(f.Times, 1)
		u.faults = append(u.faults, f)
	}
}

// Clear takes back all faults that have not come, and frees a stuck card.
func (u *Unit) Clear() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults, u.jammed = nil, false
}

// due counts one command and returns the fault that it meets.
func (u *Unit) due(cm byte) (Fault, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var (
		found Fault
		ok    bool
	)
	u.faults = slices.DeleteFunc(u.faults, func(f Fault) bool { return f.Times <= 0 })
	for i := range u.faults {
		f := &u.faults[i]
		if f.CM != 0 && f.CM != cm {
			continue
		}
		if f.At--; f.At <= 0 && !ok {
			found, ok = *f, true
			f.Times--
		}
	}
	return found, ok
}
