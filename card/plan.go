package card

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"onecard/card/profile"
)

// A Plan is everything that is to be written to one card: the old and the new
// bytes of every record. [Card.NewPlan] makes it, [Card.Execute] carries it out,
// [Card.Recover] finishes it after the card was torn out. It holds what is on
// the card of a person: it belongs into the PlanStore and into no log.
type Plan struct {
	ID    string     `json:"id"`   // 32 hex digits, random: two plans are never one
	Card  string     `json:"card"` // card identification code
	Items []PlanItem `json:"items"`
}

// A PlanItem is one record, one appended record, or one piece of a transparent
// file. The items of a plan are in the order of writing: appended records last,
// because they cannot be taken back.
type PlanItem struct {
	File   FileID   `json:"file"`
	Number int      `json:"record,omitempty"` // of a linear file
	Tag    string   `json:"tag,omitempty"`    // of a linear file
	Offset int      `json:"offset,omitempty"` // of a transparent file
	Append bool     `json:"append,omitempty"` // to a cyclic file
	Old    hexBytes `json:"old,omitempty"`    // nil: the record is not there yet
	New    hexBytes `json:"new"`              // whole TLV, record or piece
	// Ring is a cyclic file before the record is appended, newest first.
	Ring []hexBytes `json:"ring,omitempty"`
}

// hexBytes are bytes that JSON shows in hex and fmt shows not at all: they are
// a person's data.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) {
	return []byte(hex.EncodeToString(h)), nil
}

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// Format writes the number of bytes for every verb.
func (h hexBytes) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "%d bytes", len(h)) }

// Empty reports whether the card has all the values already.
func (p *Plan) Empty() bool { return len(p.Items) == 0 }

// A PlanOutcome is how a plan ended.
type PlanOutcome string

// The outcomes.
const (
	PlanDone       PlanOutcome = "done"        // every item is on the card, read back and compared
	PlanRolledBack PlanOutcome = "rolled-back" // every item is as it was before
	PlanConflict   PlanOutcome = "conflict"    // the card had other values; nothing of the plan is on it
	PlanAbandoned  PlanOutcome = "abandoned"   // given up by a person, or what is on the card cannot be undone
)

// An OpenPlan is a plan that was begun and not closed.
type OpenPlan struct {
	Plan    *Plan
	Writing int // the item that may be half written; -1: none
}

// A PlanStore keeps plans until they are closed. Every call but Open is durable
// before it returns (it survives a power cut); an error wraps [ErrPlanStore],
// and then nothing is written to the card. It is safe for concurrent use.
// Package card/planstore is one on SQLite.
type PlanStore interface {
	// Begin writes a plan down as open. It reports whether the plan is
	// closed as done already, and the item noted by Progress, -1 for none.
	Begin(ctx context.Context, p *Plan) (done bool, writing int, err error)
	// Progress notes that an item is about to be written.
	Progress(ctx context.Context, id string, item int) error
	// Close ends a plan. The store need not keep its values any longer.
	Close(ctx context.Context, id string, outcome PlanOutcome) error
	// Open returns the open plans of a card, the oldest first.
	Open(ctx context.Context, card string) ([]OpenPlan, error)
}

// Describe returns what the plan changes, for a person to agree to: decoded by
// the profile, with old and new text.
func (p *Plan) Describe(c *Card) []Difference {
	var list []Difference
	for _, item := range p.Items {
		list = append(list, c.describeItem(item)...)
	}
	return list
}

// A Difference is one value that a plan changes.
type Difference struct {
	File   FileID `json:"file"`
	Tag    string `json:"tag,omitempty"` // "71", "40/57", "@15" in cyclic records
	NameZH string `json:"name_zh"`
	NameEN string `json:"name_en"`
	Old    string `json:"old"` // "" unset; of a new record always ""
	New    string `json:"new"`
}

func (c *Card) describeItem(item PlanItem) []Difference {
	f, ok := c.profile.File(item.File.DF, item.File.EF)
	if !ok {
		return nil
	}
	v := c.issuer.Specification
	switch f.Structure {
	case profile.Transparent:
		return []Difference{{item.File, fmt.Sprintf("@%d", item.Offset), f.NameZH, f.NameEN,
			fmt.Sprintf("%d bytes", len(item.Old)), fmt.Sprintf("%d bytes", len(item.New))}}
	case profile.CyclicFile:
		after := decodeCyclic(c.profile, f, []rawRecord{{number: 1, bytes: item.New}}, len(item.New))
		var list []Difference
		for i, m := range after.Records[0].Members {
			list = append(list, Difference{item.File, fmt.Sprintf("@%d", f.Elements[i].Offset), m.NameZH, m.NameEN, "", m.Value.String()})
		}
		return list
	}
	instance := c.instanceOf(f, item)
	record := func(b []byte) Record {
		if len(b) == 0 {
			return Record{}
		}
		return decodeRecord(c.profile, f, v, oneRecord(b, item.Number), instance)
	}
	before, after := record(item.Old), record(item.New)
	if len(after.Members) == 0 {
		return []Difference{{item.File, after.Tag, after.NameZH, after.NameEN, before.Value.String(), after.Value.String()}}
	}
	var list []Difference
	for _, m := range after.Members {
		old, _ := find(before.Members, m.Tag)
		if old.Value.String() != m.Value.String() {
			list = append(list, Difference{item.File, after.Tag + "/" + m.Tag, m.NameZH, m.NameEN, old.Value.String(), m.Value.String()})
		}
	}
	return list
}

// instanceOf counts how many records up to the item's have its tag.
func (c *Card) instanceOf(f profile.File, item PlanItem) int {
	n := 0
	for i, e := range f.ElementsOf(c.issuer.Specification) {
		if fmt.Sprintf("%02X", e.ID) == item.Tag {
			n++
		}
		if i+1 >= item.Number {
			break
		}
	}
	return max(n, 1)
}

// ParsePlan reads what json.Marshal of a Plan wrote. The error wraps
// [ErrPlanStore]: whoever changed it, it is not what was planned.
func ParsePlan(b []byte) (*Plan, error) {
	p := &Plan{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%w: not a plan: %w", ErrPlanStore, err)
	}
	return p, nil
}

// condition is what the card has of an item.
type condition int

const (
	isOld condition = iota
	isNew
	isTorn  // a mixture of both, as a write that was cut leaves it
	isOther // somebody else's
)

// compare judges the bytes of a record or piece. writing: this item may be
// half written.
func (i PlanItem) compare(now []byte, writing bool) condition {
	switch {
	case bytes.Equal(now, i.New):
		return isNew
	case bytes.Equal(now, i.Old):
		return isOld
	case writing && mixture(now, i.Old, i.New):
		return isTorn
	}
	return isOther
}

// mixture reports whether every byte is the old one, the new one, or that of
// erased memory.
func mixture(now, old, next []byte) bool {
	if len(now) != len(next) {
		return false
	}
	for i, b := range now {
		if b != next[i] && b != 0x00 && b != 0xFF && (i >= len(old) || b != old[i]) {
			return false
		}
	}
	return true
}

// ringBefore reports whether a cyclic file, newest record first, is as it was
// before the record was appended. least is the number of records that it had
// when the plan was made: a full file has lost its oldest ones since.
func (i PlanItem) ringBefore(ring [][]byte, least int) bool {
	return len(ring) >= least && samePrefix(ring, i.Ring)
}

// ringAfter reports whether the file is as it is with the record appended.
func (i PlanItem) ringAfter(ring [][]byte, least int) bool {
	return len(ring) >= max(least, 1) && bytes.Equal(ring[0], i.New) && samePrefix(ring[1:], i.Ring)
}

func samePrefix(ring [][]byte, want []hexBytes) bool {
	if len(ring) > len(want) {
		return false
	}
	for n := range ring {
		if !bytes.Equal(ring[n], want[n]) {
			return false
		}
	}
	return true
}
