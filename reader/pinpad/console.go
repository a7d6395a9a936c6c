package pinpad

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"onecard/fault"
)

// ErrNoConsole: there is no terminal to enter a PIN at.
var ErrNoConsole = fault.New(fault.NoPINPad, "no terminal to enter the PIN at")

// Console is the terminal that a program was started at, as a pad for development:
// the person at it sees a prompt and types, and nothing is echoed. The digits are in
// this computer's memory until the card has them.
type Console struct {
	name string
	turn chan struct{} // one entry at a time
}

// NewConsole returns the pad at a terminal: the name of its device, or the
// program's own where it is empty, which has to be its standard input, too. The
// error wraps [ErrNoConsole] where there is none: whoever configures this pad must
// not find out at the first PIN.
func NewConsole(name string) (*Console, error) {
	c := &Console{name: name, turn: make(chan struct{}, 1)}
	if name == "" {
		c.name = ownTerminal
		if !isTerminal(os.Stdin) {
			return nil, fmt.Errorf("console: standard input is no terminal: %w", ErrNoConsole)
		}
	}
	t, err := openConsole(c.name)
	if err != nil {
		return nil, fmt.Errorf("console: %w: %w", ErrNoConsole, err)
	}
	if err := t.Close(); err != nil {
		return nil, fmt.Errorf("console: %w: %w", ErrNoConsole, err)
	}
	return c, nil
}

// Kind implements [Pad].
func (*Console) Kind() string { return "console" }

// The digits that a PIN can have.
const (
	consoleLeast = 4
	consoleMost  = 16
)

var consolePrompts = map[Prompt]string{
	Enter: "请输入密码（Esc 取消） / Enter the PIN (Esc cancels): ",
	Old:   "请输入原密码（Esc 取消） / Enter the old PIN (Esc cancels): ",
	New:   "请输入新密码（Esc 取消） / Enter the new PIN (Esc cancels): ",
	Again: "请再次输入新密码（Esc 取消） / Enter the new PIN again (Esc cancels): ",
}

// consoleOutcomes are what the person sees of an entry that gave no PIN.
var consoleOutcomes = map[error]string{
	ErrCancelled: "已取消 / cancelled",
	ErrTimeout:   "超时 / timed out",
	ErrLength:    "密码应为 4 到 16 位数字 / a PIN has 4 to 16 digits",
}

// Enter implements [Pad]. Besides [Pad]'s errors it fails with [ErrLength]. Escape and Ctrl-C
// cancel, backspace takes a digit back, Ctrl-U all of them. What was typed before the
// prompt is thrown away.
func (c *Console) Enter(ctx context.Context, prompt Prompt) (_ []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, EntryTime)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("console: %w", ended(ctx.Err()))
	}
	t, err := openConsole(c.name)
	if err != nil {
		return nil, fmt.Errorf("console: %w: %w", ErrNoConsole, err)
	}
	defer func() {
		if cerr := t.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("console: %w: %w", ErrNoConsole, cerr)
		}
	}()
	quiet, err := silence(t)
	if err != nil {
		return nil, fmt.Errorf("console: %w: %w", ErrNoConsole, err)
	}
	defer func() {
		if rerr := quiet.restore(); err == nil && rerr != nil {
			err = fmt.Errorf("console: %w: %w", ErrNoConsole, rerr)
		}
	}()
	if _, err := io.WriteString(t, consolePrompts[prompt]); err != nil {
		return nil, fmt.Errorf("console: %w: %w", ErrNoConsole, err)
	}
	// A deadline in the past makes the read return.
	stop := context.AfterFunc(ctx, func() { _ = t.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	digits, err := typed(t)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ended(ctx.Err())
	}
	said := ""
	for outcome, words := range consoleOutcomes {
		if errors.Is(err, outcome) {
			said = words
		}
	}
	if _, werr := io.WriteString(t, said+"\r\n"); err == nil && werr != nil {
		clear(digits)
		err = fmt.Errorf("%w: %w", ErrNoConsole, werr)
	}
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return digits, nil
}

// Keys beside the digits.
const (
	keyCtrlC     = 0x03
	keyBackspace = 0x08
	keyCtrlU     = 0x15
	keyEscape    = 0x1B
	keyDelete    = 0x7F
)

// typed reads keys until one ends the entry. What it returns is the caller's to wipe.
func typed(keys io.Reader) ([]byte, error) {
	var entry [consoleMost]byte
	var key [1]byte
	defer clear(entry[:])
	defer clear(key[:])
	count := 0
	for {
		n, err := keys.Read(key[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrNone, err) // the terminal went away
		case n == 0:
			continue
		}
		switch k := key[0]; {
		case k >= '0' && k <= '9':
			if count < consoleMost {
				entry[count] = k
			}
			count++ // one too many is remembered, not its value
		case k == '\r' || k == '\n':
			if count < consoleLeast || count > consoleMost {
				return nil, ErrLength
			}
			digits := make([]byte, count)
			copy(digits, entry[:])
			return digits, nil
		case k == keyEscape || k == keyCtrlC:
			return nil, ErrCancelled
		case k == keyBackspace || k == keyDelete:
			count = max(0, count-1)
		case k == keyCtrlU:
			count = 0
		}
	}
}
