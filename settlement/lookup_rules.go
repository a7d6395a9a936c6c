package settlement

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Lookup is how a region can be asked what became of a transaction whose
// answer was lost (settlement facts: it varies).
type Lookup struct {
	// Order are the questions that the region honours, in the order to ask
	// them: 5203, 5201, 5204, 3202. Nil: all of them.
	Order []string
	// ClrTypes are, by the infno of what was sent, the kinds of clearing under
	// which a statement may list it. What is not there has the national ones.
	// Kinds that the journal's own answers show are asked as well.
	ClrTypes map[string][]string
	// Optins is setl_optins of a statement; "": the place of care.
	Optins string
	// Settled is for how long after its time-out a transaction may still be
	// booked; 0: three minutes. What a statement does not have by then never
	// arrived.
	Settled time.Duration
	// Reverse permits 2601 where nothing else decides.
	Reverse bool
	// Never are words of 2601's refusal that mean: no such transaction. Nil: 未查询到原交易.
	Never []string
}

// The questions that can be asked.
const (
	infnoSettlementQuery = "5203"
	infnoVisitQuery      = "5201"
	infnoLineQuery       = "5204"
	infnoStatement       = "3202"
)

var lookupOrder = []string{infnoSettlementQuery, infnoVisitQuery, infnoLineQuery, infnoStatement}

// nationalClrTypes are those of the national dictionary by what was sent.
var nationalClrTypes = map[string][]string{
	"2207": {"11", "14"},
	"2304": {"21"},
	"2102": {"41"},
}

// Bounds of a Lookup.
const (
	usualSettled = 3 * time.Minute
	maxClrTypes  = 20
)

// Check says what of it cannot be.
func (l Lookup) Check() error {
	for i, infno := range l.Order {
		if !slices.Contains(lookupOrder, infno) || slices.Contains(l.Order[:i], infno) {
			return fmt.Errorf("order: %s, each once", strings.Join(lookupOrder, ", "))
		}
	}
	for infno, types := range l.ClrTypes {
		if nationalClrTypes[infno] == nil {
			return fmt.Errorf("clr_types.%s: 2207, 2304 or 2102 expected", printable(infno))
		}
		if len(types) == 0 || len(types) > maxClrTypes {
			return fmt.Errorf("clr_types.%s: 1 to %d kinds of clearing", infno, maxClrTypes)
		}
		for _, c := range types {
			if c == "" || len(c) > 6 || printable(c) != c {
				return fmt.Errorf("clr_types.%s: a kind of clearing has 1 to 6 characters", infno)
			}
		}
	}
	if l.Optins != "" && (len(l.Optins) != 6 || strings.Trim(l.Optins, "0123456789") != "") {
		return fmt.Errorf("setl_optins: six digits")
	}
	if l.Settled < 0 || l.Settled > 24*time.Hour {
		return fmt.Errorf("settled_after: 0 to 24h")
	}
	for _, w := range l.Never {
		if strings.TrimSpace(w) == "" {
			return fmt.Errorf("never: words expected")
		}
	}
	return nil
}

// complete fills what is left out.
func (l Lookup) complete() Lookup {
	if l.Order == nil {
		l.Order = lookupOrder
	}
	if l.Settled == 0 {
		l.Settled = usualSettled
	}
	if l.Never == nil {
		l.Never = []string{"未查询到原交易"}
	}
	return l
}

// clrTypes are the kinds of clearing under which what was sent may be listed,
// with those that were seen in answers.
func (l Lookup) clrTypes(infno string, seen []string) []string {
	list := l.ClrTypes[infno]
	if list == nil {
		list = nationalClrTypes[infno]
	}
	list = slices.Clone(list)
	for _, c := range seen {
		if c != "" && !slices.Contains(list, c) && len(list) < maxClrTypes {
			list = append(list, c)
		}
	}
	return list
}

// Clearings are the kinds of clearing of all settlements, sorted.
func (l Lookup) Clearings() []string {
	var list []string
	for infno := range nationalClrTypes {
		list = append(list, l.clrTypes(infno, nil)...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// never says whether 2601 refused because it knows no such transaction.
func (l Lookup) never(words string) bool {
	return slices.ContainsFunc(l.Never, func(w string) bool { return strings.Contains(words, w) })
}

// Patience is for how long, and how often, an entry is asked about.
type Patience struct {
	// Intervals are the pauses between attempts, the last one again and again.
	// Nil: 5 s, 15 s, 1 min, 5 min, 15 min, 1 h.
	Intervals []time.Duration
	// Attempts that reached upstream and decided nothing: after so many a
	// person decides. 0: 12.
	Attempts int
	// Age: after so long a person decides, whatever the line was like. 0: 72 h.
	Age time.Duration
}

// maxAttempts bounds the attempts at one entry, of whatever kind.
const maxAttempts = 200

func (p Patience) complete() Patience {
	if len(p.Intervals) == 0 {
		p.Intervals = []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}
	}
	if p.Attempts <= 0 {
		p.Attempts = 12
	}
	if p.Age <= 0 {
		p.Age = 72 * time.Hour
	}
	return p
}

// interval is the pause after the n-th attempt, from 0: before the first.
func (p Patience) interval(n int) time.Duration {
	return p.Intervals[min(n, len(p.Intervals)-1)]
}

// longest is the longest pause.
func (p Patience) longest() time.Duration { return slices.Max(p.Intervals) }
