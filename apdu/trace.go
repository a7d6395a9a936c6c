package apdu

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Instructions whose names a trace shows (card specification, section 4).
const (
	insVerify       = 0x20
	insUnblock      = 0x24
	insResetRetry   = 0x2C // DEBIT FOR PURCHASE under class B0
	insChangePIN    = 0x5E
	insGetResponse  = 0xC0
	insWriteKey     = 0xD4
	classPurchase   = 0xB0
	defaultTraceLen = 512
)

// A Trace records the commands of an exchange and their answers for a person to
// read, one line each:
//
//	10:02:03.004  SELECT            00 A4 04 00  15 bytes out, 28 in  9000 normal processing  0.3 ms
//
// Data is masked: only its length is kept. After Reveal the bytes of the
// commands that follow are kept and shown in hex as well, except those that
// carry a PIN or a key, which are never stored. Only the latest 512 commands are
// kept. The zero value is ready; a nil Trace records nothing. It is safe for use
// by several goroutines.
type Trace struct {
	mu      sync.Mutex
	reveal  bool
	entries []traceEntry
	next    int // where the ring continues when it is full
	dropped int
}

type traceEntry struct {
	at       time.Time
	took     time.Duration
	cla, ins byte
	p1, p2   byte
	lc, le   int
	got      int
	status   Status
	failed   string
	revealed bool
	secret   bool
	out, in  []byte
}

// Reveal sets whether the data of the following commands is kept. What was
// recorded masked stays masked.
func (t *Trace) Reveal(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reveal = on
}

// Reset forgets everything recorded.
func (t *Trace) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.entries)
	t.entries, t.next, t.dropped = t.entries[:0], 0, 0
}

// Len returns how many commands have been recorded, including those of which
// only the number is left.
func (t *Trace) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped + len(t.entries)
}

func (t *Trace) record(c Command, r Response, err error, at time.Time, took time.Duration) {
	if t == nil {
		return
	}
	e := traceEntry{
		at: at, took: took,
		cla: c.CLA, ins: c.INS, p1: c.P1, p2: c.P2,
		lc: len(c.Data), le: c.Le,
		got: len(r.Data), status: r.Status,
		secret: secret(c.CLA, c.INS),
	}
	if err != nil {
		e.failed = err.Error()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reveal && !e.secret {
		e.revealed = true
		e.out = append([]byte(nil), c.Data...)
		e.in = append([]byte(nil), r.Data...)
	}
	if len(t.entries) < defaultTraceLen {
		t.entries = append(t.entries, e)
		return
	}
	t.entries[t.next] = e
	t.next = (t.next + 1) % len(t.entries)
	t.dropped++
}

// secret reports whether the data of a command is a PIN or a key, whatever the
// class: a card decides by the instruction.
func secret(cla, ins byte) bool {
	switch ins {
	case insVerify, insVerify + 1, insUnblock, insUnblock + 1, insChangePIN, insWriteKey:
		return true
	case insResetRetry:
		return cla != classPurchase
	}
	return false
}

// String returns the lines of [Trace.WriteTo].
func (t *Trace) String() string {
	var b strings.Builder
	t.WriteTo(&b) // a Builder does not fail
	return b.String()
}

// WriteTo writes one line per command, oldest first.
func (t *Trace) WriteTo(w io.Writer) (int64, error) {
	t.mu.Lock()
	lines := make([]string, 0, len(t.entries)+1)
	if t.dropped > 0 {
		lines = append(lines, fmt.Sprintf("(%d earlier commands not kept)\n", t.dropped))
	}
	for i := range t.entries {
		lines = append(lines, t.entries[(t.next+i)%len(t.entries)].line())
	}
	t.mu.Unlock()
	var written int64
	for _, l := range lines {
		n, err := io.WriteString(w, l)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (e *traceEntry) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-21s %02X %02X %02X %02X", e.at.Format("15:04:05.000"), name(e.cla, e.ins), e.cla, e.ins, e.p1, e.p2)
	switch {
	case e.lc > 0 && e.le > 0:
		fmt.Fprintf(&b, "  %d bytes out, up to %d expected", e.lc, e.le)
	case e.lc > 0:
		fmt.Fprintf(&b, "  %d bytes out", e.lc)
	case e.le > 0:
		fmt.Fprintf(&b, "  up to %d expected", e.le)
	}
	if len(e.out) > 0 {
		fmt.Fprintf(&b, " [% X]", e.out)
	} else if e.lc > 0 {
		b.WriteString(" [masked]")
	}
	if e.failed != "" {
		fmt.Fprintf(&b, "  failed: %s", e.failed)
	} else {
		b.WriteString("  ->")
		if e.got > 0 {
			fmt.Fprintf(&b, " %d bytes", e.got)
			if e.revealed {
				fmt.Fprintf(&b, " [% X]", e.in)
			} else {
				b.WriteString(" [masked]")
			}
		}
		fmt.Fprintf(&b, " %s", e.status)
	}
	fmt.Fprintf(&b, "  %.1f ms\n", float64(e.took)/float64(time.Millisecond))
	return b.String()
}

// Name returns the command's name in the card specification, section 4:
// "SELECT"; "command" for one it does not have.
func (c Command) Name() string { return name(c.CLA, c.INS) }

// name returns the name of a command in the card specification.
func name(cla, ins byte) string {
	if cla == classPurchase {
		switch ins {
		case 0x26:
			return "GET BALANCE"
		case 0x28:
			return "INIT"
		case 0x2A:
			return "CREDIT FOR LOAD"
		case 0x2C:
			return "DEBIT FOR PURCHASE"
		case 0x2E:
			return "PROOF"
		case 0x56:
			return "START DAY"
		}
	}
	switch ins {
	case 0xA4:
		return "SELECT"
	case insGetResponse:
		return "GET RESPONSE"
	case 0xB2:
		return "READ RECORD"
	case 0xDC:
		return "UPDATE RECORD"
	case 0xB0:
		return "READ BINARY"
	case 0xD6:
		return "UPDATE BINARY"
	case insVerify:
		return "VERIFY"
	case insChangePIN:
		return "CHANGE PIN"
	case insUnblock:
		return "PIN UNBLOCK"
	case 0x84:
		return "GET CHALLENGE"
	case 0x88:
		return "INTERNAL AUTHENTICATE"
	case 0x82:
		return "EXTERNAL AUTHENTICATE"
	case 0x1E:
		return "APPLICATION BLOCK"
	case 0x16:
		return "CARD BLOCK"
	case 0xE0:
		return "CREATE FILE"
	case insWriteKey:
		return "WRITE KEY"
	}
	return "command"
}
