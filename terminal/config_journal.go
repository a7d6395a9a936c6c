package terminal

import (
	"fmt"
	"time"
)

// JournalConfig says where the key of the journal is, and how long is kept what
// is not evidence.
type JournalConfig struct {
	// KeyFile is the file of the key; without it journal.key in the state
	// directory. It is made where there is neither key nor journal.
	KeyFile string `toml:"key_file"`
	// KeepVisitsDays is how long a visit that has ended is kept after its last
	// change, KeepSentDays what was sent from the outbox, KeepAttemptsDays what was
	// asked about entries that are decided. 0 is the usual time.
	KeepVisitsDays   int `toml:"keep_visits_days"`
	KeepSentDays     int `toml:"keep_sent_days"`
	KeepAttemptsDays int `toml:"keep_attempts_days"`
}

// The usual times: a visit as long as a refund is usual, an item until the month
// it belongs to is reconciled, attempts as long as a complaint may take.
const (
	usualVisitDays   = 180
	usualSentDays    = 62
	usualAttemptDays = 365
	maxKeepDays      = 36500
)

func (c JournalConfig) check() error {
	for _, f := range []struct {
		key  string
		days int
	}{{"keep_visits_days", c.KeepVisitsDays}, {"keep_sent_days", c.KeepSentDays}, {"keep_attempts_days", c.KeepAttemptsDays}} {
		if f.days < 0 || f.days > maxKeepDays {
			return fmt.Errorf("journal.%s: 0 to %d: %w", f.key, maxKeepDays, ErrConfig)
		}
	}
	return nil
}

// days is a configured number of days, or the usual one.
func days(configured, usual int) time.Duration {
	if configured == 0 {
		configured = usual
	}
	return time.Duration(configured) * 24 * time.Hour
}
