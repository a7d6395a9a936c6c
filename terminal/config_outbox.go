package terminal

import (
	"fmt"
	"time"

	"onecard/settlement"
)

// OutboxConfig says how long what may wait is tried before a person has to
// look at it. Zero is the usual value.
type OutboxConfig struct {
	// Attempts is how many attempts may leave without an answer.
	Attempts int `toml:"attempts"`
	// GiveUpDays is how long an item is kept trying while the centre cannot be
	// reached at all.
	GiveUpDays int `toml:"give_up_days"`
	// FirstPause follows the first failure, LongestPause bounds those that follow.
	FirstPause   Duration `toml:"first_pause"`
	LongestPause Duration `toml:"longest_pause"`
	// Parallel is how many visits, or cards, are sent for at a time.
	Parallel int `toml:"parallel"`
}

func (c OutboxConfig) check() error {
	for _, f := range []struct {
		key          string
		value, limit int
	}{{"attempts", c.Attempts, 1000}, {"give_up_days", c.GiveUpDays, 365}, {"parallel", c.Parallel, 32}} {
		if f.value < 0 || f.value > f.limit {
			return fmt.Errorf("outbox.%s: 0 to %d: %w", f.key, f.limit, ErrConfig)
		}
	}
	if c.FirstPause > 0 && c.LongestPause > 0 && c.FirstPause > c.LongestPause {
		return fmt.Errorf("outbox.longest_pause: shorter than first_pause: %w", ErrConfig)
	}
	return nil
}

// dispatch is the configuration as the dispatcher takes it.
func (c OutboxConfig) dispatch() settlement.Dispatch {
	return settlement.Dispatch{
		Attempts: c.Attempts, GiveUp: time.Duration(c.GiveUpDays) * 24 * time.Hour,
		First: time.Duration(c.FirstPause), Longest: time.Duration(c.LongestPause), Parallel: c.Parallel,
	}
}
