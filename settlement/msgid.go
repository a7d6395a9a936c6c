package settlement

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// A MsgIDSource draws message numbers: institution code (12), yyyyMMddHHmmss,
// sequence (4). No number may ever be drawn twice.
type MsgIDSource interface {
	Next(ctx context.Context) (string, error)
}

// A HighWater keeps, durably, the latest second up to which message numbers
// may have been drawn. [Journal] is one.
type HighWater interface {
	// Reserve stores the Unix second and returns after it is durable.
	Reserve(ctx context.Context, second int64) error
	// Reserved returns the stored second, 0 where there is none.
	Reserved(ctx context.Context) (int64, error)
}

// MsgIDs draws message numbers that no restart and no turned-back clock can
// repeat: it keeps a high-water mark ahead of the numbers it draws and begins
// after that mark. A number's time may therefore be a few seconds ahead of the
// clock after a crash, or far ahead after the clock was set back; it is an
// identifier, the envelope's inf_time is the clock's.
//
// Several terminals of one institution share its code. Give each its own lane
// of the sequence, or, without lanes, each begins its sequence at a random
// point, which makes a clash unlikely but not impossible.
type MsgIDs struct {
	code  string
	mark  HighWater
	now   func() time.Time
	first int // of the sequence
	span  int

	mu       sync.Mutex
	loaded   bool
	second   int64 // of the latest number
	drawn    int   // in that second
	reserved int64
}

// reserveAhead is how many seconds one durable write covers.
const reserveAhead = 5

// NewMsgIDs returns a source for an institution's code. lane of lanes is this
// terminal's share of the sequence; lanes 0 means no lanes. mark may be nil for
// a tool that books nothing: then only the random beginning protects.
func NewMsgIDs(code string, mark HighWater, now func() time.Time, lane, lanes int) (*MsgIDs, error) {
	if code == "" || len(code) > 12 {
		return nil, fmt.Errorf("message numbers: institution code must have 1 to 12 characters")
	}
	if lanes < 0 || lanes > 1000 || lane < 0 || lanes > 0 && lane >= lanes {
		return nil, fmt.Errorf("message numbers: lane %d of %d", lane, lanes)
	}
	m := &MsgIDs{code: code, mark: mark, now: now, span: 10000}
	if lanes > 0 {
		m.span = 10000 / lanes
		m.first = lane * m.span
		return m, nil
	}
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("message numbers: %w", err)
	}
	m.first = int(binary.BigEndian.Uint32(b[:]) % 10000)
	return m, nil
}

// Next returns the next number. It fails only where the mark cannot be stored;
// then nothing may be sent.
func (m *MsgIDs) Next(ctx context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.loaded {
		if m.mark != nil {
			reserved, err := m.mark.Reserved(ctx)
			if err != nil {
				return "", fmt.Errorf("message number: %w", err)
			}
			m.second, m.drawn, m.reserved = reserved, m.span, reserved
		}
		m.loaded = true
	}
	second, drawn := m.second, m.drawn
	if now := m.now().Unix(); now > second {
		second, drawn = now, 0
	} else if drawn >= m.span {
		second, drawn = second+1, 0
	}
	if m.mark != nil && second > m.reserved {
		if err := m.mark.Reserve(ctx, second+reserveAhead-1); err != nil {
			return "", fmt.Errorf("message number: %w", err)
		}
		m.reserved = second + reserveAhead - 1
	}
	m.second, m.drawn = second, drawn+1
	stamp := time.Unix(second, 0).In(china).Format("20060102150405")
	return fmt.Sprintf("%s%s%04d", m.code, stamp, (m.first+drawn)%10000), nil
}
