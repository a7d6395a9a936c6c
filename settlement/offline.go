package settlement

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A CardDebit is an off-line debit of the medical account on a card, as it is
// told to the insurer when the line is back: the purchase with the card's
// signature over it (TAC), and whose card it is. It holds personal data.
type CardDebit struct {
	ID               string `json:"id"`       // 32 hex digits, random
	Card             string `json:"card"`     // card identification code, 32 hex digits
	Type             string `json:"type"`     // "2" settlement
	Sequence         uint16 `json:"sequence"` // the card's
	Terminal         string `json:"terminal"` // 12 digits
	TerminalSequence uint32 `json:"terminal_sequence"`
	Time             string `json:"time"` // yyyy-MM-dd HH:mm:ss, in China
	Account          Fen    `json:"account"`
	SelfPaid         Fen    `json:"self_paid"`
	Pooling          Fen    `json:"pooling"`
	Before           Fen    `json:"before"` // balance before it
	After            Fen    `json:"after"`
	Algorithm        string `json:"algorithm"`   // as in the card's FCI: 01 DES, 03 SM4
	KeyVersion       string `json:"key_version"` // 01 to 03
	Random           string `json:"random"`      // the card's, 8 hex digits
	TAC              string `json:"tac"`         // 8 hex digits; "" until the card has debited
	Verified         bool   `json:"verified"`    // the key holder found the card's proof right

	CardNumber string `json:"card_number"` // mdtrt_cert_no
	Certno     string `json:"certno"`      // the holder's social security number
	Name       string `json:"name"`
	Area       string `json:"area"` // insuplc_admdvs: of DF04/EF05, else of the card
	Operator   string `json:"operator"`
}

// String names the debit without its holder.
func (d CardDebit) String() string { return fmt.Sprintf("off-line debit %s of %s", d.ID, d.Account) }

// An OfflineUpload is how a region wants to be told of off-line debits. The
// national interface has no transaction for that, so number, node and names are
// the region's.
type OfflineUpload struct {
	Infno string `toml:"infno"`
	Name  string `toml:"name"` // for people
	Path  string `toml:"path"` // in regions with one path per transaction
	Node  string `toml:"node"`
	// Fields gives what each of the region's fields holds: the name of a value
	// ([OfflineValues]), or a fixed text after =.
	Fields map[string]string `toml:"fields"`
}

// offlineValues are what a field can hold. Amounts are numbers of yuan with two
// decimals, times yyyy-MM-dd HH:mm:ss; all else is text.
var offlineValues = map[string]func(CardDebit) any{
	"card":              func(d CardDebit) any { return strings.ToUpper(d.Card) }, // identification code, 32 hex
	"card_number":       func(d CardDebit) any { return d.CardNumber },
	"certno":            func(d CardDebit) any { return d.Certno },
	"name":              func(d CardDebit) any { return d.Name },
	"area":              func(d CardDebit) any { return d.Area },
	"id":                func(d CardDebit) any { return d.ID }, // 32 hex, random: the same debit has the same
	"sequence":          func(d CardDebit) any { return fmt.Sprint(d.Sequence) },
	"type":              func(d CardDebit) any { return d.Type },
	"terminal":          func(d CardDebit) any { return d.Terminal },
	"terminal_sequence": func(d CardDebit) any { return fmt.Sprint(d.TerminalSequence) },
	"time":              func(d CardDebit) any { return d.Time },
	"account":           func(d CardDebit) any { return d.Account },
	"self_paid":         func(d CardDebit) any { return d.SelfPaid },
	"pooling":           func(d CardDebit) any { return d.Pooling },
	"total":             func(d CardDebit) any { return d.Account + d.SelfPaid + d.Pooling },
	"before":            func(d CardDebit) any { return d.Before },
	"after":             func(d CardDebit) any { return d.After },
	"algorithm":         func(d CardDebit) any { return d.Algorithm },
	"key_version":       func(d CardDebit) any { return d.KeyVersion },
	"random":            func(d CardDebit) any { return strings.ToUpper(d.Random) },
	"tac":               func(d CardDebit) any { return strings.ToUpper(d.TAC) },
	"operator":          func(d CardDebit) any { return d.Operator },
}

// offlineNeeded are the values without which an insurer can neither check a TAC
// nor tell two debits apart.
var offlineNeeded = []string{"card", "sequence", "terminal", "terminal_sequence", "time", "account", "self_paid", "pooling", "tac"}

// OfflineValues lists the names of values, in order.
func OfflineValues() []string { return slices.Sorted(maps.Keys(offlineValues)) }

var offlineNumber = regexp.MustCompile(`^[0-9]{4}[A-Z]?$`)

// Check says what a region's upload lacks, with the key in front; nil where there
// is none or it is whole.
func (u *OfflineUpload) Check(national *Catalogue) error {
	if u.Infno == "" && u.Name == "" && u.Path == "" && u.Node == "" && len(u.Fields) == 0 {
		return nil
	}
	if !offlineNumber.MatchString(u.Infno) {
		return fmt.Errorf("offline.infno: four digits expected")
	}
	if _, err := national.Transaction(u.Infno); err == nil {
		return fmt.Errorf("offline.infno: %s is a national transaction, which has another meaning", u.Infno)
	}
	if !memberName.MatchString(u.Node) {
		return fmt.Errorf("offline.node: not the name of a node")
	}
	given := make(map[string]bool)
	for _, field := range slices.Sorted(maps.Keys(u.Fields)) {
		value := u.Fields[field]
		switch {
		case !memberName.MatchString(field):
			return fmt.Errorf("offline.fields.%s: not the name of a field", printable(field))
		case strings.HasPrefix(value, "="):
		case offlineValues[value] == nil:
			return fmt.Errorf("offline.fields.%s: %s, or a fixed text after =", field, strings.Join(OfflineValues(), ", "))
		}
		given[value] = true
	}
	for _, value := range offlineNeeded {
		if !given[value] {
			return fmt.Errorf("offline.fields: none holds %s", value)
		}
	}
	return nil
}

// Declare makes the region's transaction known to a catalogue, so that it is
// checked and sent as any other.
func (u *OfflineUpload) Declare(c *Catalogue) {
	if u.Infno == "" {
		return
	}
	t := &Transaction{Infno: u.Infno, NameZH: u.Name}
	for _, field := range slices.Sorted(maps.Keys(u.Fields)) {
		f := Field{Node: u.Node, Name: field, Kind: StringKind, Length: 200, Scale: -1, Required: true}
		switch u.Fields[field] {
		case "account", "self_paid", "pooling", "total", "before", "after":
			f.Kind, f.Length, f.Scale = NumberKind, 16, 2
		case "time":
			f.Kind = DateTimeKind
		}
		t.In = c.add(t.In, f)
	}
	for _, n := range t.In {
		n.Required = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parsed[u.Infno] = t
	if c.books == nil {
		c.books = make(map[string]string)
	}
	c.books[u.Infno] = "tells of money that a card has paid"
}

// Input is the transaction's input for one debit.
func (u *OfflineUpload) Input(d CardDebit) (json.RawMessage, error) {
	fields := make(map[string]any, len(u.Fields))
	for field, value := range u.Fields {
		if text, fixed := strings.CutPrefix(value, "="); fixed {
			fields[field] = text
		} else {
			fields[field] = offlineValues[value](d)
		}
	}
	raw, err := json.Marshal(map[string]any{u.Node: fields})
	if err != nil {
		return nil, fmt.Errorf("off-line debit: %w", err)
	}
	return raw, nil
}
