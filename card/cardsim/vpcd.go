package cardsim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/fault"
)

// ErrListen is wrapped by the error for an address that cannot be one.
var ErrListen = fault.New(fault.SimulatorListen, "the simulator cannot use this address")

// Control bytes of vpcd: frames of one byte.
const (
	vpcdOff   = 0
	vpcdOn    = 1
	vpcdReset = 2
	vpcdATR   = 4
)

// How long a connection may take, and how long to wait before the next try:
// twice as long after every failure.
const (
	dialTimeout  = 5 * time.Second
	firstBackOff = 100 * time.Millisecond
	lastBackOff  = 5 * time.Second
)

// A Chip is what a reader can hold: a [Card] or a [PSAM].
type Chip interface {
	ATR() []byte
	PowerOn() []byte
	PowerOff()
	Transmit(command []byte) []byte

	logger() logrus.FieldLogger
}

func (c *Card) logger() logrus.FieldLogger { return c.log }

// errTorn ends the connection of a card that lost its power in a command: it is
// out of the reader and comes back as after any other end.
var errTorn = errors.New("the simulated card was torn out")

// ServeVPCD plugs the card into a virtual reader of vsmartcard's vpcd, which
// pcscd shows as a real one. The card is a TCP client: slot 0 listens on
// 127.0.0.1:35963, slot 1 on 35964. The card stays plugged in, through restarts
// of pcscd too, until ctx ends; then it is pulled out and ServeVPCD returns
// nil. A card that its tear point tears out leaves the reader without an answer
// and is put in again. An error means that the address cannot be one; it wraps [ErrListen].
func ServeVPCD(ctx context.Context, addr string, c Chip) error {
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return fmt.Errorf("vpcd address: %w: want host:port", ErrListen)
	}
	log := c.logger().WithField("vpcd", addr)
	dialer := net.Dialer{Timeout: dialTimeout}
	wait := firstBackOff
	for {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil {
			log.Info("simulated card inserted")
			wait = firstBackOff
			err = servePlugged(ctx, conn, c)
		}
		c.PowerOff()
		if ctx.Err() != nil {
			log.Info("simulated card taken out")
			return nil
		}
		if errors.Is(err, errTorn) {
			log.WithField("retry_in", wait).Warn("simulated card torn out; it will be put in again")
		} else {
			log.WithError(err).WithField("retry_in", wait).Warn("no virtual reader; is pcscd with vpcd running?")
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		wait = min(2*wait, lastBackOff)
	}
}

// servePlugged answers one connection until it ends.
func servePlugged(ctx context.Context, conn net.Conn, c Chip) error {
	defer func() {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			c.logger().WithError(err).Debug("close vpcd connection")
		}
	}()
	stop := context.AfterFunc(ctx, func() {
		// Ends the read below, which reports it.
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	defer stop()
	in := &eagerReader{conn: conn}
	if err := in.eager(); err != nil {
		c.logger().WithError(err).Warn("TCP_QUICKACK is not to be had: every command will take 40 ms")
	}
	var size [2]byte
	buf := make([]byte, 0xFFFF)
	for {
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return fmt.Errorf("read from vpcd: %w", err)
		}
		frame := buf[:binary.BigEndian.Uint16(size[:])]
		if _, err := io.ReadFull(in, frame); err != nil {
			return fmt.Errorf("read from vpcd: %w", err)
		}
		answer, ok := answerFrame(c, frame)
		if !ok {
			continue
		}
		if len(frame) > 1 && answer == nil {
			return errTorn
		}
		out := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(answer)), uint16(len(answer)))
		if _, err := conn.Write(append(out, answer...)); err != nil {
			return fmt.Errorf("write to vpcd: %w", err)
		}
	}
}

// answerFrame runs one frame. Power frames have no answer.
func answerFrame(c Chip, frame []byte) ([]byte, bool) {
	if len(frame) == 0 {
		return nil, false
	}
	if len(frame) > 1 {
		return c.Transmit(frame), true
	}
	switch frame[0] {
	case vpcdOff:
		c.PowerOff()
	case vpcdOn, vpcdReset:
		c.PowerOn()
	case vpcdATR:
		return c.ATR(), true
	default:
		c.logger().WithField("control", frame[0]).Warn("unknown control byte from vpcd")
	}
	return nil, false
}

// An eagerReader acknowledges every segment at once. vpcd sends length and
// payload separately, so that its kernel holds the payload back until the
// length is acknowledged, which ours would delay by 40 ms; and the kernel falls
// back to delaying after every read.
type eagerReader struct{ conn net.Conn }

func (r *eagerReader) Read(b []byte) (int, error) {
	n, err := r.conn.Read(b)
	if err == nil {
		// A refusal was reported when the connection began.
		_ = r.eager()
	}
	return n, err
}

func (r *eagerReader) eager() error {
	tcp, ok := r.conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	return acknowledgeAtOnce(tcp)
}
