package terminal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"onecard/fault"
	"onecard/settlement"
)

// UnknownState is what is known of the entries of unknown outcome, of any day.
type UnknownState struct {
	Count        int        `json:"count"`
	Oldest       *time.Time `json:"oldest,omitempty"` // since when
	GivenUp      int        `json:"given_up"`         // that a person has to decide
	Contradicted []int64    `json:"contradicted"`     // closed entries that a late answer contradicts
	Attempts     int64      `json:"attempts"`         // since the start
	Next         *time.Time `json:"next,omitempty"`   // when one of them is asked about next; may be past where it is under way
}

// newResolver makes what finds out about entries of unknown outcome; without
// journal or centre there is none.
func newResolver(s *Service) *settlement.Resolver {
	if s.parts.Journal == nil || s.parts.Upstream == nil {
		return nil
	}
	settler := settlement.NewSettler(s.parts.Upstream, s.parts.Journal)
	r, err := settlement.NewResolver(settlement.ResolverConfig{
		Journal: s.parts.Journal, Line: signedLine{s}, Reverse: settler,
		SignNo: func(ctx context.Context) (string, error) { no, _, err := s.signNo(ctx, false); return no, err },
		Area:   s.cfg.Institution.Area, Lookup: s.cfg.Resolve.lookup(s.cfg.Upstream.Rules().Lookups()), Patience: s.cfg.Resolve.patience(),
		Now: s.parts.Now, Told: s.toldOf,
		Failed: func(err error) {
			if errors.Is(err, settlement.ErrJournalUnavailable) {
				s.health.set(HealthJournal, err)
			}
			s.parts.Log.WithError(err).Error("what became of a settlement could not be looked into")
		},
	})
	if err != nil {
		// The configuration was checked; without it a person decides everything.
		s.parts.Log.WithError(err).Error("settlements of unknown outcome are not asked about")
		return nil
	}
	s.parts.Upstream.TakeLate(r.Late)
	return r
}

// signedLine asks upstream with the sign_no of the day, and with a new one where
// a statement is refused: it may have lapsed.
type signedLine struct{ s *Service }

// Call implements settlement.Inquirer.
func (l signedLine) Call(ctx context.Context, r settlement.Request) (settlement.Answer, error) {
	a, err := l.s.parts.Upstream.Call(ctx, r)
	l.noted(err)
	return a, err
}

// CompareRows implements settlement.Inquirer.
func (l signedLine) CompareRows(ctx context.Context, scope settlement.Scope, of settlement.Statement, ours []settlement.StatementRow) ([]settlement.ResultRow, error) {
	rows, err := l.s.parts.Upstream.CompareRows(ctx, scope, of, ours)
	var refused *settlement.RefusedError
	if errors.As(err, &refused) {
		if no, _, serr := l.s.signNo(ctx, true); serr == nil {
			scope.SignNo = no
			rows, err = l.s.parts.Upstream.CompareRows(ctx, scope, of, ours)
		}
	}
	l.noted(err)
	return rows, err
}

func (l signedLine) noted(err error) {
	if err != nil {
		l.s.upstreamFailed(err)
		return
	}
	l.s.upstreamWell()
}

// runResolver asks until ctx ends. Where nobody may be asked without a person,
// late answers are taken all the same.
func (s *Service) runResolver(ctx context.Context) {
	s.countUnknown(ctx)
	run := s.resolver.Run
	if !s.cfg.Resolve.automatic() {
		run = s.resolver.RunLate
	}
	if err := run(ctx); err != nil {
		s.parts.Log.WithError(err).Error("settlements of unknown outcome are not asked about")
	}
}

// lineBack has what could not be asked for the line's sake asked now.
func (s *Service) lineBack() {
	if s.resolver != nil {
		s.resolver.LineBack()
	}
}

// toldOf publishes what an attempt, or a late answer, came to.
func (s *Service) toldOf(res settlement.Resolution) {
	ctx := context.Background()
	f := res.Attempt.Finding
	log := s.parts.Log.WithFields(map[string]any{"entry": res.Entry, "outcome": res.Outcome, "attempt": res.Attempt.N, "verdict": f.Verdict, "reason": f.Reason})
	switch {
	case res.Contradicts:
		log.Error("an answer came late and contradicts the journal; a person must see to it")
	case res.GivenUp():
		log.Warning("a settlement of unknown outcome is given up to a person")
	case res.Outcome != settlement.Unknown:
		log.Info("a settlement of unknown outcome is resolved")
	default:
		log.Debug("a settlement of unknown outcome was asked about")
	}
	if res.Outcome != settlement.Unknown && !res.Contradicts {
		s.learnOf(ctx, res.Entry)
	}
	s.countDay(ctx)
}

// learnOf brings the visit of an entry that was closed in step. Where a step of
// it is under way, that is done when the step has ended.
func (s *Service) learnOf(ctx context.Context, entry int64) {
	s.visits.learn(ctx)
	s.visits.mu.Lock()
	var busy *visit
	for _, one := range s.visits.byID {
		if r := one.record(); r.State == VisitUnknown && r.Journal == entry || r.State == VisitSettling {
			busy = one
		}
	}
	s.visits.mu.Unlock()
	if busy == nil {
		return
	}
	s.afterwards(func() {
		busy.step.Lock()
		busy.step.Unlock() //lint:ignore SA2001 only the end of the step is waited for
		s.visits.learn(ctx)
	})
}

// countUnknown keeps what is published of the entries in doubt, and the condition
// unresolved: it is shown as soon as a person had to decide one.
func (s *Service) countUnknown(ctx context.Context) {
	if s.resolver == nil {
		return
	}
	list, err := s.parts.Journal.Unknowns(ctx)
	if err == nil {
		var contradicted []int64
		if contradicted, err = s.parts.Journal.Contradicted(ctx); err == nil {
			s.publishUnknown(list, contradicted)
		}
	}
	if err != nil && ctx.Err() == nil {
		s.parts.Log.WithError(err).Error("the settlements of unknown outcome cannot be counted")
	}
}

func (s *Service) publishUnknown(list []settlement.UnknownEntry, contradicted []int64) {
	now := UnknownState{Count: len(list), Contradicted: contradicted, Attempts: s.resolver.Attempts()}
	fresh := false
	for i := range list {
		if now.Oldest == nil || list[i].Since.Before(*now.Oldest) {
			now.Oldest = &list[i].Since
		}
		switch next := list[i].Latest.Next; {
		case list[i].GivenUp():
			now.GivenUp++
		case list[i].Latest.N > 0 && s.cfg.Resolve.automatic() && (now.Next == nil || next.Before(*now.Next)):
			now.Next = &next
		}
		fresh = fresh || list[i].Latest.N == 0
	}
	s.mu.Lock()
	was := s.unknown
	s.unknown = now
	s.mu.Unlock()
	if fresh && now.Count > was.Count {
		s.resolver.Wake()
	}
	switch {
	case len(contradicted) > 0:
		words := make([]string, len(contradicted))
		for i, id := range contradicted {
			words[i] = fmt.Sprint(id)
		}
		s.health.set(HealthUnresolved, detailed{settlement.ErrLateContradicts, "journal " + strings.Join(words, ", ")})
	case now.GivenUp > 0:
		s.health.set(HealthUnresolved, detailed{settlement.ErrGivenUp, fmt.Sprint(now.GivenUp)})
	case was.GivenUp > 0 || len(was.Contradicted) > 0:
		s.health.set(HealthUnresolved, nil)
	}
	if was.Count != now.Count || was.GivenUp != now.GivenUp || len(was.Contradicted) != len(contradicted) || was.Attempts != now.Attempts {
		s.pub.changed()
	}
}

// unknownDetail says to whoever looks after the desk how many are in doubt, what
// becomes of them and when.
func (s *Service) unknownDetail(total int) string {
	u := s.unknownState()
	words := []string{fmt.Sprintf("%d in doubt", total)}
	switch {
	case s.resolver == nil || !s.cfg.Resolve.automatic():
		words = append(words, "not asked about without a person: onecard journal ask N")
	case u.Next != nil && u.Next.After(s.parts.Now()):
		words = append(words, "asked next at "+settlement.FormatTime(*u.Next))
	case u.GivenUp < total:
		words = append(words, "being asked about now")
	}
	if u.GivenUp > 0 {
		words = append(words, fmt.Sprintf("%d for a person to decide (%s)", u.GivenUp, fault.ResolveGivenUp))
	}
	return strings.Join(words, "; ")
}

// unknownState is what is published.
func (s *Service) unknownState() UnknownState {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.unknown
	now.Contradicted = append([]int64{}, now.Contradicted...)
	return now
}

// Ask makes one attempt now to find out what became of an entry of unknown
// outcome, also of one that was given up; or whether upstream still has what a
// late answer told of.
func (s *Service) Ask(ctx context.Context, id int64) (EntryDetail, error) {
	if err := s.may(RightResolve); err != nil {
		return EntryDetail{}, err
	}
	if err := s.canSettle(); err != nil {
		return EntryDetail{}, err
	}
	if s.resolver == nil {
		return EntryDetail{}, ErrNoUpstream
	}
	s.auditJournal("journal entry asked about", id)
	if _, err := s.resolver.Resolve(ctx, id, s.cfg.Operator.No); err != nil {
		return EntryDetail{}, err
	}
	return s.detail(ctx, id, false)
}
