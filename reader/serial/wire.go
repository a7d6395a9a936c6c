package serial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"onecard/reader"
)

const (
	// maxRounds is how often one command may be sent or asked back after NAK and
	// broken checksums.
	maxRounds = 6
	// maxStray bounds answers to earlier commands, notices and pleas for time
	// that one command's answer may be preceded by.
	maxStray = 4096
	// maxNoise bounds the bytes that are thrown away while waiting for a line to
	// fall silent.
	maxNoise = 1 << 16
	// gap is how long a line may be silent within a frame. At 9600 bit/s a byte
	// takes a millisecond.
	gap = 500 * time.Millisecond
)

var (
	// errSilent: no answer within its time.
	errSilent = errors.New("no answer")
	// errLine: the line itself failed.
	errLine = errors.New("the serial line failed")
)

// A wire exchanges messages over a line. One goroutine owns it.
type wire struct {
	line  Line
	dec   decoder
	seq   byte
	known bool // echo is known
	echo  bool // the reader sends every byte back that it receives
	told  func(what)
	read  [1024]byte
}

func newWire(line Line, told func(what)) *wire { return &wire{line: line, told: told} }

// exchange sends a message and returns its answer, of the right type, slot and
// sequence number. The command leaves again only where the reader says that it
// has not understood it; an answer with a broken checksum is asked for again, so
// that no command is carried out twice. silence bounds the time in which nothing
// at all comes, 0 not. Errors wrap errSilent, errLine, [reader.ErrFault] or ctx's.
func (w *wire) exchange(ctx context.Context, m message, silence time.Duration) (message, error) {
	w.seq++
	m.Seq = w.seq
	frame, err := appendFrame(make([]byte, 0, overhead+len(m.Data)), m)
	if err != nil {
		return message{}, fmt.Errorf("%w: %w", reader.ErrFault, err)
	}
	defer clear(frame) // it may have been a PIN
	sent := frame
	for range maxRounds {
		if _, err := w.line.Write(sent); err != nil {
			return message{}, fmt.Errorf("%w: write: %w", errLine, err)
		}
		found, answer, err := w.listen(ctx, m, sent, silence)
		switch {
		case err != nil:
			return message{}, err
		case found == anAnswer:
			return answer, check(m, answer)
		case found == noise && !w.known:
			// Whether our NAK came back as an echo could not be told.
			return message{}, fmt.Errorf("%w: %w", reader.ErrFault, errFrame)
		case found == noise:
			sent = nakFrame
		}
		// After aNAK what was sent last is sent again: where that was our own NAK,
		// the command has arrived and must not be repeated.
	}
	return message{}, fmt.Errorf("%w: %w after %d attempts", reader.ErrFault, errFrame, maxRounds)
}

// check judges whether an answer is one to m.
func check(m, answer message) error {
	if answer.Kind != m.Kind.answers() || answer.Slot != m.Slot {
		return fmt.Errorf("%w: message %02X for slot %d answers %02X for slot %d",
			reader.ErrFault, answer.Kind, answer.Slot, m.Kind, m.Slot)
	}
	return nil
}

// listen waits for what follows a frame: an answer to m, a NAK, or noise that has
// ended.
func (w *wire) listen(ctx context.Context, m message, sent []byte, silence time.Duration) (what, message, error) {
	var echo []byte // still to come
	if w.echo {
		echo = sent
	}
	last := time.Now() // when something came
	for stray := 0; ; stray++ {
		if stray > maxStray {
			return 0, message{}, fmt.Errorf("%w: the reader never answers", reader.ErrFault)
		}
		// Notices come between frames, so also before the echo begins.
		within := len(echo) > 0 && len(echo) < len(sent)
		if len(echo) > 0 && w.dec.partial() && (within || w.dec.buf[0] == syncByte) {
			n := min(len(echo), len(w.dec.buf))
			if !bytes.Equal(w.dec.buf[:n], echo[:n]) {
				return w.settle(ctx)
			}
			w.dec.skip(n)
			echo = echo[n:]
			continue
		}
		found, answer := w.dec.next()
		switch found {
		case nothing:
			if err := w.more(ctx, last, silence, within); err != nil {
				if errors.Is(err, errFrame) {
					return w.settle(ctx)
				}
				return 0, message{}, err
			}
			last = time.Now()
		case noise:
			return w.settle(ctx)
		case aNAK:
			if w.dec.partial() {
				return w.settle(ctx) // a NAK is all that a reader then sends
			}
			return aNAK, message{}, nil
		case inserted, removed:
			w.told(found)
		case patience:
		case anAnswer:
			switch {
			case answer.Kind < dataBlock:
				if w.known || answer.Kind != m.Kind || answer.Seq != m.Seq || !bytes.Equal(answer.Data, m.Data) {
					return w.settle(ctx)
				}
				w.known, w.echo = true, true
			case answer.Seq != m.Seq:
				if bytes.Equal(sent, nakFrame) {
					return 0, message{}, fmt.Errorf("%w: the reader repeats an older answer", reader.ErrFault)
				}
			case answer.Extra[0]>>6 == 2: // time extension (CCID 1.1, 6.2-3)
			default:
				w.known = true
				return anAnswer, answer, nil
			}
		}
	}
}

// more reads what the line has. The error wraps errFrame where a frame, or the
// echo, stopped in its middle.
func (w *wire) more(ctx context.Context, last time.Time, silence time.Duration, within bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := w.line.Read(w.read[:])
		if n > 0 {
			w.dec.feed(w.read[:n])
			clear(w.read[:n])
			return nil
		}
		quiet := time.Since(last)
		switch {
		case err != nil && !errors.Is(err, ErrNothing):
			return fmt.Errorf("%w: read: %w", errLine, err)
		case (within || w.dec.partial()) && quiet >= gap:
			return errFrame
		case silence > 0 && quiet >= silence:
			return errSilent
		}
	}
}

// settle throws away what comes until the line falls silent: after noise nothing
// in the same burst is trusted, because the data of a broken frame could be made
// to look like another.
func (w *wire) settle(ctx context.Context) (what, message, error) {
	for thrown := 0; thrown < maxNoise; {
		if err := ctx.Err(); err != nil {
			return 0, message{}, err
		}
		n, err := w.line.Read(w.read[:])
		thrown += n
		switch {
		case n > 0:
			clear(w.read[:n])
		case errors.Is(err, ErrNothing):
			w.dec.reset()
			return noise, message{}, nil
		case err != nil:
			return 0, message{}, fmt.Errorf("%w: read: %w", errLine, err)
		}
	}
	w.dec.reset()
	return 0, message{}, fmt.Errorf("%w: the line is never silent", reader.ErrFault)
}

// presence is what a reader says of its card in every answer (bmICCStatus).
type presence byte

const (
	active   presence = iota // there, with power
	inactive                 // there, without
	absent
)

// presence returns where the card stands. A value that the standard reserves
// counts as absent.
func (m message) presence() presence { return min(presence(m.Extra[0]&3), absent) }

// failed returns an error wrapping [reader.ErrFault], or [reader.ErrNoCard] where
// the card is gone, if the reader says that it could not do a command.
func (m message) failed() error {
	if m.Extra[0]>>6 == 0 {
		return nil
	}
	if m.presence() == absent {
		return fmt.Errorf("%w: %s", reader.ErrNoCard, meaning(m.Extra[1]))
	}
	return fmt.Errorf("%w: %s", reader.ErrFault, meaning(m.Extra[1]))
}

// meanings are the reader's reasons (CCID 1.1, table 6.2-2).
var meanings = map[byte]string{
	0x00: "command not supported", 0x01: "wrong length", 0x05: "no such slot",
	0xFF: "command aborted", 0xFE: "the card does not answer", 0xFD: "parity error", 0xFC: "overrun",
	0xFB: "hardware error", 0xF8: "wrong TS in the answer to reset", 0xF7: "wrong TCK in the answer to reset",
	0xF6: "protocol not supported", 0xF5: "class not supported", 0xF4: "procedure byte conflict",
	0xF3: "deactivated protocol", 0xF2: "busy with an automatic sequence", 0xF0: "PIN entry timed out",
	0xEF: "PIN entry cancelled", 0xE0: "slot busy",
}

func meaning(code byte) string {
	if text := meanings[code]; text != "" {
		return text
	}
	return fmt.Sprintf("reader error %02X", code)
}
