package hsm

import (
	"fmt"
	"math"
)

// A Status is the result of a command, 0000 where it succeeded.
type Status uint16

// The statuses.
const (
	StatusOK            Status = 0x0000
	StatusInternal      Status = 0x0001
	StatusBusy          Status = 0x0002
	StatusStopping      Status = 0x0003
	StatusMalformed     Status = 0x0010
	StatusVersion       Status = 0x0011
	StatusCommand       Status = 0x0012
	StatusFieldMissing  Status = 0x0013
	StatusFieldUnknown  Status = 0x0014
	StatusFieldValue    Status = 0x0015
	StatusFieldRepeated Status = 0x0016
	StatusAlgorithm     Status = 0x0101
	StatusKeyUnknown    Status = 0x0102
	StatusKeyUse        Status = 0x0103
	StatusMAC           Status = 0x0104
)

var statusTexts = map[Status]string{
	StatusOK:            "done",
	StatusInternal:      "internal error",
	StatusBusy:          "too busy, try again or elsewhere",
	StatusStopping:      "stopping, try elsewhere",
	StatusMalformed:     "malformed frame",
	StatusVersion:       "protocol version not supported",
	StatusCommand:       "no such command",
	StatusFieldMissing:  "a required field is missing",
	StatusFieldUnknown:  "a field does not belong to this command",
	StatusFieldValue:    "a field has a wrong length or value",
	StatusFieldRepeated: "a field stands more than once",
	StatusAlgorithm:     "algorithm not supported",
	StatusKeyUnknown:    "no key of that name and version",
	StatusKeyUse:        "the key is not for this command",
	StatusMAC:           "the MAC or TAC is wrong",
}

// String returns four hex digits and the meaning: "0102 no key of that name
// and version".
func (s Status) String() string {
	text, ok := statusTexts[s]
	if !ok {
		text = "unknown status"
	}
	return fmt.Sprintf("%04X %s", uint16(s), text)
}

// elsewhere says that another HSM may do what this one refused.
func (s Status) elsewhere() bool {
	return s == StatusInternal || s == StatusBusy || s == StatusStopping
}

// A Tag names a field. Fields with [Ignorable] set may be skipped by who does
// not know them.
type Tag uint16

// Ignorable is the bit of a tag that permits a server to skip a field that it
// does not know.
const Ignorable Tag = 0x8000

// The tags.
const (
	TagText       Tag = 0x0001
	TagProduct    Tag = 0x0002
	TagVersions   Tag = 0x0003
	TagFlags      Tag = 0x0004
	TagTime       Tag = 0x0005
	TagAlgorithms Tag = 0x0006
	TagKeyHeld    Tag = 0x0007
	TagLimits     Tag = 0x0008
	TagClient     Tag = 0x0009
	TagEcho       Tag = 0x000A
	TagAlgorithm  Tag = 0x0101
	TagArea       Tag = 0x0102
	TagHistorical Tag = 0x0103
	TagKeyName    Tag = 0x0104
	TagKeyVersion Tag = 0x0105
	TagProcess    Tag = 0x0110
	TagRaw        Tag = 0x0111
	TagChallenge  Tag = 0x0112
	TagAnswer     Tag = 0x0113
	TagHeader     Tag = 0x0120
	TagData       Tag = 0x0121
	TagPIN        Tag = 0x0122
	TagSecured    Tag = 0x0123
	TagRandom     Tag = 0x0130
	TagSequence   Tag = 0x0131
	TagTerminal   Tag = 0x0132
	TagTermSeq    Tag = 0x0133
	TagMoment     Tag = 0x0134
	TagAmounts    Tag = 0x0135
	TagBalance    Tag = 0x0136
	TagMAC        Tag = 0x0137
)

// FlagTestKeys is the bit of [TagFlags] of an HSM that holds the test keys.
const FlagTestKeys = 0x01

// fieldSizes are the lengths that a known field can have, in bytes.
var fieldSizes = map[Tag][2]int{
	TagText:       {0, 512},
	TagProduct:    {1, 64},
	TagVersions:   {2, 2},
	TagFlags:      {1, 1},
	TagTime:       {8, 8},
	TagAlgorithms: {0, 16},
	TagKeyHeld:    {2, 17},
	TagLimits:     {6, 6},
	TagClient:     {0, 64},
	TagEcho:       {0, 4096},
	TagAlgorithm:  {1, 1},
	TagArea:       {6, 6},
	TagHistorical: {13, 13},
	TagKeyName:    {1, 16},
	TagKeyVersion: {1, 1},
	TagProcess:    {8, 8},
	TagRaw:        {8, 8},
	TagChallenge:  {4, 16},
	TagAnswer:     {8, 8},
	TagHeader:     {4, 4},
	TagData:       {0, 251},
	TagPIN:        {2, 8},
	TagSecured:    {9, 260},
	TagRandom:     {4, 4},
	TagSequence:   {2, 2},
	TagTerminal:   {6, 6},
	TagTermSeq:    {4, 4},
	TagMoment:     {7, 7},
	TagAmounts:    {4, 12},
	TagBalance:    {4, 4},
	TagMAC:        {4, 4},
}

// need says how often a field stands in a message.
type need struct {
	least, most int
}

var (
	once     = need{1, 1}
	optional = need{0, 1}
	many     = need{0, math.MaxInt}
)

type message map[Tag]need

type spec struct{ request, response message }

func subjectAnd(more message) message {
	m := message{TagAlgorithm: once, TagArea: once, TagHistorical: once, TagKeyName: once, TagKeyVersion: once}
	for t, n := range more {
		m[t] = n
	}
	return m
}

// purchaseAnd are the fields of a purchase, loadAnd those of a load.
func purchaseAnd(more message) message {
	m := subjectAnd(message{TagRandom: once, TagSequence: once, TagTerminal: once, TagTermSeq: once, TagMoment: once, TagAmounts: once})
	for t, n := range more {
		m[t] = n
	}
	return m
}

func loadAnd(more message) message {
	m := subjectAnd(message{TagRandom: once, TagSequence: once, TagTerminal: once, TagMoment: once, TagAmounts: once, TagBalance: once})
	for t, n := range more {
		m[t] = n
	}
	return m
}

var specs = map[Command]spec{
	CommandStatus: {
		request: message{TagClient: optional},
		response: message{TagProduct: once, TagVersions: once, TagFlags: once, TagTime: once,
			TagAlgorithms: once, TagLimits: once, TagKeyHeld: many},
	},
	CommandEcho: {
		request:  message{TagEcho: once},
		response: message{TagEcho: once},
	},
	CommandInternalAuth: {
		request:  subjectAnd(message{TagProcess: once, TagRaw: once}),
		response: message{TagAnswer: once},
	},
	CommandExternalAuth: {
		request:  subjectAnd(message{TagChallenge: once, TagRaw: once}),
		response: message{TagAnswer: once},
	},
	CommandSecure: {
		request:  subjectAnd(message{TagChallenge: once, TagHeader: once, TagData: once}),
		response: message{TagSecured: once},
	},
	CommandUnblockPIN: {
		request:  subjectAnd(message{TagChallenge: once}),
		response: message{TagSecured: once},
	},
	CommandReloadPIN: {
		request:  subjectAnd(message{TagChallenge: once, TagPIN: once}),
		response: message{TagSecured: once},
	},
	CommandPurchase: {
		request:  purchaseAnd(message{}),
		response: message{TagMAC: once},
	},
	CommandPurchaseMAC2: {request: purchaseAnd(message{TagMAC: once}), response: message{}},
	CommandPurchaseTAC:  {request: purchaseAnd(message{TagMAC: once}), response: message{}},
	CommandLoad: {
		request:  loadAnd(message{TagMAC: once}),
		response: message{TagMAC: once},
	},
	CommandLoadTAC: {request: loadAnd(message{TagMAC: once}), response: message{}},
}

// CheckRequest returns nil for a request whose fields are those of its command,
// otherwise a *[FormError] with the status to answer. Values are checked for
// their lengths only.
func CheckRequest(f *Frame) error {
	s, ok := specs[f.Command]
	if !ok {
		return &FormError{StatusCommand, "no command " + f.Command.String()}
	}
	if f.Kind != Request || f.Status != StatusOK {
		return malformed("not a request")
	}
	return check(f.Fields, s.request, true)
}

// CheckResponse returns nil for a response whose fields are those of its
// command, otherwise a *[FormError]. Fields that the command does not have are
// passed over, those of a refusal ([StatusOK] aside) altogether.
func CheckResponse(f *Frame) error {
	s, ok := specs[f.Command]
	if !ok {
		return &FormError{StatusCommand, "no command " + f.Command.String()}
	}
	if f.Kind != Response {
		return malformed("not a response")
	}
	if f.Status != StatusOK {
		return nil
	}
	return check(f.Fields, s.response, false)
}

func check(fields []Field, m message, strict bool) error {
	for i, field := range fields {
		n, ok := m[field.Tag]
		if !ok {
			if strict && field.Tag&Ignorable == 0 {
				return &FormError{StatusFieldUnknown, fmt.Sprintf("field %04X does not belong here", uint16(field.Tag))}
			}
			continue
		}
		if size := fieldSizes[field.Tag]; len(field.Value) < size[0] || len(field.Value) > size[1] {
			return &FormError{StatusFieldValue, fmt.Sprintf("field %04X of %d bytes", uint16(field.Tag), len(field.Value))}
		}
		if n.most == 1 {
			for _, earlier := range fields[:i] {
				if earlier.Tag == field.Tag {
					return &FormError{StatusFieldRepeated, fmt.Sprintf("field %04X stands twice", uint16(field.Tag))}
				}
			}
		}
	}
	for t, n := range m {
		if n.least == 0 {
			continue
		}
		found := false
		for _, field := range fields {
			found = found || field.Tag == t
		}
		if !found {
			return &FormError{StatusFieldMissing, fmt.Sprintf("field %04X is missing", uint16(t))}
		}
	}
	return nil
}
