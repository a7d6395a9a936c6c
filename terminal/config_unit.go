package terminal

import (
	"fmt"
	"time"

	"onecard/reader/transport"
)

// What a motorised card unit does where the configuration says nothing.
const (
	defaultUnit         = "crt571"
	defaultUnitBaud     = 9600
	defaultCaptureAfter = Patience(time.Minute)
	defaultReturnAfter  = Patience(2 * time.Minute)
)

// Patience is how long a card unit waits before it does something by itself. It is
// written as a [Duration], or as "never".
type Patience time.Duration

// Never is a patience without end.
const Never Patience = -1

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Patience) UnmarshalText(text []byte) error {
	if string(text) == "never" {
		*p = Never
		return nil
	}
	var d Duration
	if err := d.UnmarshalText(text); err != nil {
		return err
	}
	*p = Patience(d)
	return nil
}

// Duration returns the patience, 0 for one without end.
func (p Patience) Duration() time.Duration { return max(0, time.Duration(p)) }

// checkUnit checks and completes what a motorised card unit is configured with.
func (r *ReaderConfig) checkUnit(key string) error {
	wrong := func(name, why string) error { return fmt.Errorf("%s%s: %s: %w", key, name, why, ErrConfig) }
	if r.Kind != "transport" {
		switch {
		case r.Unit != "":
			return wrong("unit", "only a card unit, kind transport, has one")
		case r.CaptureAfter != 0:
			return wrong("capture_after", "only a card unit, kind transport, captures cards")
		case r.ReturnAfter != 0:
			return wrong("return_after", "only a card unit, kind transport, returns cards")
		case r.ReturnAfterVisit:
			return wrong("return_after_visit", "only a card unit, kind transport, returns cards")
		case r.Hopper:
			return wrong("hopper", "only a card unit, kind transport, has one")
		}
		return nil
	}
	if r.Port == "" {
		return wrong("port", "a card unit needs the name of its serial port")
	}
	if r.Unit == "" {
		r.Unit = defaultUnit
	}
	if transport.Units[r.Unit] == nil {
		return wrong("unit", "crt571")
	}
	switch r.Baud {
	case 0:
		r.Baud = defaultUnitBaud
	case 9600, 19200, 38400, 57600, 115200:
	default:
		return wrong("baud", "9600, 19200, 38400, 57600 or 115200")
	}
	switch r.Driver {
	case "", "bugst", "tarm":
	default:
		return wrong("driver", "bugst or tarm")
	}
	if r.Match == "" {
		r.Match = transport.UnitName(r.Port) + " *" // this unit's slots, not another's
	}
	if r.CaptureAfter == 0 {
		r.CaptureAfter = defaultCaptureAfter
	}
	if r.ReturnAfter == 0 {
		r.ReturnAfter = defaultReturnAfter
	}
	return nil
}
