package serial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"onecard/reader"
)

const (
	// probeTime is how long a reader may take for the first byte of an answer
	// while its rate is being looked for.
	probeTime = 300 * time.Millisecond
	// quietTime is how long a reader may take for an answer that it gives without
	// its card.
	quietTime = time.Second
	// powerTime bounds an answer to reset, which a mute card makes the reader
	// wait for at every voltage.
	powerTime = 10 * time.Second
	// A port that cannot be opened, or has no reader, is tried again after pauses
	// that grow from the first to the second.
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
	// tries is how often a look is repeated after noise.
	tries = 3
)

// A port is one serial port with the goroutine that owns its line.
type port struct {
	Port
	d      *Driver
	calls  chan *call
	looked chan struct{} // closed when the port was looked at once

	// Of the goroutine alone.
	good  int    // the rate at which the reader answered last
	moved bool   // the reader told that its card went
	said  string // the error that was noticed last
	first func() // closes looked

	// Guarded by the driver's mu.
	line      Line // while it is open
	there     bool // a reader answered on the line
	stuck     bool // and does not any more
	present   bool
	insertion uint64
	card      card
	info      Info
	gone      chan struct{} // closed when the reader vanishes
	links     map[*link]bool
	exclusive *link
	holder    *link // whose commands go to the card
}

// A card is what is known of a card with power. It has no ATR where it is mute.
type card struct {
	atr      []byte
	protocol byte
	blocks   *blocks // of T=1
}

// A call is made by the port's goroutine.
type call struct {
	ctx  context.Context
	f    func(context.Context, *wire) error
	done chan error // has room for the one error
}

// state returns the slot. The caller holds mu.
func (p *port) state() reader.SlotState {
	return reader.SlotState{
		Slot: SlotName(p.Name), Kind: "serial", Present: p.present, Mute: p.present && len(p.card.atr) == 0,
		InUse: len(p.links) > 0, Exclusive: p.exclusive != nil, Stuck: p.stuck, ATR: p.card.atr, Insertion: p.insertion,
	}
}

// do lets the port's goroutine make a call, and returns when ctx ends whatever
// becomes of it. A reader whose answer was not waited for is stuck until it
// answers again.
func (p *port) do(ctx context.Context, f func(context.Context, *wire) error) error {
	p.d.mu.Lock()
	gone := p.gone
	p.d.mu.Unlock()
	c := &call{ctx: ctx, f: f, done: make(chan error, 1)}
	select {
	case p.calls <- c:
	case <-gone:
		return reader.ErrCardRemoved
	case <-ctx.Done():
		return p.late(ctx.Err())
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return p.late(ctx.Err())
	}
}

// late makes the reader stuck and returns what a call that was not waited for
// returns.
func (p *port) late(why error) error {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	if p.there {
		p.stuck = true
	}
	p.end(reader.ErrStuck)
	if errors.Is(why, context.Canceled) {
		return why
	}
	return fmt.Errorf("%w: %w", reader.ErrStuck, why)
}

// end makes every link useless for this reason. The caller holds mu.
func (p *port) end(why error) {
	for l := range p.links {
		l.dead = why
	}
	clear(p.links)
	p.exclusive, p.holder = nil, nil
	p.d.wake()
}

// remove takes note that the card is gone.
func (p *port) remove() {
	p.moved = false
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	if p.present {
		p.present, p.insertion, p.card = false, 0, card{}
		p.end(reader.ErrCardRemoved)
	}
}

// insert takes note that a card is there.
func (p *port) insert(c card) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.d.insertions++
	p.present, p.insertion, p.card = true, p.d.insertions, c
	p.d.wake()
}

// appear takes note that a reader answers.
func (p *port) appear(info Info) {
	p.said = ""
	p.d.mu.Lock()
	if !p.there {
		p.there, p.gone = true, make(chan struct{})
	}
	p.info = info
	p.d.wake()
	p.d.mu.Unlock()
	p.d.notice(info, nil)
}

// vanish takes note that the reader is gone, and why.
func (p *port) vanish(why error) {
	p.remove()
	p.d.mu.Lock()
	if p.there {
		p.there, p.stuck = false, false
		close(p.gone)
		p.end(reader.ErrCardRemoved)
	}
	p.d.mu.Unlock()
	p.complain(why)
}

// complain tells of an error once.
func (p *port) complain(err error) {
	if err != nil && p.said != err.Error() {
		p.said = err.Error()
		p.d.notice(Info{Port: p.Name}, err)
	}
}

// run owns the line until ctx ends.
func (p *port) run(ctx context.Context) {
	p.first = sync.OnceFunc(func() { close(p.looked) })
	defer p.first()
	defer p.vanish(nil)
	pause := firstPause
	for ctx.Err() == nil {
		w, info, err := p.detect(ctx)
		if err == nil {
			pause = firstPause
			p.appear(info)
			err = p.serve(ctx, w)
			_ = p.hold(nil).Close() // it has failed, or is done with
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errSilent):
			p.complain(err) // stays, as stuck, until it answers or its line goes
		default:
			p.vanish(err)
		}
		if pause > firstPause { // the second failure in a row: it is not just being plugged in
			p.first()
		}
		if !rest(ctx, pause) {
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// hold makes the open line known and returns the one before.
func (p *port) hold(line Line) Line {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	before := p.line
	p.line = line
	return before
}

// rest waits; it returns false when ctx has ended.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// rates returns the rates to try, the one that was right last first.
func (p *port) rates() []int {
	if p.Baud > 0 {
		return []int{p.Baud}
	}
	var list []int
	if p.good > 0 {
		list = append(list, p.good)
	}
	for _, r := range Rates() {
		if r != p.good {
			list = append(list, r)
		}
	}
	return list
}

// detect opens the port and looks for the rate at which a reader answers.
func (p *port) detect(ctx context.Context) (*wire, Info, error) {
	var last error
	for _, baud := range p.rates() {
		if ctx.Err() != nil {
			return nil, Info{}, ctx.Err()
		}
		line, err := p.Open(p.Name, baud)
		if err != nil {
			return nil, Info{}, fmt.Errorf("%w: open: %w", errLine, err)
		}
		p.hold(line)
		w := newWire(line, p.told)
		firmware, err := identify(ctx, w)
		if err == nil {
			p.good = baud
			return w, Info{Port: p.Name, Firmware: firmware, Baud: baud, Echo: w.echo}, nil
		}
		last = errors.Join(err, p.hold(nil).Close())
		if errors.Is(err, errLine) {
			break
		}
	}
	if !errors.Is(last, errLine) {
		last = fmt.Errorf("no reader answers on the line: %w: %w", errSilent, last)
	}
	return nil, Info{}, last
}

// told is what a reader says by itself.
func (p *port) told(what what) {
	if what == removed {
		p.moved = true
	}
}

// identify asks for the firmware's name, as pcsc-lite's driver does first, and a
// reader that does not know the question for its slot.
func identify(ctx context.Context, w *wire) (string, error) {
	var errs error
	for try := range tries {
		m := message{Kind: escape, Data: []byte{0x02}}
		if try == tries-1 {
			m = message{Kind: slotStatus}
		}
		a, err := w.exchange(ctx, m, probeTime)
		switch {
		case err == nil && m.Kind == escape && a.failed() == nil:
			return text(a.Data), nil
		case err == nil && m.Kind == slotStatus:
			return "", nil
		case errors.Is(err, errSilent) && try == 0 && !w.known:
			return "", err // most often the wrong rate
		case errors.Is(err, errLine), ctx.Err() != nil:
			return "", err
		}
		errs = errors.Join(errs, err)
	}
	return "", errors.Join(errSilent, errs)
}

// text makes a reader's name fit for logs and screens.
func text(b []byte) string {
	b = b[:min(len(b), 64)]
	if !utf8.Valid(b) {
		return fmt.Sprintf("%X", b)
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return -1
		}
		return r
	}, string(b)))
}

// serve makes calls and looks for a card until ctx ends or the reader is lost.
func (p *port) serve(ctx context.Context, w *wire) error {
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-p.calls:
			if err := p.make(c, w); err != nil {
				return err
			}
		case <-tick.C:
			if err := p.look(ctx, w); err != nil {
				return err
			}
			p.first()
		}
		tick.Reset(p.d.tick)
	}
}

// make makes a call and judges its error. It returns what ends the line's use.
func (p *port) make(c *call, w *wire) (over error) {
	err := c.f(c.ctx, w)
	switch {
	case err == nil:
	case errors.Is(err, errLine):
		over = err
		p.vanish(err)
		err = fmt.Errorf("%w: %w", reader.ErrCardRemoved, err)
	case c.ctx.Err() != nil:
		err = p.late(c.ctx.Err())
	case errors.Is(err, errSilent):
		err = p.late(err)
	case errors.Is(err, reader.ErrNoCard):
		p.remove()
		err = fmt.Errorf("%w: %w", reader.ErrCardRemoved, err)
	case errors.Is(err, reader.ErrMute):
		p.d.mu.Lock()
		p.card = card{}
		p.end(reader.ErrMute)
		p.d.mu.Unlock()
	case errors.Is(err, reader.ErrFault):
		// The card may have been pulled, which a reader need not say.
		before := p.current()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), quietTime)
		over = p.look(ctx, w)
		cancel()
		if over != nil {
			p.vanish(over)
		}
		if p.current() != before {
			err = fmt.Errorf("%w: %w", reader.ErrCardRemoved, err)
		}
	}
	c.done <- err
	return over
}

// current returns the number of the insertion.
func (p *port) current() uint64 {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	return p.insertion
}

// look asks whether a card is there, and gives power to one that was not. A
// reader that was stuck and answers has its card powered anew. The error is the
// end of the line, or wraps errSilent, which makes the reader stuck.
func (p *port) look(ctx context.Context, w *wire) error {
	a, err := p.ask(ctx, w)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errLine) {
			_ = p.late(err)
			err = fmt.Errorf("%w: %w", errSilent, err)
		}
		return err
	}
	p.d.mu.Lock()
	stuck, present, mute := p.stuck, p.present, len(p.card.atr) == 0
	p.d.mu.Unlock()
	is := a.presence()
	// A card that we gave power and that has none is another insertion, or another
	// card.
	if p.moved || stuck || is == absent || present && !mute && is == inactive {
		p.remove()
		present = false
	}
	if is != absent && !present {
		c, err := p.power(ctx, w)
		switch {
		case err == nil:
			p.insert(c)
		case errors.Is(err, reader.ErrMute):
			p.complain(err)
			p.insert(card{})
		case errors.Is(err, reader.ErrNoCard):
		case errors.Is(err, errLine), ctx.Err() != nil:
			return err
		case errors.Is(err, errSilent):
			_ = p.late(err)
			return err
		default:
			p.complain(err)
			return nil // the next look tries again
		}
	}
	if stuck {
		p.d.mu.Lock()
		p.stuck = false
		p.d.wake()
		p.d.mu.Unlock()
	}
	return nil
}

// ask asks for the slot's status, again after noise.
func (p *port) ask(ctx context.Context, w *wire) (a message, err error) {
	for range tries {
		a, err = w.exchange(ctx, message{Kind: slotStatus}, quietTime)
		if err == nil || !errors.Is(err, reader.ErrFault) || ctx.Err() != nil {
			return a, err
		}
	}
	return a, err
}
