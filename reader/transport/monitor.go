package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// A Monitor knows how long something has been so. A card at the mouth that nobody
// takes is due to be captured; a card inside that nobody uses, to be returned.
type Monitor struct {
	After time.Duration // 0: never due
	Now   func() time.Time
	since time.Time // zero: it is not so
}

// Look tells the monitor whether it is so now, and returns whether it has been so
// for as long as After without an end. It is due again when it is still so After
// that.
func (m *Monitor) Look(so bool) (due bool) {
	switch now := m.Now(); {
	case !so:
		m.since = time.Time{}
	case m.since.IsZero():
		m.since = now
	default:
		due = m.After > 0 && now.Sub(m.since) >= m.After
		if due {
			m.since = now
		}
	}
	return due
}

// Why a card was captured.
const (
	LeftAtMouth = "left at the mouth" // nobody took it
	ByOrder     = "by order"          // [Driver.Capture]
	// FoundInBin: the unit has counted more cards than were recorded; the program
	// was stopped, or its disk was full, when they were captured.
	FoundInBin = "found in the bin"
	// Emptied is no capture: a person has emptied the bin.
	Emptied = "bin emptied"
)

// A Capture is the record of one card that went into the reject bin. It says
// nothing of whose card it was: the bin's owner sees that on the card.
type Capture struct {
	Time     time.Time `json:"time"`
	Unit     string    `json:"unit"`   // the unit's name in the configuration
	Serial   string    `json:"serial"` // the unit's own number; empty where it says none
	Reason   string    `json:"reason"`
	BinCount int       `json:"bin_count"` // as the unit counts after it; -1 where it does not say
}

// A CaptureLog keeps records of captures in a file of one JSON object a line. It
// is safe for use by several goroutines.
type CaptureLog struct {
	mu   sync.Mutex
	file string
}

// NewCaptureLog returns the log in a file, which is made with mode 0600 at the
// first record.
func NewCaptureLog(file string) *CaptureLog { return &CaptureLog{file: file} }

// captureTail is how much of the file's end Last reads: thousands of records.
const captureTail = 1 << 20

// Last returns the newest record of a unit; ok is false where there is none.
// A line that was cut short by a power failure is passed over.
func (l *CaptureLog) Last(serial string) (last Capture, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.Open(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return last, false, nil
	}
	if err != nil {
		return last, false, fmt.Errorf("read captured cards: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return last, false, fmt.Errorf("read captured cards: %w", err)
	}
	text := make([]byte, min(info.Size(), captureTail))
	if _, err := f.ReadAt(text, info.Size()-int64(len(text))); err != nil {
		return last, false, fmt.Errorf("read captured cards: %w", err)
	}
	for line := range bytes.Lines(text) {
		var c Capture
		if json.Unmarshal(line, &c) == nil && c.Serial == serial {
			last, ok = c, true
		}
	}
	return last, ok, nil
}

// Record appends a record. It is on the disk when Record returns nil.
func (l *CaptureLog) Record(c Capture) (err error) {
	line, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("record captured card: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.file, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("record captured card: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("record captured card: %w", cerr)
		}
	}()
	// A line that a power failure cut short must not swallow this one.
	var end [1]byte
	if info, err := f.Stat(); err != nil {
		return fmt.Errorf("record captured card: %w", err)
	} else if info.Size() > 0 {
		if _, err := f.ReadAt(end[:], info.Size()-1); err != nil {
			return fmt.Errorf("record captured card: %w", err)
		}
		if end[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("record captured card: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("record captured card: %w", err)
	}
	return nil
}
