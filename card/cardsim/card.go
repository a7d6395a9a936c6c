package cardsim

import (
	"crypto/rand"
	"fmt"
	"io"
	"sync"

	"github.com/sirupsen/logrus"

	"onecard/apdu"
)

// A Card is a simulated card: what is in its chip and what it keeps while it
// has power. It implements the card of a virtual reader and is served to vpcd
// by [ServeVPCD]. Safe for concurrent use; commands run one after the other.
type Card struct {
	quirks      map[Quirk]bool
	random      io.Reader
	log         logrus.FieldLogger
	blank       bool
	contactless bool

	mu        sync.Mutex
	chip      chip
	mem       *memory
	committed *memory // complete in the buffer when the power went
	nvm       eeprom
	ses       session
}

// A chip is what never changes.
type chip struct {
	bank        bool     // a bank card: PSE and nothing else
	atr         []byte   // of a bank card
	historical  [13]byte // of all others
	contactless bool
	testKeys    bool
}

// A session is what a reset takes away.
type session struct {
	on        bool
	df        string // "MF", "SSSE", "DF01"
	ef        byte   // current EF by SFI, 0 for none
	record    int    // current record, 0 for none
	pin       bool
	proved    map[string]bool // keys of the current DF, by name; PINs of the certificates
	challenge []byte
	waiting   waiting

	tx transaction // begun by the last INIT
	// before is tx as the command under way found it.
	before transaction
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

// WithBlank makes the card as the factory delivers it, before it is personalised
// as [Image.Commands] does it: of the image only the historical bytes are on it.
func WithBlank() Option {
	return func(c *Card) error {
		c.blank = true
		return nil
	}
}

// WithContactless puts a 3.0 card on its antenna: the ATR is that of a PC/SC
// reader without contacts.
func WithContactless() Option {
	return func(c *Card) error {
		c.contactless = true
		return nil
	}
}

// WithTear tears the card out at a point of its future, see [Card.TearAt].
func WithTear(t Tear) Option {
	return func(c *Card) error {
		if t.Write < 1 || t.Phase < TearBefore || t.Phase > TearAfter {
			return fmt.Errorf("%w: %s", ErrTear, t)
		}
		c.nvm.tear = t
		return nil
	}
}

// WithEEPROM keeps what the card keeps without power in a file, which is made
// if it is missing and from then on goes before the image. It is written at
// every change, completely or not at all, and is on the disk before the card
// answers. It holds keys and PIN: mode 0600. An error for a file that is not
// this card's EEPROM has OC-3301.
func WithEEPROM(path string) Option {
	return func(c *Card) error {
		c.nvm.path = path
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
	if err := c.loadEEPROM(); err != nil {
		return nil, fmt.Errorf("make card: %w", err)
	}
	if c.chip.testKeys {
		c.log.Warn("SIMULATED CARD WITH TEST KEYS that everybody knows: never use them with real cards")
	}
	return c, nil
}

// PowerOn is a cold reset: it returns the ATR, nil from a mute card. PIN, keys,
// challenge and selection are gone; the MF is selected.
func (c *Card) PowerOn() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.regain()
	c.ses = session{on: !c.quirks[QuirkMute], df: c.rootDF(), proved: make(map[string]bool)}
	return c.atr()
}

// PowerOff takes the power away.
func (c *Card) PowerOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.regain()
	c.ses = session{}
}

// rootDF is selected after reset.
func (c *Card) rootDF() string {
	if c.quirks[QuirkRootSSSE] {
		return dfSSSE
	}
	return dfMF
}

// Transmit answers a command. The answer has at least the two bytes of the
// status word and at most 258, whatever the command is; only the quirk "short"
// answers with one.
func (c *Card) Transmit(command []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, odd := c.misbehave(command); odd {
		return answer
	}
	if c.nvm.dead {
		return nil
	}
	data, sw := c.answer(command)
	if c.nvm.dead {
		c.ses = session{}
		return nil
	}
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

// answer runs a command. Whatever fails ends a transaction that has begun; a
// wrong Le and the second half of an answer do not.
func (c *Card) answer(command []byte) ([]byte, apdu.Status) {
	if !c.ses.on {
		return nil, apdu.StatusUnspecified
	}
	c.ses.before, c.ses.tx = c.ses.tx, transaction{}
	data, sw, again := c.ses.waiting.answer(c.quirks, command, c.run)
	if sw>>8 == 0x6C || again {
		c.ses.tx = c.ses.before
	}
	return data, sw
}
