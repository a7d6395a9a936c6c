package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"onecard/reader"
)

// errQuiet: nothing came for as long as was waited.
var errQuiet = errors.New("nothing came")

// closeTime bounds the wait for a port's calls to come back when it is closed.
const closeTime = 2 * time.Second

// A line gives a port deadlines. Two goroutines make its calls, which may block;
// close waits for both.
type line struct {
	port   Port
	in     chan []byte // closed when reading ended
	out    chan []byte
	wrote  chan error
	closed chan struct{}
	once   sync.Once
	ended  sync.WaitGroup
	err    error // why reading ended; set before in is closed
	broken error // a write did not come back
}

func newLine(port Port) *line {
	l := &line{port: port, in: make(chan []byte, 16), out: make(chan []byte), wrote: make(chan error, 1), closed: make(chan struct{})}
	l.ended.Go(l.reading)
	l.ended.Go(l.writing)
	return l
}

func (l *line) reading() {
	defer close(l.in)
	idle := 0
	for {
		buf := make([]byte, maxFrame)
		began := time.Now()
		n, err := l.port.Read(buf)
		if n > 0 {
			select {
			case l.in <- buf[:n]:
			case <-l.closed:
				return
			}
		}
		if err != nil {
			l.err = err
			return
		}
		select {
		case <-l.closed:
			return
		default:
		}
		// Nothing is a time-out of the port's own. A port that returns nothing
		// without waiting has ended; it must not be read in a busy loop.
		if n > 0 || time.Since(began) > time.Millisecond {
			idle = 0
		} else if idle++; idle > 1000 {
			l.err = io.ErrNoProgress
			return
		}
	}
}

func (l *line) writing() {
	for {
		select {
		case b := <-l.out:
			n, err := l.port.Write(b)
			if err == nil && n < len(b) {
				err = io.ErrShortWrite
			}
			l.wrote <- err
		case <-l.closed:
			return
		}
	}
}

// read returns the next bytes, [errQuiet] where none came for that long.
func (l *line) read(ctx context.Context, wait time.Duration) ([]byte, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case b, ok := <-l.in:
		if !ok {
			return nil, fmt.Errorf("%w: read: %w", reader.ErrReaderGone, l.err)
		}
		return b, nil
	case <-timer.C:
		return nil, errQuiet
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drain throws away what has come.
func (l *line) drain() {
	for {
		select {
		case _, ok := <-l.in:
			if !ok {
				return
			}
		default:
			return
		}
	}
}

// write sends bytes. Where the port does not take them before ctx ends the line
// is of no use any more: part of them may still leave.
func (l *line) write(ctx context.Context, b []byte) error {
	if l.broken != nil {
		return l.broken
	}
	select {
	case l.out <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-l.wrote:
		if err != nil {
			return fmt.Errorf("%w: write: %w", reader.ErrReaderGone, err)
		}
		return nil
	case <-ctx.Done():
		l.broken = fmt.Errorf("%w: the line takes no bytes", reader.ErrReaderGone)
		return ctx.Err()
	}
}

// close closes the port and waits for its calls.
func (l *line) close() error {
	var err error
	l.once.Do(func() {
		close(l.closed)
		// What waits to be sent would hold the call that sends it.
		if p, ok := l.port.(interface{ ResetOutputBuffer() error }); ok && l.broken != nil {
			err = p.ResetOutputBuffer()
		}
		err = errors.Join(err, l.port.Close())
	})
	done := make(chan struct{})
	go func() {
		l.ended.Wait()
		close(done)
	}()
	timer := time.NewTimer(closeTime)
	defer timer.Stop()
	select {
	case <-done:
		return err
	case <-timer.C:
		return errors.Join(err, fmt.Errorf("%w: the port's calls do not come back", reader.ErrStuck))
	}
}
