// Package serial drives card readers on a serial line that speak CCID messages in
// frames with a checksum, as the serial readers do that pcsc-lite drives by its
// own driver libccidtwin:
//
//	d, err := serial.New([]serial.Port{{Name: "/dev/ttyUSB0"}})
//	w := reader.NewWatcher([]reader.Driver{d})
//
// A frame is 03 06, the message with its 10 bytes of header, and the XOR of all
// before it; 03 15 16 asks for the last frame again. Some readers send back every
// byte that they receive, before they answer: that is found out with the first
// answer. Rates are tried from 115200 down to 9600 bit/s where none is fixed.
//
// # What is supported
//
// Readers that exchange TPDUs, and one card in slot 0 of the reader. Over T=0 a
// command goes to the card as it is and 61xx and 6Cxx come back
// ([reader.T0Link]); over T=1 this package makes the blocks, chains them, and
// answers the card's pleas for time. Commands are short: 255 bytes of data, 256
// of answer; a card that wants CRC in its blocks is refused. The protocol is the first that the card offers, or the one that it
// insists on. Where a card offers another rate (TA1) that is negotiated by PPS; a
// card that declines is powered again and spoken to at its first rate.
//
// # What is certain
//
// An answer is accepted when its checksum, its length, its type and its sequence
// number are right. A broken one is asked for again; a command is sent again only
// where the reader says that it has not understood it. So no command is carried
// out twice, and none is answered by another's answer. Every wait ends with its
// context.
//
// One goroutine owns a port. It looks for a card three times a second while
// nothing else is said, and sees by the card's lost power that a card was taken
// out and put back between two looks. A reader whose line is hung up is gone, and
// looked for again with growing pauses up to a second; one that stops answering
// stays, as stuck, until it answers again, and its card then counts as inserted
// anew.
package serial

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"onecard/reader"
)

// A Port is a serial port with a reader on it.
type Port struct {
	Name string // the device: /dev/ttyUSB0, /dev/serial/by-id/..., COM3
	Baud int    // bits per second; 0 tries the usual rates
	Open Opener // nil is [OpenBugst]
}

// Rates are the rates that are tried on a port without a fixed one, in this order.
func Rates() []int { return []int{115200, 57600, 38400, 19200, 9600} }

// SlotName returns the name of the slot of a port.
func SlotName(port string) string { return "Serial " + port }

// An Info is what is known of a reader that answers.
type Info struct {
	Port     string
	Firmware string // what the reader calls itself; empty where it does not say
	Baud     int    // bits per second
	Echo     bool   // it sends back what it receives
}

// A Driver is the readers on a list of ports. It is safe for use by several
// goroutines.
type Driver struct {
	ports  []*port
	notice func(Info, error)
	tick   time.Duration // between looks for a card

	mu         sync.Mutex
	watched    bool
	changed    chan struct{} // closed and replaced at every change
	insertions uint64
	running    int           // goroutines of ports
	idle       chan struct{} // closed while running is 0
}

// An Option changes how a [Driver] works.
type Option func(*Driver)

// WithNotice calls f when a reader is found, with what it is, and when one is lost
// or cannot be found, with the error; not again for the same error. f must not
// block.
func WithNotice(f func(Info, error)) Option { return func(d *Driver) { d.notice = f } }

// WithLook replaces the third of a second between two looks for a card.
func WithLook(every time.Duration) Option { return func(d *Driver) { d.tick = every } }

// New returns the driver of these ports. Nothing is opened before Watch. No port
// may be named twice.
func New(list []Port, opts ...Option) (*Driver, error) {
	d := &Driver{notice: func(Info, error) {}, tick: time.Second / 3, changed: make(chan struct{}), idle: make(chan struct{})}
	close(d.idle)
	for _, o := range opts {
		o(d)
	}
	for _, p := range list {
		if p.Name == "" || p.Baud < 0 {
			return nil, fmt.Errorf("serial port %q at %d bit/s", p.Name, p.Baud)
		}
		if slices.ContainsFunc(d.ports, func(have *port) bool { return have.Name == p.Name }) {
			return nil, fmt.Errorf("serial port %s is named twice", p.Name)
		}
		if p.Open == nil {
			p.Open = OpenBugst
		}
		d.ports = append(d.ports, &port{Port: p, d: d, calls: make(chan *call), first: func() {}, links: make(map[*link]bool)})
	}
	return d, nil
}

// Kind returns "serial".
func (d *Driver) Kind() string { return "serial" }

// Readers returns the readers that answer, or did and are stuck now, by port.
func (d *Driver) Readers() []Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []Info
	for _, p := range d.ports {
		if p.there {
			list = append(list, p.info)
		}
	}
	return list
}

// closeTime is how long the end of a watch waits for a call of the operating
// system to come back.
const closeTime = 2 * time.Second

// Watch talks to the readers and reports their slots; see [reader.Driver]. The first
// report waits up to two seconds for readers that are slow to answer. A port
// without a reader has no slot. Links work while Watch runs.
func (d *Driver) Watch(ctx context.Context, report func(reader.Snapshot)) error {
	d.mu.Lock()
	if d.watched || d.running > 0 {
		d.mu.Unlock()
		return fmt.Errorf("%w: the serial ports are in use already", reader.ErrBusy)
	}
	d.watched = true
	if d.running = len(d.ports); d.running > 0 {
		d.idle = make(chan struct{})
	}
	d.mu.Unlock()
	for _, p := range d.ports {
		p.looked = make(chan struct{})
		go func() {
			defer d.ended()
			p.run(ctx)
		}()
	}
	d.firstLook(ctx)
	var (
		last  []reader.SlotState
		known bool
	)
	for {
		slots, changed := d.slots()
		if !known || !slices.EqualFunc(last, slots, reader.SlotState.Equal) {
			known, last = true, slots
			report(reader.Snapshot{Slots: slices.Clone(slots)})
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
		}
		break
	}
	// A write to a line that takes nothing can block; closing frees it. What hangs
	// even then is left to Close.
	for range 2 {
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		err := d.Close(wait)
		cancel()
		if err == nil {
			break
		}
		d.cut()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watched = false
	return nil
}

// cut closes the lines under their owners.
func (d *Driver) cut() {
	d.mu.Lock()
	var lines []Line
	for _, p := range d.ports {
		if p.line != nil {
			lines = append(lines, p.line)
		}
	}
	d.mu.Unlock()
	for _, l := range lines {
		_ = l.Close() // the owner sees it
	}
}

// firstTime is how long the first report waits for ports that are slow to answer.
const firstTime = 2 * time.Second

// firstLook waits until every port was looked at once: a program that looks at the
// picture just once is to see the readers there are.
func (d *Driver) firstLook(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstTime)
	defer cancel()
	for _, p := range d.ports {
		select {
		case <-p.looked:
		case <-ctx.Done():
		}
	}
}

// ended counts a port's goroutine out.
func (d *Driver) ended() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running--; d.running == 0 {
		close(d.idle)
	}
}

// Close waits, after Watch has ended, until the goroutines of all ports have. One
// can hang in a call of the operating system: Close returns when ctx ends, with an
// error wrapping [reader.ErrStuck].
func (d *Driver) Close(ctx context.Context) error {
	d.mu.Lock()
	idle := d.idle
	d.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		d.mu.Lock()
		defer d.mu.Unlock()
		return fmt.Errorf("%w: %d serial ports still in a call", reader.ErrStuck, d.running)
	}
}

// slots returns the picture, sorted by name, and what is closed when it changes.
func (d *Driver) slots() ([]reader.SlotState, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []reader.SlotState
	for _, p := range d.ports {
		if p.there {
			list = append(list, p.state())
		}
	}
	slices.SortFunc(list, func(a, b reader.SlotState) int { return strings.Compare(a.Slot, b.Slot) })
	return list, d.changed
}

// wake tells watchers and waiting links to look. The caller holds mu.
func (d *Driver) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Open connects to the card in a reader; see [reader.Driver]. Several links can be
// open to a card that none has exclusively: they share its state, as programs do
// through a smart-card service.
func (d *Driver) Open(ctx context.Context, slot string, sharing reader.Sharing) (reader.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.ports, func(p *port) bool { return SlotName(p.Name) == slot })
	if i < 0 {
		return nil, fmt.Errorf("%w: %s", reader.ErrNoReader, slot)
	}
	p := d.ports[i]
	switch {
	case !p.there:
		return nil, reader.ErrReaderGone
	case p.stuck:
		return nil, reader.ErrStuck
	case !p.present:
		return nil, reader.ErrNoCard
	case len(p.card.atr) == 0:
		return nil, reader.ErrMute
	case p.exclusive != nil, sharing == reader.Exclusive && len(p.links) > 0:
		return nil, reader.ErrBusy
	}
	l := &link{p: p, card: p.card}
	if sharing == reader.Exclusive {
		p.exclusive = l
	}
	p.links[l] = true
	d.wake()
	return l, nil
}
