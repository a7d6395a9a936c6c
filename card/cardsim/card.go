package cardsim

import (
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"

	"onecard/apdu"
	"onecard/card/keys"
)

// The longest command of a card without extended lengths: header, Lc, 255
// bytes, Le.
const maxCommand = 4 + 1 + 255 + 1

// maxAnswer is the most data that one answer carries (card specification,
// section 9).
const maxAnswer = apdu.MaxShortLe

// A Card is a simulated card: what is in its chip and what it keeps while it
// has power. It implements the card of a virtual reader and is served to vpcd
// by [ServeVPCD]. Safe for concurrent use; commands run one after the other.
type Card struct {
	quirks map[Quirk]bool
	random io.Reader
	log    logrus.FieldLogger

	mu   sync.Mutex
	chip chip
	mem  memory
	ses  session
}

// A chip is what never changes.
type chip struct {
	atr       []byte
	bank      bool // a bank card: PSE and nothing else
	version   string
	fciAlg    byte // tag 86 of the FCI, 0 for none
	algorithm keys.Algorithm
	layouts   map[fileID]*layout
	keys      map[keyID]keys.Key
	keyTries  int
	pinTries  int
	testKeys  bool
}

// A keyID is a name ("RK1DF04") and a version, 1 to 3.
type keyID struct {
	name    string
	version byte
}

// A memory is what outlives a loss of power: the EEPROM. It changes in
// [Card.store] only.
type memory struct {
	files    map[fileID]*content
	pin      []byte // as VERIFY carries it
	pinTries int
	keyTries map[keyID]int // of keys that have failed
	account  account
}

// A content is what is in a file. Linear: record 1 first. Cyclic: newest
// first, as the numbers go.
type content struct {
	records [][]byte
	data    []byte // transparent
}

// A session is what a reset takes away.
type session struct {
	on        bool
	df        string // "MF", "SSSE", "DF01"
	ef        byte   // current EF by SFI, 0 for none
	record    int    // current record, 0 for none
	pin       bool
	proved    map[string]bool // keys of the current DF, by name
	challenge []byte
	waiting   []byte // for GET RESPONSE
}

// An Option changes a card that [New] makes.
type Option func(*Card) error

// WithQuirks makes the card odd in the given ways.
func WithQuirks(quirks ...Quirk) Option {
	return func(c *Card) error {
		for _, q := range quirks {
			if _, err := ParseQuirk(string(q)); err != nil {
				return err
			}
			c.quirks[q] = true
		}
		return nil
	}
}

// WithRandom takes the card's challenges from r, so that a test can repeat
// them. Without it they come from crypto/rand.
func WithRandom(r io.Reader) Option {
	return func(c *Card) error {
		c.random = r
		return nil
	}
}

// WithLogger lets the card say what it is and where it is plugged in. Commands
// are not logged: they hold a person's data and PIN. Without it nothing is
// said.
func WithLogger(log logrus.FieldLogger) Option {
	return func(c *Card) error {
		c.log = log
		return nil
	}
}

// New makes a card from an image, without power. Several cards can be made from
// one image; they share nothing.
func New(img *Image, opts ...Option) (*Card, error) {
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	c := &Card{quirks: make(map[Quirk]bool), random: rand.Reader, log: silent}
	for _, opt := range opts {
		if err := opt(c); err != nil {
			return nil, fmt.Errorf("make card: %w", err)
		}
	}
	if err := c.personalise(img); err != nil {
		return nil, fmt.Errorf("make card: %w", err)
	}
	if c.chip.testKeys {
		c.log.Warn("SIMULATED CARD WITH TEST KEYS that everybody knows: never use them with real cards")
	}
	return c, nil
}

// ATR returns the answer to reset without touching the card; nil for a mute
// one.
func (c *Card) ATR() []byte {
	if c.quirks[QuirkMute] {
		return nil
	}
	return slices.Clone(c.chip.atr)
}

// PowerOn is a cold reset: it returns the ATR, nil from a mute card. PIN, keys,
// challenge and selection are gone; the MF is selected.
func (c *Card) PowerOn() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ses = session{on: !c.quirks[QuirkMute], df: c.rootDF(), proved: make(map[string]bool)}
	return c.ATR()
}

// PowerOff takes the power away.
func (c *Card) PowerOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ses = session{}
}

// rootDF is selected after reset.
func (c *Card) rootDF() string {
	if c.quirks[QuirkRootSSSE] {
		return dfSSSE
	}
	return dfMF
}

// store changes the memory. Every change goes through here and each call is one
// that power can be cut before or after, but not inside.
func (c *Card) store(change func(*memory)) { change(&c.mem) }

// Transmit answers a command. The answer has at least the two bytes of the
// status word and at most 258, whatever the command is; only the quirk "short"
// answers with one.
func (c *Card) Transmit(command []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, odd := c.misbehave(command); odd {
		return answer
	}
	data, sw := c.answer(command)
	return apdu.Response{Data: data, Status: sw}.Bytes()
}

// misbehave answers for the quirks that do not look at the command.
func (c *Card) misbehave(command []byte) ([]byte, bool) {
	switch {
	case c.quirks[QuirkShort]:
		return []byte{0x90}, true
	case c.quirks[QuirkEndless6C]:
		return []byte{0x6C, 0x10}, true
	case c.quirks[QuirkGarbage]:
		noise := make([]byte, maxAnswer+2)
		for i := range noise {
			noise[i] = byte(i*i*7 + i*31 + len(command))
		}
		return noise, true
	case c.quirks[QuirkEndless61]:
		if len(command) > 1 && command[1] == insGetResponse {
			return append(make([]byte, 16), 0x61, 0x10), true
		}
		return []byte{0x61, 0x10}, true
	}
	return nil, false
}

// answer runs a command and fits the data to Le.
func (c *Card) answer(command []byte) ([]byte, apdu.Status) {
	if !c.ses.on {
		return nil, apdu.StatusUnspecified
	}
	if len(command) > maxCommand {
		return nil, apdu.StatusWrongLength
	}
	cmd, err := apdu.ParseCommand(command)
	if err != nil || cmd.Extended {
		return nil, apdu.StatusWrongLength
	}
	waiting := c.ses.waiting
	c.ses.waiting = nil
	if cmd.INS == insGetResponse && cmd.CLA == 0 {
		return c.getResponse(cmd, waiting)
	}
	data, sw := c.run(cmd)
	if !sw.OK() || len(data) == 0 {
		return nil, sw
	}
	return c.fit(cmd, data)
}

// fit hands the data of an answer out by Le. A command without Le gets them
// all: in T=0, which this card speaks, its P3 stands for both.
func (c *Card) fit(cmd apdu.Command, data []byte) ([]byte, apdu.Status) {
	if c.quirks[QuirkGetResponse] && len(cmd.Data) > 0 {
		c.ses.waiting = data
		return nil, 0x6100 | apdu.Status(byte(len(data)))
	}
	exactly := c.quirks[QuirkStrictLe] && len(cmd.Data) == 0 && cmd.Le != len(data)
	if exactly || cmd.Le != 0 && cmd.Le < len(data) {
		return nil, 0x6C00 | apdu.Status(byte(len(data)))
	}
	return data, apdu.StatusOK
}

func (c *Card) getResponse(cmd apdu.Command, waiting []byte) ([]byte, apdu.Status) {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		c.ses.waiting = waiting
		return nil, apdu.StatusWrongP1P2
	case len(waiting) == 0:
		return nil, apdu.StatusConditions
	case cmd.Le != 0 && cmd.Le < len(waiting):
		c.ses.waiting = waiting[cmd.Le:]
		return waiting[:cmd.Le], 0x6100 | apdu.Status(byte(len(waiting)-cmd.Le))
	case c.quirks[QuirkStrictLe] && cmd.Le != len(waiting):
		c.ses.waiting = waiting
		return nil, 0x6C00 | apdu.Status(byte(len(waiting)))
	}
	return waiting, apdu.StatusOK
}

// Instructions (card specification, section 4).
const (
	insVerify       = 0x20
	insReloadPIN    = 0x24
	insGetBalance   = 0x26
	insStartDay     = 0x56
	insChangePIN    = 0x5E
	insExternalAuth = 0x82
	insGetChallenge = 0x84
	insInternalAuth = 0x88
	insSelect       = 0xA4
	insReadBinary   = 0xB0
	insReadRecord   = 0xB2
	insGetResponse  = 0xC0
	insUpdateBinary = 0xD6
	insUpdateRecord = 0xDC
)

// An instruction is one command of the card: the classes it comes in and what
// does it. A command added later is one line in [Card.instruction].
type instruction struct {
	classes []byte
	run     func(apdu.Command) ([]byte, apdu.Status)
}

func (c *Card) instruction(ins byte) (instruction, bool) {
	plain := []byte{0x00}
	switch ins {
	case insSelect:
		return instruction{plain, c.selectFile}, true
	case insReadRecord:
		return instruction{plain, c.readRecord}, true
	case insReadBinary:
		return instruction{plain, c.readBinary}, true
	case insUpdateRecord:
		return instruction{[]byte{0x00, 0x04}, c.updateRecord}, true
	case insUpdateBinary:
		return instruction{[]byte{0x00, 0x04}, c.updateBinary}, true
	case insVerify:
		return instruction{plain, c.verify}, true
	case insChangePIN:
		return instruction{[]byte{0x80}, c.changePIN}, true
	case insReloadPIN:
		return instruction{[]byte{0x84}, c.reloadPIN}, true
	case insGetChallenge:
		return instruction{plain, c.getChallenge}, true
	case insInternalAuth:
		return instruction{plain, c.internalAuth}, true
	case insExternalAuth:
		return instruction{plain, c.externalAuth}, true
	case insGetBalance:
		return instruction{[]byte{0xB0}, c.getBalance}, true
	case insStartDay:
		return instruction{[]byte{0xB0}, c.startDay}, true
	}
	return instruction{}, false
}

func (c *Card) run(cmd apdu.Command) ([]byte, apdu.Status) {
	switch cmd.CLA {
	case 0x00, 0x04, 0x80, 0x84, 0xB0:
	default:
		return nil, apdu.StatusClass
	}
	if c.chip.bank && cmd.INS != insSelect {
		return nil, apdu.StatusConditions
	}
	in, ok := c.instruction(cmd.INS)
	if !ok {
		return nil, apdu.StatusInstruction
	}
	if !slices.Contains(in.classes, cmd.CLA) {
		return nil, apdu.StatusClass
	}
	return in.run(cmd)
}
