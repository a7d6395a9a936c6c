package settlement

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"

	"onecard/fault"
)

// An Inquirer is what a [Resolver] needs of the line to ask with: [Client] is
// one. Nothing of it books.
type Inquirer interface {
	// Call sends a look-up.
	Call(ctx context.Context, r Request) (Answer, error)
	// CompareRows is 9101, 3202 and 9102: the rows of a statement that do not
	// agree with ours.
	CompareRows(ctx context.Context, s Scope, of Statement, ours []StatementRow) ([]ResultRow, error)
}

// A Reverser takes back by 2601, as an entry of its own, what nothing else
// decides: [Settler] is one.
type Reverser interface {
	Reverse(ctx context.Context, entry int64, s Scope) error
}

// What a person meets of it.
var (
	// ErrNeverArrived is why an entry is refused that upstream does not have
	// (OC-2321).
	ErrNeverArrived = fault.New(fault.NeverArrived, "the transaction never reached upstream")
	// ErrReversed is why an entry is refused that 2601 took back (OC-2324).
	ErrReversed = fault.New(fault.Reversed, "the transaction was reversed")
	// ErrGivenUp is an entry that asking does not resolve (OC-2323).
	ErrGivenUp = fault.New(fault.ResolveGivenUp, "a person must decide an entry of unknown outcome")
)

// A ResolverConfig is what a resolver is made of. Journal, Line and SignNo are
// needed.
type ResolverConfig struct {
	Journal *Journal
	Line    Inquirer
	// Reverse may be nil: then 2601 is never sent.
	Reverse Reverser
	// SignNo returns the sign_no of the day.
	SignNo   func(ctx context.Context) (string, error)
	Area     string // the institution's, setl_optins of statements
	Lookup   Lookup
	Patience Patience

	Now func() time.Time // nil: time.Now
	// Random returns a number in [0, n); nil: crypto/rand.
	Random func(n int64) int64
	// Told, where not nil, is called after every attempt, and after every late
	// answer that decided something.
	Told func(Resolution)
	// Failed, where not nil, is called with what kept the resolver from its
	// work: mostly the journal's disk.
	Failed func(error)
}

// A Resolver finds out what became of entries of unknown outcome, by asking
// upstream in the documented ways, and never by sending a settlement again.
//
// One attempt ([Resolver.Resolve]) ends with the entry done (upstream has it,
// and visit, person, total and identities are right), refused (it never
// arrived, by evidence, or 2601 took it back), to be asked about again, or given
// up to a person. Every attempt is in the journal ([Journal.Attempts]), so that
// a restart goes on where the process ended.
type Resolver struct {
	cfg  ResolverConfig
	wake chan struct{}

	mu       sync.Mutex
	busy     map[int64]bool
	recalled time.Time // the line is back: who failed for it is asked then; zero: nothing is
	late     []Late    // not looked at yet
	count    int64     // attempts since the start

	statements *statements
}

// NewResolver checks the configuration. It asks nothing before Run or Resolve.
func NewResolver(cfg ResolverConfig) (*Resolver, error) {
	if cfg.Journal == nil || cfg.Line == nil || cfg.SignNo == nil {
		return nil, errors.New("resolver: journal, line and sign_no are needed")
	}
	if err := cfg.Lookup.Check(); err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	cfg.Lookup, cfg.Patience = cfg.Lookup.complete(), cfg.Patience.complete()
	for _, d := range cfg.Patience.Intervals {
		if d <= 0 {
			return nil, errors.New("resolver: an interval is longer than nothing")
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = random
	}
	if cfg.Told == nil {
		cfg.Told = func(Resolution) {}
	}
	if cfg.Failed == nil {
		cfg.Failed = func(error) {}
	}
	return &Resolver{cfg: cfg, wake: make(chan struct{}, 1), busy: make(map[int64]bool), statements: newStatements()}, nil
}

// random returns a number in [0, n).
func random(n int64) int64 {
	i, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		return 0 // no jitter: crypto/rand does not fail on any system that runs
	}
	return i.Int64()
}

// A Resolution is what an attempt came to. Outcome is the entry's: Done,
// Refused, or Unknown.
type Resolution struct {
	Entry   int64
	Outcome Outcome
	Attempt Attempt
	// Contradicts: a late answer says something else than the closed entry.
	Contradicts bool
}

// GivenUp says whether a person has to decide.
func (r Resolution) GivenUp() bool {
	return r.Outcome == Unknown && r.Attempt.Next.IsZero()
}

// Resolve makes one attempt now, also at an entry that was given up. by is who
// asked for it, "" where nobody did. An entry that is closed is ErrEntryClosed, unless a late answer
// contradicts it: then upstream is asked whether it still has it.
func (r *Resolver) Resolve(ctx context.Context, id int64, by string) (Resolution, error) {
	if !r.begin(id) {
		return Resolution{}, fmt.Errorf("resolve entry %d: %w", id, ErrInProgress)
	}
	res, err := r.resolve(ctx, id, by)
	r.end(id) // before anybody is told: who is may ask again at once
	if err != nil {
		return res, fmt.Errorf("resolve entry %d: %w", id, err)
	}
	r.cfg.Told(res)
	return res, nil
}

func (r *Resolver) begin(id int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[id] {
		return false
	}
	r.busy[id] = true
	return true
}

func (r *Resolver) end(id int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.busy, id)
}

// Attempts returns how many attempts were made since the start.
func (r *Resolver) Attempts() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// resolve asks, decides, writes down and concludes.
func (r *Resolver) resolve(ctx context.Context, id int64, by string) (Resolution, error) {
	e, err := r.cfg.Journal.Get(ctx, id)
	if err != nil {
		return Resolution{}, err
	}
	switch e.Outcome {
	case Intended:
		return Resolution{}, ErrInProgress
	case Unknown:
	default:
		return r.recheck(ctx, e, by)
	}
	before, err := r.cfg.Journal.Attempts(ctx, id)
	if err != nil {
		return Resolution{}, err
	}
	q := &inquiry{r: r, entry: e, at: r.cfg.Now(), excluded: make(map[string]bool)}
	if n := len(before); by != "" {
		q.fresh = q.at
	} else if n > 0 {
		q.fresh = before[n-1].At
	}
	decided, err := q.decide(ctx)
	if err != nil {
		return Resolution{}, err
	}
	if ctx.Err() != nil && decided.verdict == VerdictUndecided {
		return Resolution{}, ctx.Err() // the service stops: nothing was found out
	}
	a := Attempt{Entry: id, At: q.at, Finding: AttemptFinding{Verdict: decided.verdict, Reason: decided.reason, Asked: q.asked, By: by}}
	a.Next = r.next(a, e, before)
	if a.Next.IsZero() && a.Finding.Verdict == VerdictUndecided {
		a.Finding.Verdict, a.Finding.Reason = VerdictGivenUp, boundOr(decided.reason)
	}
	// Before the conclusion: where the disk refuses that, the next attempt finds
	// the same again.
	if a, err = r.cfg.Journal.addAttempt(ctx, a); err != nil {
		return Resolution{}, err
	}
	r.mu.Lock()
	r.count++
	r.mu.Unlock()
	res := Resolution{Entry: id, Outcome: Unknown, Attempt: a}
	if decided.conclusion != nil {
		err := r.cfg.Journal.Conclude(ctx, id, *decided.conclusion)
		if errors.Is(err, ErrEntryClosed) { // by a person, while upstream was asked
			return r.afterwards(ctx, id, *decided.conclusion, q.asked)
		}
		if err != nil {
			return res, err
		}
		res.Outcome = decided.conclusion.Outcome
	} else if decided.verdict == VerdictReversed {
		res.Outcome = Refused // by the commit of its reversal
	}
	return res, nil
}

// boundOr keeps the reason of an inquiry that ended for its length where that
// says more than the length.
func boundOr(reason Reason) Reason {
	switch reason {
	case ReasonNoLookup, ReasonNotRefund:
		return reason
	}
	return ReasonBound
}

// next is when an entry is asked about again, zero for never.
func (r *Resolver) next(a Attempt, e Entry, before []Attempt) time.Time {
	p := r.cfg.Patience
	now := r.cfg.Now()
	n := len(before)
	switch a.Finding.Verdict {
	case VerdictGivenUp:
		return time.Time{}
	case VerdictBooked, VerdictNever, VerdictReversed:
		// Only where the conclusion cannot be written.
		return now.Add(p.interval(n))
	}
	useless := 0
	for _, x := range append(slices.Clone(before), a) {
		if x.Finding.Verdict == VerdictUndecided && x.Finding.Reason != ReasonLine && x.Finding.Reason != ReasonEarly {
			useless++
		}
	}
	if useless >= p.Attempts || n+1 >= maxAttempts || now.Sub(e.ClosedAt) >= p.Age {
		return time.Time{}
	}
	pause := p.interval(n)
	pause += time.Duration(r.cfg.Random(int64(pause)/4 + 1))
	if a.Finding.Reason == ReasonEarly {
		// By then it has arrived or never will.
		if settled := e.ClosedAt.Add(r.cfg.Lookup.Settled).Sub(now); settled > 0 && settled < pause {
			pause = settled
		}
	}
	return now.Add(pause)
}

// doubtAge is for how long an entry has been in doubt. A clock that was set back
// makes it young, never old.
func (r *Resolver) doubtAge(e Entry, at time.Time) time.Duration { return at.Sub(e.ClosedAt) }
