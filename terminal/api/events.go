package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"onecard/fault"
	"onecard/terminal"
)

// ErrTooMany refuses one stream of events too many.
var ErrTooMany = fault.New(fault.TooManyCallers, "too many event streams")

// Bounds of the event streams.
const (
	maxStreams   = 32
	writeTime    = 5 * time.Second
	pingInterval = 20 * time.Second
)

// An Event is one message on /v1/events. Type is "state"; State is the newest
// there is, so that a reader that was slow has missed only what is out of date.
type Event struct {
	Type  string         `json:"type"`
	State terminal.State `json:"state"`
}

// events serves the WebSocket /v1/events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		s.fail(w, r, ErrTooMany)
		return
	}
	// The guard has refused foreign origins already, by rules that also hold
	// for callers without one.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	// Nobody has anything to say here: what a caller sends ends the stream.
	ctx := conn.CloseRead(r.Context())
	if err := s.stream(ctx, conn); err != nil && !errors.Is(err, context.Canceled) {
		s.log.WithError(err).Debug("event stream ended")
	}
	conn.Close(websocket.StatusGoingAway, "")
}

func (s *Server) stream(ctx context.Context, conn *websocket.Conn) error {
	news, end := s.desk.Subscribe()
	defer end()
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return nil
		case <-news:
			text, err := json.Marshal(Event{"state", s.desk.State()})
			if err != nil {
				return err
			}
			if err := bounded(ctx, func(ctx context.Context) error {
				return conn.Write(ctx, websocket.MessageText, text)
			}); err != nil {
				return err
			}
		case <-ping.C:
			if err := bounded(ctx, conn.Ping); err != nil {
				return err
			}
		}
	}
}

func bounded(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	return do(ctx)
}
