package serial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bugst "go.bug.st/serial"

	"github.com/tarm/serial"

	"onecard/fault"
)

// A Line is an open serial line, 8 data bits, no parity, one stop bit. One
// goroutine reads and writes; Close may come from any.
type Line interface {
	// Read waits at most for [ReadTime] and returns what came; 0 and an error
	// wrapping [ErrNothing] where nothing did. Every other error is the end of the
	// line. It never returns 0 without an error.
	Read(p []byte) (int, error)
	// Write sends all of p or returns an error.
	Write(p []byte) (int, error)
	// Close releases the line.
	Close() error
}

// ReadTime is how long [Line.Read] waits for the first byte: the least that
// github.com/tarm/serial knows.
const ReadTime = 100 * time.Millisecond

// ErrNothing is wrapped by the error of a [Line.Read] during which nothing came.
var ErrNothing = errors.New("nothing came on the line")

// errHungUp is the end of a line that cannot say why.
var errHungUp = errors.New("the line was hung up")

// An Opener opens a serial port at a rate in bits per second.
type Opener func(port string, baud int) (Line, error)

// OpenBugst opens a port by go.bug.st/serial, which also knows rates that have no
// name and sees a cable that is pulled.
func OpenBugst(port string, baud int) (Line, error) {
	p, err := bugst.Open(port, &bugst.Mode{BaudRate: baud, DataBits: 8, Parity: bugst.NoParity, StopBits: bugst.OneStopBit})
	if err != nil {
		return nil, err
	}
	if err := p.SetReadTimeout(ReadTime); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return bugstLine{p}, nil
}

type bugstLine struct{ bugst.Port }

func (l bugstLine) Read(p []byte) (int, error) {
	n, err := l.Port.Read(p)
	if n == 0 && err == nil {
		err = ErrNothing // how this library tells a time-out
	}
	return n, err
}

func (l bugstLine) Write(p []byte) (int, error) {
	n, err := l.Port.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// Close drops what has not left yet: closing would wait for it, and a reader that
// has stalled takes nothing.
func (l bugstLine) Close() error {
	_ = l.Port.ResetOutputBuffer() // the line may be dead
	return l.Port.Close()
}

// OpenTarm opens a port by github.com/tarm/serial.
func OpenTarm(port string, baud int) (Line, error) {
	p, err := serial.OpenPort(&serial.Config{Name: port, Baud: baud, ReadTimeout: ReadTime})
	if err != nil {
		return nil, err
	}
	return &tarmLine{p: p, name: port}, nil
}

// tarmLine adds to github.com/tarm/serial what it does not see: that a read ended
// because the line did.
type tarmLine struct {
	p     *serial.Port
	name  string
	early int // reads in a row that ended long before their time
}

func (l *tarmLine) Read(p []byte) (int, error) {
	began := time.Now()
	n, err := l.p.Read(p)
	switch {
	case n > 0:
		l.early = 0
		return n, nil
	case err != nil && !errors.Is(err, io.EOF):
		return 0, err
	}
	// EOF, or nothing on Windows: a time-out, or a line that was hung up, where
	// every read returns at once.
	if time.Since(began) < ReadTime/4 {
		l.early++
	} else {
		l.early = 0
	}
	if _, err := os.Stat(l.name); l.early >= 3 || l.early > 0 && errors.Is(err, os.ErrNotExist) {
		return 0, errHungUp
	}
	return 0, ErrNothing
}

func (l *tarmLine) Write(p []byte) (int, error) {
	n, err := l.p.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

func (l *tarmLine) Close() error {
	_ = l.p.Flush() // see bugstLine.Close
	return l.p.Close()
}

// OpenerNamed returns the opener that a configuration names: "bugst", also for
// the empty name, or "tarm".
func OpenerNamed(name string) (Opener, error) {
	switch name {
	case "", "bugst":
		return OpenBugst, nil
	case "tarm":
		return OpenTarm, nil
	}
	return nil, fmt.Errorf("serial library %q: bugst or tarm", name)
}

// ErrPort: there is no such serial port, or this program's user may not open it.
var ErrPort = fault.New(fault.PortUnusable, "the serial port cannot be used")

// Usable reports why a port cannot be used, as far as that is known without opening
// it; nil where nothing speaks against it. Errors wrap [ErrPort].
func Usable(port string) error {
	if filepath.Separator == '/' {
		if _, err := os.Stat(port); err != nil {
			return fmt.Errorf("%w: %w", ErrPort, err)
		}
	}
	if err := permitted(port); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrPort, port, err)
	}
	return nil
}

// Ports returns the names of the machine's serial ports that have hardware behind
// them, sorted: the lasting names of /dev/serial/by-id, and of the rest those in
// sysfs whose device exists. No port is opened: opening sets a port's rate, which
// disturbs whoever talks on it. On a system without them the list is empty.
func Ports(ctx context.Context) ([]string, error) { return ports(ctx, "/") }

func ports(ctx context.Context, root string) ([]string, error) {
	var (
		list  []string
		named = make(map[string]bool) // devices that by-id has
	)
	links, err := filepath.Glob(filepath.Join(root, "dev/serial/by-id/*"))
	if err != nil {
		return nil, fmt.Errorf("list serial ports: %w", err)
	}
	for _, l := range links {
		target, err := filepath.EvalSymlinks(l)
		if err != nil {
			continue // unplugged meanwhile
		}
		list, named[target] = append(list, l), true
	}
	ttys, err := filepath.Glob(filepath.Join(root, "sys/class/tty/*"))
	if err != nil {
		return nil, fmt.Errorf("list serial ports: %w", err)
	}
	for _, tty := range ttys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		device := filepath.Join(root, "dev", filepath.Base(tty))
		if named[device] || !hardware(tty) {
			continue
		}
		if _, err := os.Stat(device); err == nil {
			list = append(list, device)
		}
	}
	slices.Sort(list)
	return list, nil
}

// hardware reports whether a tty of sysfs is a serial port with a chip behind it.
// The kernel lists UARTs that might be there as well: their type is 0, unknown.
func hardware(tty string) bool {
	if _, err := filepath.EvalSymlinks(filepath.Join(tty, "device/driver")); err != nil {
		return false
	}
	kind, err := os.ReadFile(filepath.Join(tty, "type"))
	return err != nil || strings.TrimSpace(string(kind)) != "0" // a USB adapter has no type
}
