package serialsim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A FaultKind is a way in which a reader fails.
type FaultKind string

// The faults that can be ordered.
const (
	NAK            FaultKind = "nak"             // the command is not understood, and not carried out
	Corrupt        FaultKind = "corrupt"         // the answer has a wrong byte
	Cut            FaultKind = "cut"             // the answer ends in its middle
	Stale          FaultKind = "stale"           // another answer, with an old number, comes first
	GarbleEcho     FaultKind = "garble-echo"     // the echo has a wrong byte
	Silent         FaultKind = "silent"          // the command is carried out and not answered
	Stall          FaultKind = "stall"           // the command is neither carried out nor answered
	Disappear      FaultKind = "disappear"       // the cable is pulled instead of the command
	DisappearAfter FaultKind = "disappear-after" // the cable is pulled before the answer
)

// Kinds returns all kinds of faults.
func Kinds() []FaultKind {
	return []FaultKind{NAK, Corrupt, Cut, Stale, GarbleEcho, Silent, Stall, Disappear, DisappearAfter}
}

// A Fault is ordered by [Config] or [Reader.Order]. Commands are the messages that
// the reader understands, of whatever kind.
type Fault struct {
	Kind  FaultKind
	Times int // how many commands or answers meet it; 0 is one, for Stall all
	At    int // the first that can meet it, counted from when the fault is ordered; 0, like 1, is the next
}

// ParseFault reads KIND[:TIMES][@AT], such as "nak:3" or "stall@12".
func ParseFault(s string) (Fault, error) {
	name, at, hasAt := strings.Cut(s, "@")
	name, times, hasTimes := strings.Cut(name, ":")
	f := Fault{Kind: FaultKind(name)}
	if !slices.Contains(Kinds(), f.Kind) {
		return Fault{}, fmt.Errorf("fault %q: one of %v", s, Kinds())
	}
	for _, n := range []struct {
		given bool
		text  string
		to    *int
	}{{hasTimes, times, &f.Times}, {hasAt, at, &f.At}} {
		if !n.given {
			continue
		}
		var err error
		if *n.to, err = strconv.Atoi(n.text); err != nil || *n.to < 1 {
			return Fault{}, fmt.Errorf("fault %q: KIND[:TIMES][@AT] with numbers from 1", s)
		}
	}
	return f, nil
}

// Order makes the reader fail.
func (r *Reader) Order(faults ...Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range faults {
		if f.Times == 0 && f.Kind != Stall {
			f.Times = 1
		}
		f.At = r.seen + max(f.At, 1)
		r.faults = append(r.faults, f)
	}
}

// Clear takes back all faults.
func (r *Reader) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = nil
}

// count counts a command that was understood.
func (r *Reader) count() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen++
}

// due reports whether a fault of a kind is due, and takes it as done once more.
func (r *Reader) due(kind FaultKind) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.faults {
		f := &r.faults[i]
		seen := r.seen
		if kind == GarbleEcho {
			seen++ // the echo comes before its command is understood
		}
		if f.Kind != kind || seen < f.At {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				r.faults = slices.Delete(r.faults, i, i+1)
			}
		}
		return true
	}
	return false
}
