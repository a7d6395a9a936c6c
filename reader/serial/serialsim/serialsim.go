// Package serialsim is a simulated card reader on a serial line: CCID messages in
// frames with a checksum, a card inside, and faults to order. On a
// pseudo-terminal it stands in for a reader before drivers that know nothing of
// onecard, such as libccidtwin of pcsc-lite:
//
//	r := serialsim.New(serialsim.Config{Echo: true})
//	r.Insert(card)
//	line, err := serialsim.OpenPty("/tmp/reader")
//	err = r.Serve(ctx, line)
//
// It exchanges T=0 TPDUs, strictly: a command with data has no Le, and what the
// card has to say to it is fetched by GET RESPONSE after 61xx. It is written from
// the description of the line and shares no code with the driver beside it.
package serialsim

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A Card is what is put into the reader; that of onecard/reader/virtual. Its
// methods are never called at the same time.
type Card interface {
	PowerOn() (atr []byte)
	PowerOff()
	Transmit(command []byte) (response []byte)
}

// DefaultFirmware is what the reader calls itself.
const DefaultFirmware = "onecard simulated serial reader 1.0"

// A Config says what kind of reader it is.
type Config struct {
	Echo     bool   // it sends back every byte that it receives, before it answers
	Fragment int    // it sends at most so many bytes at a time; 0 whole frames
	Mute     bool   // its card never answers to reset
	Firmware string // its name; empty is DefaultFirmware
	Baud     int    // bits per second that the line passes; 0 no limit
	Faults   []Fault
}

// ErrDisappeared is what Serve returns when the reader was ordered to disappear.
var ErrDisappeared = errors.New("the simulated reader was unplugged")

// fragmentPause separates fragments, so that the other side reads them apart.
const fragmentPause = 200 * time.Microsecond

// maxData bounds the data of a message.
const maxData = 261

// frameTime is how long a frame may pause before the reader forgets what came of
// it.
const frameTime = 400 * time.Millisecond

// A Reader is a simulated reader. It is safe for use by several goroutines.
type Reader struct {
	mu       sync.Mutex
	config   Config
	faults   []Fault
	card     Card
	powered  bool
	tell     bool   // card movements are told before the next answer
	moves    []byte // to be told
	params   [2][]byte
	protocol byte
	fresh    bool   // nothing but PPS was said since the answer to reset
	rest     []byte // of an answer, for GET RESPONSE
	seen     int    // commands understood
	carried  int    // commands that the card carried out
}

// New returns a reader without a card.
func New(config Config) *Reader {
	if config.Firmware == "" {
		config.Firmware = DefaultFirmware
	}
	r := &Reader{config: config}
	r.Order(config.Faults...)
	return r
}

// Insert puts a card into the reader, in the place of one that is there.
func (r *Reader) Insert(c Card) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.eject()
	r.card = c
	if r.tell {
		r.moves = append(r.moves, 0x50, 0x03)
	}
}

// Remove takes the card out.
func (r *Reader) Remove() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.eject()
}

func (r *Reader) eject() {
	if r.card == nil {
		return
	}
	r.off()
	r.card = nil
	if r.tell {
		r.moves = append(r.moves, 0x50, 0x02)
	}
}

func (r *Reader) off() {
	if r.powered {
		r.card.PowerOff()
	}
	r.powered, r.rest = false, nil
}

// Carried returns how many commands the card has carried out.
func (r *Reader) Carried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.carried
}

// Serve is the reader on a line until ctx ends, which closes the line, or the line
// does. It closes the line in any case. The error is nil when ctx ended,
// [ErrDisappeared], or the line's.
func (r *Reader) Serve(ctx context.Context, line io.ReadWriteCloser) error {
	ctx, cancel := context.WithCancel(ctx)
	var closed sync.WaitGroup
	closed.Go(func() {
		<-ctx.Done()
		_ = line.Close() // it may have failed
	})
	defer closed.Wait()
	defer cancel()
	c := conversation{r: r, line: line}
	buf := make([]byte, 1024)
	for {
		n, err := line.Read(buf)
		if n > 0 && err == nil {
			err = c.take(ctx, buf[:n])
		}
		switch {
		case err == nil:
		case errors.Is(err, ErrDisappeared):
			return err
		case ctx.Err() != nil:
			return nil
		default:
			return fmt.Errorf("simulated reader: %w", err)
		}
	}
}

// A conversation is the reader's side of a line.
type conversation struct {
	r     *Reader
	line  io.ReadWriter
	frame []byte
	at    time.Time // of the frame's last bytes
	last  []byte    // what was sent last, for NAK
}

var nakFrame = []byte{0x03, 0x15, 0x16}

// take takes bytes from the line.
func (c *conversation) take(ctx context.Context, in []byte) error {
	if len(c.frame) > 0 && time.Since(c.at) > frameTime {
		c.frame = c.frame[:0]
	}
	c.at = time.Now()
	c.r.mu.Lock()
	config := c.r.config
	c.r.mu.Unlock()
	if err := pass(ctx, config.Baud, len(in)); err != nil {
		return err
	}
	for len(in) > 0 {
		n := 0
		whole := false
		for n < len(in) && !whole {
			c.frame = append(c.frame, in[n])
			n++
			whole = c.judge()
		}
		if config.Echo {
			echo := bytes.Clone(in[:n])
			if c.r.due(GarbleEcho) {
				echo[len(echo)/2] ^= 0x40
			}
			if err := c.pieces(ctx, echo, 0, config.Fragment); err != nil {
				return err
			}
		}
		in = in[n:]
		if whole {
			if err := c.answer(ctx, config); err != nil {
				return err
			}
			c.frame = c.frame[:0]
		}
	}
	return nil
}

// judge reports whether a frame is whole. What cannot begin one is dropped.
func (c *conversation) judge() bool {
	f := c.frame
	switch {
	case f[0] != 0x03, len(f) > 1 && f[1] != 0x06 && f[1] != 0x15:
		c.frame = f[:0]
	case len(f) < 3:
	case f[1] == 0x15:
		return true
	case len(f) >= 7:
		n := binary.LittleEndian.Uint32(f[3:])
		return n > maxData || len(f) == 13+int(n)
	}
	return false
}

// answer answers a frame.
func (c *conversation) answer(ctx context.Context, config Config) error {
	var sum byte
	for _, b := range c.frame {
		sum ^= b
	}
	r := c.r
	if c.frame[1] == 0x15 {
		if sum != 0 || c.last == nil {
			return c.send(ctx, config, nakFrame)
		}
		out := c.last
		if r.due(Corrupt) {
			out = spoil(out)
		}
		return c.pieces(ctx, out, config.Baud, config.Fragment)
	}
	if sum != 0 || len(c.frame) < 13 {
		return c.send(ctx, config, nakFrame)
	}
	r.count()
	switch {
	case r.due(Disappear):
		return ErrDisappeared
	case r.due(Stall):
		return nil
	case r.due(NAK):
		return c.send(ctx, config, nakFrame)
	}
	moves, msg := r.handle(c.frame[2 : len(c.frame)-1])
	out := append([]byte{0x03, 0x06}, msg...)
	var lrc byte
	for _, b := range out {
		lrc ^= b
	}
	out = append(out, lrc)
	if len(moves) > 0 {
		if err := c.pieces(ctx, moves, config.Baud, config.Fragment); err != nil {
			return err
		}
	}
	if r.due(DisappearAfter) {
		return ErrDisappeared
	}
	c.last = out
	switch {
	case r.due(Corrupt):
		out = spoil(out)
	case r.due(Cut):
		out = out[:len(out)-len(out)/3]
	case r.due(Stale):
		old := bytes.Clone(out)
		old[8]--
		old[len(old)-1] ^= old[8] ^ out[8]
		out = append(old, out...)
	case r.due(Silent):
		return nil
	}
	return c.pieces(ctx, out, config.Baud, config.Fragment)
}

// spoil returns a frame with one byte changed.
func spoil(frame []byte) []byte {
	out := bytes.Clone(frame)
	out[len(out)-2] ^= 0x08
	return out
}

// send sends a frame and keeps it for a NAK.
func (c *conversation) send(ctx context.Context, config Config, frame []byte) error {
	c.last = frame
	return c.pieces(ctx, frame, config.Baud, config.Fragment)
}

// pieces sends bytes as the reader does.
func (c *conversation) pieces(ctx context.Context, out []byte, baud, fragment int) error {
	if err := pass(ctx, baud, len(out)); err != nil {
		return err
	}
	if fragment <= 0 {
		fragment = len(out)
	}
	for len(out) > 0 {
		n := min(fragment, len(out))
		if _, err := c.line.Write(out[:n]); err != nil {
			return err
		}
		if out = out[n:]; len(out) > 0 {
			if err := wait(ctx, fragmentPause); err != nil {
				return err
			}
		}
	}
	return nil
}

// pass waits as long as n bytes take at a rate, each with a start and a stop bit.
func pass(ctx context.Context, baud, n int) error {
	if baud <= 0 {
		return nil
	}
	return wait(ctx, time.Duration(n)*10*time.Second/time.Duration(baud))
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
