package terminal

import (
	"fmt"
	"regexp"
	"time"

	"onecard/settlement"
)

// ReconcileConfig says when and how the books are compared with the centre's.
// What is left out has the usual value.
type ReconcileConfig struct {
	// At is the time of day (HH:MM, China) at which the day before is compared,
	// and on the first of a month the month before; "never": only when asked.
	At string `toml:"at"`
	// Days is how many days back one that was missed, or does not balance, is
	// compared again by itself.
	Days int `toml:"days"`
	// Refunds says how the centre's statements count them: counted (settlement and
	// refund are two rows), netted (neither is one) or excluded (the settlement is).
	Refunds string `toml:"refunds"`
	// ClearingTypes (clr_type) and InsuranceTypes (insutype) are asked about also
	// where nothing is in the journal.
	ClearingTypes  []string `toml:"clearing_types"`
	InsuranceTypes []string `toml:"insurance_types"`
	// Office is setl_optins; empty is what the centre's answers say.
	Office string `toml:"office"`
	// Sole says that nothing else settles for this institution: then a settlement
	// that is not in this journal is nobody's, and its refund is proposed.
	Sole bool `toml:"sole"`
}

// neverReconcile is At of a desk that compares only when asked.
const neverReconcile = "never"

var dictionaryCode = regexp.MustCompile(`^[0-9A-Za-z]{1,6}$`)

func (c ReconcileConfig) check() error {
	wrong := func(key, why string) error { return fmt.Errorf("reconcile.%s: %s: %w", key, why, ErrConfig) }
	if c.At != "" && c.At != neverReconcile {
		if t, err := time.Parse("15:04", c.At); err != nil || t.Format("15:04") != c.At {
			return wrong("at", "HH:MM or never")
		}
	}
	if c.Days < 0 || c.Days > 62 {
		return wrong("days", "0 to 62")
	}
	switch settlement.RefundRows(c.Refunds) {
	case "", settlement.RefundsCounted, settlement.RefundsNetted, settlement.RefundsExcluded:
	default:
		return wrong("refunds", "counted, netted or excluded")
	}
	for key, list := range map[string][]string{"clearing_types": c.ClearingTypes, "insurance_types": c.InsuranceTypes} {
		if len(list) > 30 {
			return wrong(key, "at most 30")
		}
		for _, code := range list {
			if !dictionaryCode.MatchString(code) {
				return wrong(key, "codes of up to six letters or digits")
			}
		}
	}
	if c.Office != "" && !digits(c.Office, 6) {
		return wrong("office", "six digits expected")
	}
	return nil
}

// time is when of a day the day before is compared; ok is false for never.
func (c ReconcileConfig) time() (after time.Duration, ok bool) {
	at := c.At
	switch at {
	case neverReconcile:
		return 0, false
	case "":
		at = "02:30" // when centres have closed their day, and before the first patient
	}
	t, err := time.Parse("15:04", at)
	if err != nil {
		return 0, false // check has refused it
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, true
}

func (c ReconcileConfig) days() int {
	if c.Days == 0 {
		return 7
	}
	return c.Days
}

// policy fills what is left out from the region's file, which says the same for
// the statements that look a lost answer up.
func (c ReconcileConfig) policy(u UpstreamConfig) settlement.ReconcilePolicy {
	lookup := u.Rules().Lookups()
	if c.ClearingTypes == nil && lookup.ClrTypes != nil {
		c.ClearingTypes = lookup.Clearings()
	}
	if c.Office == "" {
		c.Office = lookup.Optins
	}
	return settlement.ReconcilePolicy{
		Refunds: settlement.RefundRows(c.Refunds), ClrTypes: c.ClearingTypes, Insutypes: c.InsuranceTypes,
		Optins: c.Office, Lane: u.Lane, Lanes: u.Lanes, Sole: c.Sole,
	}
}
