package terminal

import (
	"fmt"
	"slices"
	"time"

	"onecard/settlement"
)

// ResolveConfig says how settlements of unknown outcome are found out about.
// What is left out has the usual value, or the region's.
type ResolveConfig struct {
	// Automatic asks without a person; true where left out.
	Automatic *bool `toml:"automatic"`
	// Intervals are the pauses between two attempts, the last one again and again.
	Intervals []Pause `toml:"intervals"`
	// Attempts without a decision after which a person decides, and the hours
	// after which one does whatever the line was like.
	Attempts    int `toml:"attempts"`
	GiveUpHours int `toml:"give_up_hours"`
	// SettledAfter is for how long after its time-out a transaction may still be
	// booked.
	SettledAfter Pause `toml:"settled_after"`
	// Reverse permits 2601 where nothing else decides.
	Reverse *bool `toml:"reverse"`
}

// A Pause is written as "10s" or "1h"; up to a day.
type Pause time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Pause) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	if v <= 0 || v > 24*time.Hour {
		return fmt.Errorf("%s is not between 0 and 24 hours", v)
	}
	*p = Pause(v)
	return nil
}

func (c ResolveConfig) check() error {
	switch {
	case len(c.Intervals) > 20:
		return fmt.Errorf("resolve.intervals: at most 20: %w", ErrConfig)
	case !slices.IsSorted(c.Intervals):
		return fmt.Errorf("resolve.intervals: each at least as long as the one before: %w", ErrConfig)
	case c.Attempts < 0 || c.Attempts > 100:
		return fmt.Errorf("resolve.attempts: 0 to 100: %w", ErrConfig)
	case c.GiveUpHours < 0 || c.GiveUpHours > 24*365:
		return fmt.Errorf("resolve.give_up_hours: 0 to 8760: %w", ErrConfig)
	}
	return nil
}

func (c ResolveConfig) automatic() bool { return c.Automatic == nil || *c.Automatic }

func (c ResolveConfig) patience() settlement.Patience {
	p := settlement.Patience{Attempts: c.Attempts, Age: time.Duration(c.GiveUpHours) * time.Hour}
	for _, i := range c.Intervals {
		p.Intervals = append(p.Intervals, time.Duration(i))
	}
	return p
}

// lookup is the region's with what the configuration says itself.
func (c ResolveConfig) lookup(region settlement.Lookup) settlement.Lookup {
	if c.SettledAfter > 0 {
		region.Settled = time.Duration(c.SettledAfter)
	}
	if c.Reverse != nil {
		region.Reverse = *c.Reverse
	}
	return region
}
