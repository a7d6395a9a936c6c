package centersim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Always is the Count of a fault that stays until it is cleared.
const Always = -1

// maxOversize bounds Oversize: 256 MiB.
const maxOversize = 256 << 20

// A Fault is one ordered misfortune. Several may meet one request; of each
// kind the one ordered first.
type Fault struct {
	Infno  string        // the transaction it waits for; "" any
	Kind   FaultKind     //
	Count  int           // how many requests it meets; 0 is 1, Always is all
	For    time.Duration // Delay, Clock
	Number int           // HTTPBefore, HTTPAfter, Oversize, Identity, Flap
	Text   string        // Refuse
}

// String returns the form that ParseFault reads.
func (f Fault) String() string {
	s := f.Infno
	if s == "" {
		s = "any"
	}
	s += ":" + string(f.Kind)
	switch f.Kind {
	case Delay, Clock:
		s += "=" + f.For.String()
	case HTTPBefore, HTTPAfter, Oversize, Identity, Flap:
		s += "=" + strconv.Itoa(f.Number)
	case Refuse:
		s += "=" + f.Text
	}
	if f.Count == Always {
		return s + "@always"
	}
	return s + "@" + strconv.Itoa(max(1, f.Count))
}

// ParseFault reads INFNO:KIND[=VALUE][@COUNT], where INFNO may be "any" and
// COUNT "always": "2207:drop-after", "2204:refuse=目录停用@2",
// "any:delay=3s@always".
func ParseFault(s string) (Fault, error) {
	infno, rest, ok := strings.Cut(s, ":")
	if !ok {
		return Fault{}, fmt.Errorf("fault %q: not INFNO:KIND[=VALUE][@COUNT]", s)
	}
	f := Fault{Infno: infno, Count: 1}
	if infno == "any" {
		f.Infno = ""
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		count := rest[i+1:]
		n, err := strconv.Atoi(count)
		switch {
		case count == "always":
			f.Count = Always
		case err != nil || n < 1 || n > 1_000_000:
			return Fault{}, fmt.Errorf("fault %q: the count after @ is 1 to 1000000 or always", s)
		default:
			f.Count = n
		}
		rest = rest[:i]
	}
	kind, value, hasValue := strings.Cut(rest, "=")
	f.Kind = FaultKind(kind)
	var err error
	switch f.Kind {
	case Delay, Clock:
		f.For, err = time.ParseDuration(value)
	case HTTPBefore, HTTPAfter, Oversize, Identity, Flap:
		f.Number, err = strconv.Atoi(value)
	case Refuse:
		f.Text = value
	default:
		if hasValue {
			err = errors.New("takes no value")
		}
	}
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", s, err)
	}
	return f, nil
}

func (f Fault) check() error {
	if f.Infno != "" && !served(f.Infno) {
		return fmt.Errorf("no transaction %q here", f.Infno)
	}
	if f.Count < Always {
		return errors.New("a count is 1 or more, or Always")
	}
	switch f.Kind {
	case Delay:
		if f.For < 0 || f.For > time.Hour {
			return errors.New("a delay is 0 to 1h")
		}
	case HTTPBefore, HTTPAfter:
		if f.Number < 400 || f.Number > 599 {
			return errors.New("a status is 400 to 599")
		}
	case Oversize:
		if f.Number < 1 || f.Number > maxOversize {
			return fmt.Errorf("the padding is 1 to %d bytes", maxOversize)
		}
	case Identity:
		if f.Number < 1 || f.Number > 4 {
			return errors.New("the identities are 1 to 4")
		}
	case Flap:
		if f.Number < 1 || f.Number > 1000 {
			return errors.New("the line is up for 1 to 1000 requests")
		}
	case Refuse:
		if f.Text == "" {
			return errors.New("the centre needs words to refuse with")
		}
	case LostCard, UnknownPerson:
		if f.Infno != "" && !asksFor(f.Infno, f.Kind) {
			return fmt.Errorf("transaction %s names nobody by card", f.Infno)
		}
	default:
		var kinds []FaultKind
		for _, k := range FaultKinds() {
			kinds = append(kinds, k.Kind)
		}
		if !slices.Contains(kinds, f.Kind) {
			return fmt.Errorf("kind is one of %v", kinds)
		}
	}
	return nil
}

// waiting is an ordered fault and how many requests have met it.
type waiting struct {
	Fault
	met int
}

// faultList holds what is ordered and not yet met, and who hangs.
type faultList struct {
	mu      sync.Mutex
	ordered []waiting
	release chan struct{} // closed by Release
	hanging int
	changed chan struct{} // closed and replaced whenever hanging changes
}

func newFaultList() *faultList {
	return &faultList{release: make(chan struct{}), changed: make(chan struct{})}
}

func (l *faultList) order(faults ...Fault) error {
	for _, f := range faults {
		if err := f.check(); err != nil {
			return fmt.Errorf("fault %s: %w", f, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range faults {
		if f.Count == 0 {
			f.Count = 1
		}
		l.ordered = append(l.ordered, waiting{Fault: f})
	}
	return nil
}

func (l *faultList) list() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Fault, 0, len(l.ordered))
	for _, f := range l.ordered {
		list = append(list, f.Fault)
	}
	return list
}

func (l *faultList) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ordered = nil
}

// met is what one request meets, by kind.
type met map[FaultKind]Fault

// take counts down and returns the faults that this request meets.
func (l *faultList) take(infno string) met {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := met{}
	left := l.ordered[:0]
	for _, f := range l.ordered {
		_, already := m[f.Kind]
		if !already && (f.Infno == infno || (f.Infno == "" && asksFor(infno, f.Kind))) {
			m[f.Kind] = f.Fault
			if f.Kind == Flap {
				m.flap(f.met, f.Number)
			}
			f.met++
			if f.Count > 0 {
				f.Count--
			}
		}
		if f.Count != 0 {
			left = append(left, f)
		}
	}
	l.ordered = left
	return m
}

// clock returns by how much the next answer's Date would be off, and uses
// nothing up.
func (l *faultList) clock(infno string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.ordered {
		if f.Kind == Clock && (f.Infno == "" || f.Infno == infno) {
			return f.For
		}
	}
	return 0
}

func (l *faultList) releaseAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.release)
	l.release = make(chan struct{})
}

// hang waits for Release; false when the caller or the centre went away.
func (l *faultList) hang(gone, stop <-chan struct{}) bool {
	l.mu.Lock()
	release := l.release
	l.count(1)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.count(-1)
	}()
	select {
	case <-release:
		return true
	case <-gone:
	case <-stop:
	}
	return false
}

// count changes the number of hanging requests and tells who waits for it.
func (l *faultList) count(by int) {
	l.hanging += by
	close(l.changed)
	l.changed = make(chan struct{})
}

// hangs returns how many requests hang and a channel that is closed when that
// changes.
func (l *faultList) hangs() (int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hanging, l.changed
}
