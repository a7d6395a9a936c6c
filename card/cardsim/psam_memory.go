package cardsim

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sirupsen/logrus"

	"onecard/apdu"
)

// A PSAMOption changes a PSAM that [NewPSAM] makes.
type PSAMOption func(*PSAM) error

// PSAMWithLogger is [WithLogger] for a PSAM.
func PSAMWithLogger(log logrus.FieldLogger) PSAMOption {
	return func(p *PSAM) error {
		p.log = log
		return nil
	}
}

// PSAMWithQuirks makes the PSAM odd: get-response, strict-le and mute do
// something.
func PSAMWithQuirks(quirks ...Quirk) PSAMOption {
	return func(p *PSAM) error {
		for _, q := range quirks {
			if _, err := ParseQuirk(string(q)); err != nil {
				return err
			}
			p.quirks[q] = true
		}
		return nil
	}
}

// PSAMWithEEPROM is [WithEEPROM] for a PSAM: the file holds the terminal
// sequence.
func PSAMWithEEPROM(path string) PSAMOption {
	return func(p *PSAM) error {
		p.nvm.path = path
		return nil
	}
}

// PSAMWithTear is [WithTear] for a PSAM.
func PSAMWithTear(t Tear) PSAMOption {
	return func(p *PSAM) error {
		if t.Write < 1 || t.Phase < TearBefore || t.Phase > TearAfter {
			return fmt.Errorf("%w: %s", ErrTear, t)
		}
		p.nvm.tear = t
		return nil
	}
}

// psamState is the file of a PSAM's EEPROM.
type psamState struct {
	EEPROM   int      `json:"onecard_psam_eeprom"`
	Terminal hexBytes `json:"terminal"`
	Next     uint64   `json:"terminal_sequence"`
}

func (p *PSAM) loadEEPROM() error {
	if p.nvm.path == "" {
		return nil
	}
	b, err := loadFile(p.nvm.path)
	if err != nil {
		return err
	}
	if b == nil {
		return p.nvm.save(func() ([]byte, error) { return p.state(p.next) })
	}
	var s psamState
	if err := json.Unmarshal(b, &s); err != nil || s.EEPROM != stateVersion || s.Next > sequenceEnd || !slices.Equal(s.Terminal, p.img.terminal[:]) {
		return fmt.Errorf("EEPROM file: %w", errEEPROM)
	}
	p.next = s.Next
	return nil
}

func (p *PSAM) state(next uint64) ([]byte, error) {
	return json.Marshal(psamState{stateVersion, p.img.terminal[:], next})
}

// store is [Card.store] for the only thing that a PSAM keeps.
func (p *PSAM) store(next uint64) apdu.Status {
	if !p.nvm.begin() || p.nvm.cut(TearDuring) {
		return apdu.StatusMemory
	}
	if err := p.nvm.save(func() ([]byte, error) { return p.state(next) }); err != nil {
		p.log.WithError(err).Error("the simulated PSAM could not keep a change")
		return apdu.StatusMemory
	}
	if p.nvm.cut(TearCommitted) {
		p.committed = &next
		return apdu.StatusMemory
	}
	p.next = next
	if p.nvm.cut(TearAfter) {
		return apdu.StatusMemory
	}
	return apdu.StatusOK
}

func (p *PSAM) regain() {
	if p.committed != nil {
		p.next, p.committed = *p.committed, nil
	}
	p.nvm.dead = false
}

// TearAt is [Card.TearAt] for a PSAM.
func (p *PSAM) TearAt(t Tear) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nvm.tear = t
}

// Writes is [Card.Writes] for a PSAM.
func (p *PSAM) Writes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nvm.writes
}
