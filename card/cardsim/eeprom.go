package cardsim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Phase is the moment within one write to the EEPROM at which the power is
// cut. Every write of the card is a transaction: the new values go into a
// buffer, the buffer is marked as complete, the values are copied to their
// places, the mark is removed. When power returns, an incomplete buffer is
// forgotten and a complete one is carried out. So a write is done or not, and
// the phase decides which.
type Phase int

// The phases. Each of them is a cut point.
const (
	TearBefore    Phase = iota // before the buffer: the old state
	TearDuring                 // while the buffer fills: the old state
	TearCommitted              // while the values are copied: the new state
	TearAfter                  // after the write, before the answer: the new state
)

const phases = int(TearAfter) + 1

var phaseNames = [phases]string{"before", "during", "committed", "after"}

// String returns "before", "during", "committed" or "after".
func (p Phase) String() string {
	if p < 0 || int(p) >= phases {
		return "Phase(" + strconv.Itoa(int(p)) + ")"
	}
	return phaseNames[p]
}

// A Tear is a point at which the card is torn out of the reader: in the given
// phase of the n-th write from now, 1 being the next one.
type Tear struct {
	Write int
	Phase Phase
}

// ErrTear is wrapped by the error for a tear point that cannot be one.
var ErrTear = errors.New("not a tear point")

// ParseTear reads "3" (during the third write) or "3:before", "3:during",
// "3:committed", "3:after". The error wraps [ErrTear].
func ParseTear(text string) (Tear, error) {
	number, phase, named := strings.Cut(text, ":")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 {
		return Tear{}, fmt.Errorf("%w: want the number of a write, 1 or more", ErrTear)
	}
	t := Tear{n, TearDuring}
	if named {
		for p, name := range phaseNames {
			if name == phase {
				t.Phase = Phase(p)
				return t, nil
			}
		}
		return Tear{}, fmt.Errorf("%w: want before, during, committed or after", ErrTear)
	}
	return t, nil
}

// String returns the form that [ParseTear] reads.
func (t Tear) String() string { return strconv.Itoa(t.Write) + ":" + t.Phase.String() }

// New tells whether the write in which the card is torn out is done when it
// returns.
func (t Tear) New() bool { return t.Phase >= TearCommitted }

// Tears lists all cut points of so many writes, in the order of time.
func Tears(writes int) []Tear {
	list := make([]Tear, 0, writes*phases)
	for w := 1; w <= writes; w++ {
		for p := range phases {
			list = append(list, Tear{w, Phase(p)})
		}
	}
	return list
}

// An eeprom counts the writes of a chip, cuts its power where it is told to,
// and keeps the file.
type eeprom struct {
	writes int
	tear   Tear // Write counts down; 0: no tear
	dead   bool // torn out: until the next power-on nothing answers
	path   string
}

// begin starts a write. False: there is no power for it.
func (e *eeprom) begin() bool {
	if e.dead {
		return false
	}
	e.writes++
	if e.tear.Write > 0 {
		e.tear.Write--
		if e.tear.Write == 0 {
			e.tear.Write = -1 // this one
		}
	}
	return !e.cut(TearBefore)
}

// cut tears the card out if this is the moment.
func (e *eeprom) cut(p Phase) bool {
	if e.tear.Write != -1 || e.tear.Phase != p {
		return false
	}
	e.tear, e.dead = Tear{}, true
	return true
}

// save puts the state into the file: completely or not at all, even if the
// machine loses its power meanwhile.
func (e *eeprom) save(state func() ([]byte, error)) error {
	if e.path == "" {
		return nil
	}
	b, err := state()
	if err != nil {
		return fmt.Errorf("write EEPROM file: %w: %w", errEEPROM, err)
	}
	if err := replaceFile(e.path, b); err != nil {
		return fmt.Errorf("write EEPROM file: %w: %w", errEEPROM, err)
	}
	return nil
}

// replaceFile writes beside the file, then takes its place.
func replaceFile(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// What failed is reported; the remains are only untidy.
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// maxEEPROM bounds the file of an EEPROM, bytes. A card with photograph and
// certificates takes less than 128 KiB.
const maxEEPROM = 1 << 20

// loadFile returns nil where there is no file yet.
func loadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("EEPROM file: %w: %w", errEEPROM, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxEEPROM+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && len(b) > maxEEPROM {
		err = fmt.Errorf("larger than %d bytes", maxEEPROM)
	}
	if err != nil {
		return nil, fmt.Errorf("EEPROM file: %w: %w", errEEPROM, err)
	}
	return b, nil
}
