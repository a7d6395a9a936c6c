package terminal

import (
	"errors"
	"slices"
	"time"

	"onecard/fault"
	"onecard/reader"
)

// Failures of a unit that are conditions, not answers.
var (
	errBinFull     = fault.New(fault.BinFull, "the reject bin is full")
	errHopperEmpty = fault.New(fault.HopperEmpty, "the hopper is empty")
	errHopperLow   = fault.New(fault.HopperLow, "the hopper is almost empty")
)

// Where a card is in a unit, in [Unit].
const (
	CardNowhere = "none"
	CardAtMouth = "mouth"
	CardInside  = "inside"
)

// A Unit is a motorised card unit as pages see it.
type Unit struct {
	Name    string `json:"name"`     // slots of one unit have the same
	Card    Coded  `json:"card"`     // none, mouth, inside
	Hopper  Coded  `json:"hopper"`   // empty, low, enough; a unit without one says empty
	BinFull bool   `json:"bin_full"` // of the reject bin
	InBin   *int   `json:"in_bin"`   // captured cards by the unit's counter; null where it has none
	// Faults are what is wrong now, the worst first, never null.
	Faults []Fault `json:"faults"`
	// Last is what happened last that somebody should know: a card was captured,
	// was moved by hand, or was inside when the power failed; null for nothing.
	Last *UnitIncident `json:"last"`
}

// A UnitIncident is something that happened to a unit and is over.
type UnitIncident struct {
	Time  time.Time `json:"time"`
	Fault Fault     `json:"fault"`
}

var positionWords = map[reader.Position]Coded{
	reader.Nowhere: {CardNowhere, "无卡", "no card"},
	reader.AtMouth: {CardAtMouth, "在出卡口", "at the mouth"},
	reader.Inside:  {CardInside, "在机内", "inside"},
}

var hopperWords = map[reader.Level]Coded{
	reader.HopperEmpty:  {"empty", "空", "empty"},
	reader.HopperLow:    {"low", "卡少", "almost empty"},
	reader.HopperEnough: {"enough", "充足", "enough"},
}

// unitView is the unit as pages see it, nil without one.
func unitView(s *reader.UnitState) *Unit {
	if s == nil {
		return nil
	}
	u := &Unit{Name: s.Name, Card: positionWords[s.Card], Hopper: hopperWords[s.Hopper], BinFull: s.BinFull, Faults: []Fault{}}
	if s.InBin >= 0 {
		n := s.InBin
		u.InBin = &n
	}
	for _, err := range unitProblems(s) {
		u.Faults = append(u.Faults, *Explain(err))
	}
	if s.Incident.Err != nil {
		u.Last = &UnitIncident{s.Incident.Time, *Explain(s.Incident.Err)}
	}
	return u
}

// unitProblems returns what is wrong with a unit, each code once.
func unitProblems(s *reader.UnitState) []error {
	list := []error{s.Problem}
	if s.BinFull {
		list = append(list, errBinFull)
	}
	switch {
	case !s.Dispenses:
	case s.Hopper == reader.HopperEmpty:
		list = append(list, errHopperEmpty)
	case s.Hopper == reader.HopperLow:
		list = append(list, errHopperLow)
	}
	var codes []fault.Code
	return slices.DeleteFunc(list, func(err error) bool {
		if err == nil {
			return true
		}
		code := fault.Of(err).Code
		if slices.Contains(codes, code) {
			return true
		}
		codes = append(codes, code)
		return false
	})
}

// unitHealth is the first thing that is wrong with a unit, nil for nothing. A hopper
// that is almost empty is not: it works.
func unitHealth(s *reader.UnitState) error {
	for _, err := range unitProblems(s) {
		if !errors.Is(err, errHopperLow) {
			return err
		}
	}
	return nil
}
