package terminal

import (
	"time"

	"onecard/fault"
)

// A Text is a sentence or word in both languages.
type Text struct {
	Chinese string `json:"zh"`
	English string `json:"en"`
}

// A Fault is a failure as a person sees it: the catalogue's sentence and the
// way out. Detail never holds personal data; for a refusal by the insurance
// centre it is the centre's own words.
type Fault struct {
	Code      fault.Code `json:"code"`
	Text      Text       `json:"text"`
	Remedy    Text       `json:"remedy"`
	Detail    string     `json:"detail,omitempty"`
	TriesLeft *int       `json:"tries_left,omitempty"`
}

// A State is everything that a page shows, published on every change.
type State struct {
	Seq         uint64         `json:"seq"` // grows with every change
	Time        time.Time      `json:"time"`
	Version     string         `json:"version"`
	Simulated   bool           `json:"simulated"` // test keys or simulators take part
	Institution Institution    `json:"institution"`
	Operator    Operator       `json:"operator"`
	Rights      []string       `json:"rights"` // settle, refund, resolve, reconcile, unit: those granted
	Counter     Defaults       `json:"counter"`
	Health      []Condition    `json:"health"`
	Readers     []Reader       `json:"readers"`
	Visit       *Visit         `json:"visit"`
	Journal     DayCount       `json:"journal"`
	Unknown     UnknownState   `json:"unknown"` // of any day
	Books       ReconcileState `json:"books"`
	Outbox      OutboxTotal    `json:"outbox"`
}

// Defaults are what a visit has when nothing else is said.
type Defaults struct {
	Kind       string  `json:"kind"`
	MedType    Coded   `json:"med_type"`
	Department Named   `json:"department"`
	Doctor     Named   `json:"doctor"`
	Diagnoses  []Named `json:"diagnoses"`
}

// An Institution is the designated institution (fixmedins_code, name, area).
type Institution struct {
	Code string `json:"code"`
	Name string `json:"name"`
	Area string `json:"area,omitempty"`
}

// An Operator is who works at the desk.
type Operator struct {
	No   string `json:"no"`
	Name string `json:"name"`
}

// Named is a code with the institution's own name for it.
type Named struct {
	Code string `json:"code"`
	Name string `json:"name"`
}

// Coded is a code with the dictionary's words; they are missing for a code
// that no dictionary has.
type Coded struct {
	Code    string `json:"code"`
	Chinese string `json:"zh,omitempty"`
	English string `json:"en,omitempty"`
}

// A Condition is one named part of the machine's health.
type Condition struct {
	Name  string    `json:"condition"` // reader, hsm, upstream, journal, clock
	OK    bool      `json:"ok"`
	Fault *Fault    `json:"fault,omitempty"`
	Since time.Time `json:"since"`
}

// The states of a reader.
const (
	ReaderEmpty   = "empty"
	ReaderReading = "reading"
	ReaderReady   = "ready"
	ReaderFailed  = "failed"
	ReaderStuck   = "stuck"
	ReaderGone    = "gone" // only where changes are told one by one
)

// A Reader is one slot for a user's card.
type Reader struct {
	ID     string `json:"id"` // r1, r2: stable while the daemon runs
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Role   string `json:"role"`
	PINPad string `json:"pinpad"` // none, simulated
	State  string `json:"state"`
	Fault  *Fault `json:"fault"`
	Card   *Card  `json:"card"`
	Unit   *Unit  `json:"unit,omitempty"` // the motorised unit around the slot
}

// A Card is the card in a reader, with what identifies its holder masked.
type Card struct {
	Insertion     uint64  `json:"insertion"`
	Version       string  `json:"version"`
	Algorithm     string  `json:"algorithm"`
	Area          string  `json:"area"`
	Number        string  `json:"number"`
	Issued        string  `json:"issued,omitempty"`
	Expires       string  `json:"expires,omitempty"`
	Authenticated bool    `json:"authenticated"`
	AuthFault     *Fault  `json:"auth_fault"`
	Unfinished    *Fault  `json:"unfinished,omitempty"` // a torn write or debit that could not be ended yet
	Holder        *Holder `json:"holder"`
	Commands      int     `json:"commands"`
	Milliseconds  float64 `json:"milliseconds"`
	PIN           PIN     `json:"pin"`
}

// A Holder is the person to whom the card belongs, masked.
type Holder struct {
	Name      string `json:"name"`
	Number    string `json:"social_security_number"`
	Sex       Coded  `json:"sex"`
	BirthDate string `json:"birth_date,omitempty"`
}

// The phases of PIN entry.
const (
	PINIdle    = "idle"
	PINWaiting = "waiting"
)

// PIN is the state of the card's PIN.
type PIN struct {
	Verified  bool   `json:"verified"`
	TriesLeft *int   `json:"tries_left"`
	Phase     string `json:"phase"`
	// Initial: the PIN that was verified is the one of a new card, which
	// everybody knows; the holder should change it.
	Initial bool `json:"initial,omitempty"`
}

// DayCount counts the settlements of a day by outcome, and those of any day
// whose outcome is still unknown.
type DayCount struct {
	Day          string `json:"day"`
	Done         int    `json:"done"`
	Refused      int    `json:"refused"`
	Unknown      int    `json:"unknown"`
	UnknownTotal int    `json:"unknown_total"`
}
