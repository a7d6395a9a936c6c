package terminal

import (
	"fmt"

	"onecard/settlement"
)

// OfflineConfig says whether, and how far, this desk may debit cards while the
// centre cannot be reached. The limits are the insurer's, and none is left out.
type OfflineConfig struct {
	// Allowed permits it at all.
	Allowed bool `toml:"allowed"`
	// Institution is this institution as cards name designated ones: up to 9
	// characters (DF04/EF05 tags 83, 86, 89).
	Institution string `toml:"institution"`
	// PurchaseLimit bounds one purchase, DayLimit what one card pays in a day at
	// this desk, CardLimit what the card has counted since its issuer reset it
	// (DF04/EF06 tag 92): yuan from account and pooling fund.
	PurchaseLimit string `toml:"purchase_limit"`
	DayLimit      string `toml:"day_limit"`
	CardLimit     string `toml:"card_limit"`
	// DayCount and CardCount bound the purchases likewise (tag 93).
	DayCount  int `toml:"day_count"`
	CardCount int `toml:"card_count"`
	// ContactHours is how old the last answer of the centre may be.
	ContactHours int `toml:"contact_hours"`
}

// limits are the amounts of an OfflineConfig.
type offlineLimits struct{ purchase, day, card settlement.Fen }

func (c OfflineConfig) limits() (l offlineLimits, err error) {
	for _, f := range []struct {
		key, text string
		to        *settlement.Fen
	}{{"purchase_limit", c.PurchaseLimit, &l.purchase}, {"day_limit", c.DayLimit, &l.day}, {"card_limit", c.CardLimit, &l.card}} {
		if *f.to, err = settlement.ParseYuan(f.text); err != nil || *f.to <= 0 {
			return l, fmt.Errorf("offline.%s: an amount in yuan expected, the insurer's: %w", f.key, ErrConfig)
		}
	}
	return l, nil
}

func (c *Config) checkOffline() error {
	o := c.Offline
	if !o.Allowed {
		return nil
	}
	if _, err := o.limits(); err != nil {
		return err
	}
	for _, f := range []struct {
		key          string
		value, limit int
	}{{"day_count", o.DayCount, 1000}, {"card_count", o.CardCount, 99}, {"contact_hours", o.ContactHours, 24 * 365}} {
		if f.value < 1 || f.value > f.limit {
			return fmt.Errorf("offline.%s: 1 to %d expected, the insurer's: %w", f.key, f.limit, ErrConfig)
		}
	}
	if n := len(o.Institution); n == 0 || n > 9 {
		return fmt.Errorf("offline.institution: this institution's code on cards expected, up to 9 characters: %w", ErrConfig)
	}
	if c.Upstream.Rules().Offline.Infno == "" {
		return fmt.Errorf("offline.allowed: the region's file (upstream.region) says nothing of how off-line debits are uploaded: %w", ErrConfig)
	}
	return nil
}
