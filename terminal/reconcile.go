package terminal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"onecard/fault"
	"onecard/settlement"
)

// books compares the journal with the centre's books; its reconciler is nil
// without journal or centre.
type books struct {
	reconciler *settlement.Reconciler
	wake       chan struct{} // the line is back

	mu    sync.Mutex
	state ReconcileState
}

func newBooks(s *Service) *books {
	b := &books{wake: make(chan struct{}, 1), state: ReconcileState{Unbalanced: []string{}}}
	if s.parts.Journal == nil || s.parts.Upstream == nil {
		return b
	}
	b.reconciler = settlement.NewReconciler(settlement.ReconcilerParts{
		Client: s.parts.Upstream, Journal: s.parts.Journal, Policy: s.cfg.Reconcile.policy(s.cfg.Upstream), Now: s.parts.Now,
		Scope: func(ctx context.Context) (settlement.Scope, error) {
			no, _, err := s.signNo(ctx, false)
			return settlement.Scope{SignNo: no}, err
		},
	})
	return b
}

// canReconcile reports whether there is what a comparison needs.
func (s *Service) canReconcile() error {
	if err := s.canSettle(); err != nil {
		return err
	}
	if s.books.reconciler == nil {
		return ErrNoUpstream
	}
	return nil
}

// recentPeriods is how many days and months a report lists beside itself.
const recentPeriods = 40

// Reconciliation returns the latest report of a day or month (empty: yesterday),
// with the state none where there is none yet.
func (s *Service) Reconciliation(ctx context.Context, period string) (Reconciliation, error) {
	if s.parts.Journal == nil {
		return Reconciliation{}, ErrNoJournal
	}
	if period == "" {
		period = settlement.FormatDate(s.parts.Now().Add(-24 * time.Hour))
	}
	if _, err := settlement.CheckPeriod(period, s.parts.Now()); err != nil {
		return Reconciliation{}, err
	}
	r, err := s.parts.Journal.LatestReport(ctx, period)
	var d Reconciliation
	switch {
	case errors.Is(err, settlement.ErrReport):
		d = Reconciliation{
			Period: period, State: ReportNone, Text: reportTexts[ReportNone],
			Totals: []ReconcileTotals{}, Differences: []ReconcileDifference{}, Days: []ReconcilePeriod{},
		}
	case err != nil:
		return Reconciliation{}, err
	default:
		d = s.reconciliationDocument(r)
	}
	return s.withRecent(ctx, d)
}

// withRecent adds the latest days and months.
func (s *Service) withRecent(ctx context.Context, d Reconciliation) (Reconciliation, error) {
	list, err := s.parts.Journal.LatestReports(ctx, "", recentPeriods)
	if err != nil {
		return Reconciliation{}, err
	}
	d.Recent = make([]ReconcilePeriod, 0, len(list))
	for _, r := range list {
		d.Recent = append(d.Recent, ReconcilePeriod{Period: r.Period, State: string(r.State), Text: reportTexts[string(r.State)], At: r.At})
	}
	return d, nil
}

// Reconcile compares a day or month with the centre's books now. It books
// nothing.
func (s *Service) Reconcile(ctx context.Context, period string) (Reconciliation, error) {
	if err := s.canReconcile(); err != nil {
		return Reconciliation{}, err
	}
	r, err := s.reconcilePeriod(ctx, period)
	if err != nil {
		return Reconciliation{}, err
	}
	return s.withRecent(ctx, s.reconciliationDocument(r))
}

// reconcilePeriod compares, and once more with a new sign-in where the centre
// refuses: the one of the day may have lapsed.
func (s *Service) reconcilePeriod(ctx context.Context, period string) (settlement.Report, error) {
	r, err := s.books.reconciler.Reconcile(ctx, period)
	var refused *settlement.RefusedError
	if errors.As(err, &refused) {
		if _, _, serr := s.signNo(ctx, true); serr == nil {
			r, err = s.books.reconciler.Reconcile(ctx, period)
		}
	}
	log := s.parts.Log.WithFields(map[string]any{"period": period})
	if err != nil && ctx.Err() != nil {
		return r, err // the service ends, or the caller has left
	}
	if err != nil {
		s.upstreamFailed(err)
		log.WithField("code", fault.Of(err).Code).Warning("the books could not be compared with the centre's")
		return r, err
	}
	s.upstreamWell()
	log.WithFields(map[string]any{"state": r.State, "differences": len(r.Differences), "open": r.Open()}).Info("reconciliation")
	s.countBooks(ctx)
	return r, nil
}

// A ReconcileOrder has something done about a difference. Who orders it is the
// desk's operator.
type ReconcileOrder struct {
	Action string `json:"action,omitempty"` // one of the row's choices; the proposed one without
	Reason string `json:"reason"`
	// Area is the person's place of insurance (insuplc_admdvs): a refund of what
	// is in no journal may need it.
	Area string `json:"insuplc_admdvs,omitempty"`
}

// ExecuteReconciliation does what is ordered about row n of a report and, when
// nothing is left open, compares once more. A repeated order is not done twice.
func (s *Service) ExecuteReconciliation(ctx context.Context, id int64, n int, o ReconcileOrder) (Reconciliation, error) {
	if err := s.may(RightReconcile); err != nil {
		return Reconciliation{}, err
	}
	if err := s.canReconcile(); err != nil {
		return Reconciliation{}, err
	}
	if o.Area != "" && !digits(o.Area, 6) {
		return Reconciliation{}, detailed{ErrBody, "insuplc_admdvs: six digits"}
	}
	before, err := s.parts.Journal.Report(ctx, id)
	if err != nil {
		return Reconciliation{}, err
	}
	entry := int64(0)
	if n >= 1 && n <= len(before.Differences) {
		entry = before.Differences[n-1].Entry
	}
	end, err := s.visitOf(ctx, entry)
	if err != nil {
		return Reconciliation{}, err
	}
	r, err := s.books.reconciler.Execute(ctx, id, n, settlement.Order{
		Action: settlement.Action(o.Action), Who: s.cfg.Operator.No, Reason: o.Reason, InsuplcAdmdvs: o.Area,
	})
	end(ctx)
	log := s.parts.Log.WithFields(map[string]any{"audit": "reconciliation executed", "report": id, "row": n, "operator": s.cfg.Operator.No})
	if n >= 1 && n <= len(r.Differences) && r.Differences[n-1].Executed != nil {
		x := r.Differences[n-1].Executed
		log = log.WithFields(map[string]any{"action": x.Action, "entry": x.Entry})
	}
	if err != nil {
		s.upstreamFailed(err)
		log.WithField("code", fault.Of(err).Code).Warning("audit")
		s.countBooks(ctx)
		return Reconciliation{}, err
	}
	log.Info("audit")
	s.countDay(ctx)
	if r.State == settlement.HandledAll {
		// What was executed is known to balance only when the centre says so.
		if again, err := s.reconcilePeriod(ctx, r.Period); err == nil && again.State != settlement.Balanced {
			return s.withRecent(ctx, s.reconciliationDocument(again))
		}
	}
	s.countBooks(ctx)
	return s.Reconciliation(ctx, r.Period)
}

// visitOf holds the visit of an entry while something is decided about it, and
// returns what brings it in step afterwards.
func (s *Service) visitOf(ctx context.Context, entry int64) (end func(context.Context), err error) {
	nothing := func(context.Context) {}
	if entry == 0 {
		return nothing, nil
	}
	e, err := s.parts.Journal.Get(ctx, entry)
	if err != nil {
		return nil, err
	}
	one, err := s.visits.find(ctx, e.Visit)
	switch {
	case errors.Is(err, settlement.ErrVisitUnknown): // put away long ago
		return nothing, nil
	case err != nil:
		return nil, err
	case !one.step.TryLock():
		return nil, settlement.ErrInProgress
	}
	return func(ctx context.Context) {
		defer one.step.Unlock()
		e, err := s.parts.Journal.Get(ctx, entry)
		if err != nil {
			s.parts.Log.WithError(err).Error("the entry of a reconciled visit cannot be read")
			return
		}
		s.visits.update(one, func(r *record) {
			if e.ReversedBy != 0 && r.Journal == e.ID && r.State == VisitSettled {
				// The centre never had it: the payer may agree once more.
				r.Receipt, r.Fault = nil, Explain(ErrNotBooked)
				r.place(settlement.StateTried)
				return
			}
			r.adopt(s, e)
		})
		if err := s.visits.store(ctx, one); err != nil {
			s.parts.Log.WithError(err).Error("the reconciled visit could not be stored; the journal has what was decided")
		}
	}, nil
}

// ErrNotBooked is what a visit says that was settled here and that the centre
// never had.
var ErrNotBooked = settlement.ErrNeverArrived

// countBooks publishes which days do not balance, and keeps the condition: it is
// shown as soon as there was one.
func (s *Service) countBooks(ctx context.Context) {
	state := ReconcileState{Unbalanced: []string{}}
	now := s.parts.Now()
	from := settlement.FormatDate(now.AddDate(0, 0, -s.cfg.Reconcile.days()-31))[:7]
	list, err := s.parts.Journal.LatestReports(ctx, from, 200)
	for _, l := range list {
		if len(l.Period) == len(settlement.DateLayout) && state.Latest == "" {
			state.Latest = l.Period
		}
		if l.State != settlement.Unbalanced || err != nil {
			continue
		}
		state.Unbalanced = append(state.Unbalanced, l.Period)
		var r settlement.Report
		if r, err = s.parts.Journal.Report(ctx, l.ID); err == nil {
			state.Open += r.Open()
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			s.parts.Log.WithError(err).Error("the reports of reconciliation cannot be read")
		}
		return
	}
	s.books.mu.Lock()
	was := s.books.state
	s.books.state = state
	s.books.mu.Unlock()
	switch {
	case len(state.Unbalanced) > 0:
		s.health.set(HealthReconciliation, detailed{settlement.ErrUnbalanced, strings.Join(state.Unbalanced[:min(len(state.Unbalanced), 10)], ", ")})
	case len(was.Unbalanced) > 0:
		s.health.set(HealthReconciliation, nil)
	}
	if was.Latest != state.Latest || was.Open != state.Open || !slices.Equal(was.Unbalanced, state.Unbalanced) {
		s.pub.changed()
	}
}

// reconcileState is what is published.
func (s *Service) reconcileState() ReconcileState {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	state := s.books.state
	state.Unbalanced = append([]string{}, state.Unbalanced...)
	return state
}

// How long after a failed comparison it is tried again, doubling, unless the
// line is back before; and how long at most until the clock is looked at again,
// which a person may set.
const (
	firstReconcilePause   = time.Minute
	longestReconcilePause = 30 * time.Minute
	clockLook             = 10 * time.Minute
)

// runBooks compares what is due until ctx ends: every day at its time, what was
// missed at once, and what failed for the line's sake when the line is back.
func (s *Service) runBooks(ctx context.Context) {
	s.countBooks(ctx)
	pause := firstReconcilePause
	for ctx.Err() == nil {
		wait, failed := s.compareDue(ctx)
		if failed {
			wait, pause = pause, min(2*pause, longestReconcilePause)
		} else {
			pause = firstReconcilePause
		}
		timer := time.NewTimer(min(wait, clockLook))
		select {
		case <-ctx.Done():
		case <-s.books.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// booksBack has what could not be compared for the line's sake compared now.
func (s *Service) booksBack() {
	select {
	case s.books.wake <- struct{}{}:
	default:
	}
}

// compareDue compares every day and month that is due, the earliest first, and
// returns how long nothing is.
func (s *Service) compareDue(ctx context.Context) (wait time.Duration, failed bool) {
	due, next, err := s.reconcileDue(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.parts.Log.WithError(err).Error("the reports of reconciliation cannot be read")
		}
		return 0, true
	}
	for _, period := range due {
		if _, err := s.reconcilePeriod(ctx, period); err != nil {
			return 0, ctx.Err() == nil
		}
	}
	return max(next.Sub(s.parts.Now()), time.Second), false
}

// reconcileDue lists what is due now and says when something is next.
func (s *Service) reconcileDue(ctx context.Context) (due []string, next time.Time, err error) {
	now := s.parts.Now().In(ChinaTime)
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, ChinaTime)
	at, ok := s.cfg.Reconcile.time()
	if !ok {
		return nil, midnight.AddDate(0, 0, 1), nil
	}
	latest := midnight.Add(at) // the latest time of the daily comparison
	next = latest
	if latest.After(now) {
		latest = latest.AddDate(0, 0, -1)
	} else {
		next = next.AddDate(0, 0, 1)
	}
	first, err := s.parts.Journal.EarliestEntryDay(ctx)
	if err != nil || first == "" {
		return nil, next, err
	}
	// The last day that is over at the time of the daily comparison.
	last := latest.AddDate(0, 0, -1)
	for back := s.cfg.Reconcile.days() - 1; back >= 0; back-- {
		day := last.AddDate(0, 0, -back)
		if period := day.Format(settlement.DateLayout); period >= first {
			if is, err := s.isDue(ctx, period, latest); err != nil {
				return nil, next, err
			} else if is {
				due = append(due, period)
			}
		}
	}
	month := time.Date(last.Year(), last.Month(), 1, 0, 0, 0, 0, ChinaTime)
	if last.AddDate(0, 0, 1).Month() == last.Month() {
		month = month.AddDate(0, -1, 0) // this one is not over
	}
	if period := month.Format("2006-01"); period >= first[:7] && last.Sub(month.AddDate(0, 1, 0)) < 10*24*time.Hour {
		is, err := s.isDue(ctx, period, latest)
		if err != nil {
			return nil, next, err
		}
		if is {
			due = append(due, period)
		}
	}
	return due, next, nil
}

// isDue says whether a period was not compared yet, or does not balance and was
// not compared since the latest time of the daily comparison.
func (s *Service) isDue(ctx context.Context, period string, latest time.Time) (bool, error) {
	r, err := s.parts.Journal.LatestReport(ctx, period)
	if errors.Is(err, settlement.ErrReport) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("due: %w", err)
	}
	return r.State != settlement.Balanced && r.At.Before(latest) || r.At.In(ChinaTime).Format(settlement.DateLayout)[:len(period)] == period, nil
}
