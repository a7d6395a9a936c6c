package terminal

import (
	"context"
	"time"

	"onecard/settlement"
)

// retainEvery is how often is looked for what has been kept long enough, and
// retainPause how long others have the journal between two steps.
const (
	retainEvery = time.Hour
	retainPause = 50 * time.Millisecond
	retainSteps = 500 // of one look
)

func (s *Service) retention() settlement.Retention {
	c := s.cfg.Journal
	return settlement.Retention{
		Visits: days(c.KeepVisitsDays, usualVisitDays), Finished: []string{VisitSettled, VisitClosed},
		Outbox: days(c.KeepSentDays, usualSentDays), Attempts: days(c.KeepAttemptsDays, usualAttemptDays),
	}
}

// retain removes what has been kept long enough, now and every hour until ctx
// ends.
func (s *Service) retain(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		s.retainOnce(ctx)
		timer.Reset(retainEvery)
	}
}

// retainOnce removes step by step, so that a settlement never waits for more than
// one of them.
func (s *Service) retainOnce(ctx context.Context) {
	var all settlement.Removed
	pause := time.NewTimer(0)
	defer pause.Stop()
	for range retainSteps {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		removed, more, err := s.parts.Journal.Retain(ctx, s.retention())
		all.Visits, all.Items, all.Attempts = all.Visits+removed.Visits, all.Items+removed.Items, all.Attempts+removed.Attempts
		if err != nil {
			if ctx.Err() == nil {
				s.parts.Log.WithError(err).Warning("what was kept long enough could not be removed")
			}
			break
		}
		if !more {
			break
		}
		pause.Reset(retainPause)
	}
	if all != (settlement.Removed{}) {
		s.parts.Log.WithFields(map[string]any{"visits": all.Visits, "outbox": all.Items, "attempts": all.Attempts}).Info("removed what was kept long enough")
	}
}
