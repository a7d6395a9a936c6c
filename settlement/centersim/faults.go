package centersim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FaultKind names a misfortune. "before" means that nothing is booked, "after"
// that the transaction was booked first.
type FaultKind string

// The misfortunes. The words in brackets are the value that the text form
// needs.
const (
	DropBefore FaultKind = "drop-before" // close the connection, nothing booked
	DropAfter  FaultKind = "drop-after"  // book, then close the connection
	HangBefore FaultKind = "hang-before" // wait for Release (then go on) or for the caller to leave (then nothing is booked)
	HangAfter  FaultKind = "hang-after"  // book, then keep the answer until Release
	Delay      FaultKind = "delay"       // [duration] wait, then go on
	HTTPBefore FaultKind = "http-before" // [status 400..599] answer with that status, nothing booked
	HTTPAfter  FaultKind = "http-after"  // [status 400..599] book, then answer with that status
	HTMLBefore FaultKind = "html-before" // status 200 and a maintenance page, nothing booked
	HTMLAfter  FaultKind = "html-after"  // book, then status 200 and a maintenance page
	Truncate   FaultKind = "truncate"    // book; the answer ends in the middle, as if complete
	Cut        FaultKind = "cut"         // book; the connection breaks in the middle of the answer
	Oversize   FaultKind = "oversize"    // [bytes] book; the answer is padded with that many blanks
	Identity   FaultKind = "identity"    // [1..4] book; the answer breaks that money identity by one fen
	WrongSetl  FaultKind = "wrong-setl"  // book; the answer's medins_setl_id is another's
	TextCode   FaultKind = "text-code"   // infcode as text, "0"
	NullShares FaultKind = "null-shares" // book; the answer leaves psn_part_amt, hosp_part_amt and acct_mulaid_pay null, as refunds may
	Sloppy     FaultKind = "sloppy"      // everything that a reader must put up with: numbers as text, "null", pdn_cash_pay, an object for a list of one
	Refuse     FaultKind = "refuse"      // [message] infcode -1 with that message, nothing booked
	Clock      FaultKind = "clock"       // [duration, may be negative] the answer's Date is off by that much
)

var faultKinds = []FaultKind{
	DropBefore, DropAfter, HangBefore, HangAfter, Delay, HTTPBefore, HTTPAfter, HTMLBefore, HTMLAfter,
	Truncate, Cut, Oversize, Identity, WrongSetl, TextCode, NullShares, Sloppy, Refuse, Clock,
}

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
	Number int           // HTTPBefore, HTTPAfter, Oversize, Identity
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
	case HTTPBefore, HTTPAfter, Oversize, Identity:
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
	case HTTPBefore, HTTPAfter, Oversize, Identity:
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
	if _, known := paths[f.Infno]; f.Infno != "" && !known {
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
	case Refuse:
		if f.Text == "" {
			return errors.New("the centre needs words to refuse with")
		}
	default:
		if !slices.Contains(faultKinds, f.Kind) {
			return fmt.Errorf("kind is one of %v", faultKinds)
		}
	}
	return nil
}

// faultList holds what is ordered and not yet met, and who hangs.
type faultList struct {
	mu      sync.Mutex
	ordered []Fault
	release chan struct{} // closed by Release
	hanging int
	waiting chan struct{} // closed and replaced whenever hanging changes
}

func newFaultList() *faultList {
	return &faultList{release: make(chan struct{}), waiting: make(chan struct{})}
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
		l.ordered = append(l.ordered, f)
	}
	return nil
}

func (l *faultList) list() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ordered)
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
		if !already && (f.Infno == "" || f.Infno == infno) {
			m[f.Kind] = f
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
	close(l.waiting)
	l.waiting = make(chan struct{})
}

// hangs returns how many requests hang and a channel that is closed when that
// changes.
func (l *faultList) hangs() (int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hanging, l.waiting
}

// spoil changes an answer as ordered.
func (m met) spoil(answer object) {
	output, _ := answer["output"].(object)
	info, _ := output["setlinfo"].(object)
	if f, ok := m[Identity]; ok {
		breakIdentity(f.Number, output, info)
	}
	if _, ok := m[WrongSetl]; ok && info != nil {
		info["medins_setl_id"] = "H00000000000000000000000000000"
	}
	if _, ok := m[NullShares]; ok && info != nil {
		for _, name := range []string{"psn_part_amt", "hosp_part_amt", "acct_mulaid_pay"} {
			info[name] = nil
		}
	}
	if _, ok := m[TextCode]; ok {
		answer["infcode"] = fmt.Sprint(answer["infcode"])
	}
	if _, ok := m[Sloppy]; ok {
		answer["infcode"] = fmt.Sprint(answer["infcode"])
		answer["err_msg"] = "NULL"
		answer["output"] = sloppy(answer["output"])
	}
}

// breakIdentity adds one fen to a term that stands in that identity alone; in
// the answer to 2204 the only identity is the fourth, of the first line.
func breakIdentity(n int, output, info object) {
	name := []string{"hosp_part_amt", "hifp_pay", "psn_cash_pay", "preselfpay_amt"}[n-1]
	where := info
	if lines, ok := output["result"].([]object); ok && len(lines) > 0 {
		where, name = lines[0], "preselfpay_amt"
	}
	if v, ok := where[name].(json.Number); ok {
		// The centre's own amounts parse.
		amount, _ := parseDecimal(v.String(), 2)
		where[name] = num(fen(amount) + 1)
	}
}

// sloppy rewrites an output in the worst permitted way.
func sloppy(v any) any {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case string:
		if v == "" {
			return "null"
		}
	case object:
		w := object{}
		for name, x := range v {
			if name == "psn_cash_pay" {
				name = "pdn_cash_pay"
			}
			w[name] = sloppy(x)
		}
		return w
	case []object:
		if len(v) == 1 {
			return sloppy(v[0])
		}
		w := []any{}
		for _, x := range v {
			w = append(w, sloppy(x))
		}
		return w
	}
	return v
}
