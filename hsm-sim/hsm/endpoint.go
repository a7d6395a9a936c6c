package hsm

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"
)

// An endpoint is one address and what is known of it. Under Client.mu.
type endpoint struct {
	addr     string
	conns    []*conn // alive
	dialling bool
	failures int       // since the last good answer
	retryAt  time.Time // no dialling before
	lastErr  error     // why the last connection or dial failed
}

// dial starts connecting to e unless it is to be left alone. It says whether
// somebody is connecting now. Under mu.
func (c *Client) dial(e *endpoint) bool {
	if e.dialling {
		return true
	}
	if c.closed || c.now().Before(e.retryAt) {
		return false
	}
	e.dialling = true
	c.wg.Go(func() {
		cn, err := c.connect(e)
		c.mu.Lock()
		e.dialling = false
		closed := c.closed
		switch {
		case err != nil:
			c.backOff(e, err)
		case !closed:
			e.conns = append(e.conns, cn)
			e.lastErr = nil
			c.wg.Go(cn.read)
			c.wg.Go(cn.write)
		}
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
		if err == nil && closed {
			cn.fail(errClosed)
		}
	})
	return true
}

// backOff leaves e alone for a while: twice as long each time, a fifth more or
// less, so that many terminals do not return together. Under mu.
func (c *Client) backOff(e *endpoint, err error) {
	wait := c.maxBackoff
	if e.failures < 16 {
		wait = min(c.minBackoff<<e.failures, c.maxBackoff)
	}
	e.failures++
	e.lastErr = err
	e.retryAt = c.now().Add(wait*4/5 + rand.N(wait*2/5+1))
}

// forget drops a connection that has failed; a bad one makes its address be
// left alone for a while. Under mu, and the connection's.
func (c *Client) forget(cn *conn, bad bool) {
	e := cn.endpoint
	e.conns = slices.DeleteFunc(e.conns, func(other *conn) bool { return other == cn })
	if bad && !c.closed {
		c.backOff(e, cn.cause)
	}
}

// answered notes that e works.
func (c *Client) answered(e *endpoint) {
	c.mu.Lock()
	e.failures = 0
	c.mu.Unlock()
}

// connect dials, does TLS and makes sure that an HSM of this protocol answers.
func (c *Client) connect(e *endpoint) (*conn, error) {
	if err := CheckAddress(e.addr); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.dialTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", e.addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	cn, err := c.greet(ctx, e, nc)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrRefused) {
			err = fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return nil, err
	}
	return cn, nil
}

func (c *Client) greet(ctx context.Context, e *endpoint, raw net.Conn) (*conn, error) {
	nc := raw
	if c.tls != nil {
		config := c.tls.Clone()
		if config.ServerName == "" {
			host, _, err := net.SplitHostPort(e.addr)
			if err != nil {
				return nil, err
			}
			config.ServerName = host
		}
		secured := tls.Client(nc, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			var noTLS tls.RecordHeaderError
			if errors.As(err, &noTLS) {
				return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
			}
			return nil, fmt.Errorf("TLS: %w", err)
		}
		nc = secured
	}
	const id = 1
	hello, err := AppendFrame(nil, Frame{Version: Version, Kind: Request, Command: CommandStatus, ID: id, Fields: c.hello()})
	if err != nil {
		return nil, err
	}
	if _, err := nc.Write(hello); err != nil {
		return nil, err
	}
	r := bufio.NewReader(nc)
	f, err := ReadFrame(r, MaxFrame)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	if f.Kind != Response || f.ID != id || f.Command != CommandStatus {
		return nil, fmt.Errorf("status: %w: answer to another request", ErrProtocol)
	}
	if f.Status != StatusOK {
		text, _ := f.Value(TagText)
		return nil, &RefusedError{CommandStatus, f.Status, printable(text)}
	}
	if err := CheckResponse(&f); err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	if _, err := ParseInfo(&f); err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	return newConn(c, e, raw, nc, r, id+1), nil
}
