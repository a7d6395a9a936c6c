package terminal

import (
	"context"
	"fmt"
	"time"

	"onecard/fault"
	"onecard/settlement"
)

// AllDays in place of a day lists the entries of every day.
const AllDays = "all"

// Journal returns the entries of a day (empty: today in China), the latest
// first, with the day's totals. With [AllDays] the entries are those of every
// day, and the totals today's.
func (s *Service) Journal(ctx context.Context, day, outcome string, limit int) (JournalDay, error) {
	if s.parts.Journal == nil {
		return JournalDay{}, ErrNoJournal
	}
	every := day == AllDays
	if day == "" || every {
		day = settlement.FormatDate(s.parts.Now())
	} else if _, err := time.Parse(settlement.DateLayout, day); err != nil {
		return JournalDay{}, detailed{ErrDay, "day is yyyy-MM-dd"}
	}
	switch settlement.Outcome(outcome) {
	case "", settlement.Intended, settlement.Done, settlement.Refused, settlement.Unknown:
	default:
		return JournalDay{}, detailed{ErrBody, "outcome is intended, done, refused or unknown"}
	}
	filter := settlement.Filter{Day: day, Outcome: settlement.Outcome(outcome), Limit: limit}
	if every {
		filter.Day = ""
	}
	entries, err := s.parts.Journal.List(ctx, filter)
	if err != nil {
		return JournalDay{}, err
	}
	t, err := s.parts.Journal.Totals(ctx, day)
	if err != nil {
		return JournalDay{}, err
	}
	d := JournalDay{Day: day, Entries: make([]Entry, 0, len(entries)), Totals: DayTotals{
		Done: t.Done, Refused: t.Refused, Unknown: t.Unknown,
		Total: t.Amounts.Total.Yuan(), Fund: t.Amounts.Fund.Yuan(), Account: t.Amounts.Account.Yuan(), Cash: t.Amounts.Cash.Yuan(),
	}}
	for _, e := range entries {
		d.Entries = append(d.Entries, entryDocument(e))
	}
	return d, nil
}

func entryDocument(e settlement.Entry) Entry {
	doc := Entry{
		ID: e.ID, Visit: e.Visit, Transaction: e.Infno, MsgID: e.MsgID, Opened: e.OpenedAt,
		Outcome: string(e.Outcome),
		Total:   e.Total.Yuan(), Fund: e.Fund.Yuan(), Account: e.Account.Yuan(), Cash: e.Cash.Yuan(),
		SettlementID: e.SetlID, MdtrtID: e.MdtrtID, Holder: e.Holder, Undoes: e.Undoes, ReversedBy: e.ReversedBy,
	}
	if !e.ClosedAt.IsZero() {
		doc.Closed = &e.ClosedAt
	}
	if e.Fault != "" {
		doc.Fault = entryFault(e)
	} else if e.Outcome == settlement.Unknown {
		doc.Fault = Explain(ErrUnresolved)
	}
	return doc
}

// entryFault is the catalogue's sentence for the code that an entry keeps, with
// the centre's words.
func entryFault(e settlement.Entry) *Fault {
	if e.Outcome == settlement.Refused && e.ReversedBy != 0 {
		return Explain(settlement.ErrReversed) // what it was in doubt for is over
	}
	cause := fault.New(e.Fault, e.Note)
	if e.Outcome == settlement.Unknown || e.Outcome == settlement.Intended {
		return Explain(&inDoubt{cause, e.ID})
	}
	f := Explain(cause)
	f.Detail = e.Message
	return f
}

// counting keeps the published counts right between two looks at the journal: a
// payer does not wait until all of the day has been added up again.
type counting struct {
	open    int  // settlements that are under way
	ended   int  // settlements that have ended
	skipped bool // a look at the journal was not published
}

// settling notes that a settlement begins.
func (s *Service) settling() (day string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted.open++
	return settlement.FormatDate(s.parts.Now())
}

// settled notes that the settlement has ended, which was counted on that day.
// Where it returns false the journal has to be looked at.
func (s *Service) settled(day string, done bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted.open--
	s.counted.ended++
	switch {
	case done && day == s.day.Day && !s.counted.skipped:
		s.day.Done++
	case done && s.counted.open > 0:
		s.counted.skipped = true // whoever ends last looks at it
	default:
		return false
	}
	return true
}

// checkJournal keeps the condition journal: by a write, because a full disk is
// read as well as ever. What the disk refused earlier is written with it, and
// visits in doubt then say what the journal has learned.
func (s *Service) checkJournal(ctx context.Context) bool {
	err := s.parts.Journal.Probe(ctx)
	if ctx.Err() != nil {
		return true
	}
	s.health.set(HealthJournal, err)
	if err != nil {
		s.parts.Log.WithError(err).Error("the journal cannot be written")
		return false
	}
	s.visits.learn(ctx)
	s.releaseDebits(ctx)
	s.mu.Lock()
	busy := s.counted.open > 0
	s.mu.Unlock()
	if busy {
		return true // who settles keeps the count right
	}
	return s.countDay(ctx)
}

// countDay publishes the counts of today. Where a settlement ended meanwhile,
// what was counted may or may not hold it, and is not published: who settles
// keeps the count right. While one is under way nothing is counted, for that
// reads all of the day; the last one to end does it.
func (s *Service) countDay(ctx context.Context) bool {
	s.mu.Lock()
	before := s.counted
	if before.open > 0 {
		s.counted.skipped = true
	}
	s.mu.Unlock()
	if before.open > 0 {
		s.countUnknown(ctx)
		return true
	}
	day := settlement.FormatDate(s.parts.Now())
	t, err := s.parts.Journal.Totals(ctx, day)
	if err != nil && ctx.Err() != nil {
		return true // the service ends, or the caller has left: that says nothing about the journal
	}
	if err != nil {
		s.health.set(HealthJournal, err)
		s.parts.Log.WithError(err).Error("the journal cannot be read")
		return false
	}
	unknown, err := s.parts.Journal.Count(ctx, settlement.Unknown)
	if err != nil {
		s.parts.Log.WithError(err).Error("the journal cannot be read")
		return false
	}
	count := DayCount{Day: day, Done: t.Done, Refused: t.Refused, Unknown: t.Unknown, UnknownTotal: unknown}
	s.mu.Lock()
	overtaken := before.open > 0 || s.counted.open > 0 || before.ended != s.counted.ended
	changed := s.day != count && !overtaken
	if s.counted.skipped = overtaken; !overtaken {
		s.day = count
	}
	s.mu.Unlock()
	if changed {
		s.pub.changed()
	}
	s.countUnknown(ctx)
	return true
}

// checkFile reads the whole journal, for as long as a person waits. One that is
// too large for that was not found wanting.
func (s *Service) checkFile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := s.parts.Journal.Check(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	return nil
}
