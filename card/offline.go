package card

import (
	"context"
	"fmt"
	"strconv"

	"onecard/card/profile"
)

// An OfflineRecord is DF04/EF06 of a 2.0 or 3.0 card: what it permits off-line,
// and what was paid off-line since the issuer last reset it.
type OfflineRecord struct {
	Permitted bool    `json:"permitted"` // tag 90 is 1
	Total     Fen     `json:"total"`     // tag 92
	Count     int     `json:"count"`     // tag 93
	Problems  []error `json:"problems,omitempty"`
}

// offlinePermitted is tag 90 of a card that may settle off-line; the published
// texts name the flag and not its values, so that any other value forbids it.
const offlinePermitted = "1"

// maxOffline is what tag 93, of two characters, can count to, and maxOfflineTotal
// what tag 92, of eight digits, can add up to.
const (
	maxOffline      = 99
	maxOfflineTotal = 99_999_999
)

// Offline reads DF04/EF06, which needs the PIN and the key: see [Card.ReadFile].
// The file of a 1.0 card holds the account instead: it permits nothing. A record
// that cannot be read permits nothing either.
func (c *Card) Offline(ctx context.Context, kh KeyHolder) (OfflineRecord, error) {
	if c.issuer.Specification == profile.V10 {
		return OfflineRecord{}, nil
	}
	v, err := c.view(ctx, accountDF, "EF06", kh)
	if err != nil {
		return OfflineRecord{}, err
	}
	o := OfflineRecord{Permitted: v.text("90") == offlinePermitted, Problems: v.file.Problems()}
	if total := amount(v.get("92")); total != nil {
		o.Total = *total
	}
	if text := v.text("93"); text != "" {
		if o.Count, err = strconv.Atoi(text); err != nil || o.Count < 0 {
			return OfflineRecord{}, fmt.Errorf("read DF04/EF06: %w: tag 93 is not a number", ErrMalformed)
		}
	}
	return o, nil
}

// Add returns the changes that count one more off-line purchase. ok is false
// where the card cannot count it.
func (o OfflineRecord) Add(sum Fen) (changes []Change, ok bool) {
	o.Total, o.Count = o.Total+sum, o.Count+1
	return o.Changes(), o.Count <= maxOffline && sum >= 0 && o.Total <= maxOfflineTotal
}

// Changes writes the counters as they are in o.
func (o OfflineRecord) Changes() []Change {
	file := FileID{accountDF, "EF06"}
	return []Change{{File: file, Tag: "92", Value: o.Total.Yuan()}, {File: file, Tag: "93", Value: strconv.Itoa(o.Count)}}
}
