package terminal

import (
	"context"
	"errors"
	"slices"
	"time"

	"onecard/apdu"
	"onecard/card"
	"onecard/card/psam"
	"onecard/fault"
	"onecard/reader"
)

// A heldPSAM is an open PSAM that takes part in computing. It is asked by
// whichever goroutine needs a key, one at a time; the desk of its slot opens and
// closes it.
type heldPSAM struct {
	*psam.PSAM
	desk *desk
}

// keys is who computes with the keys: the PSAMs, and the HSM for what they lack.
// It is nil where there is neither.
func (s *Service) keys() card.KeyHolder {
	s.mu.Lock()
	defer s.mu.Unlock()
	var holders []card.KeyHolder
	for _, p := range s.sams {
		holders = append(holders, p.PSAM)
	}
	if s.parts.Keys != nil {
		holders = append(holders, s.parts.Keys)
	}
	return card.Holders(holders...)
}

// psamTerminal is the terminal number of the PSAM that debits are computed with,
// "" without one.
func (s *Service) psamTerminal() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sams) == 0 {
		return ""
	}
	return s.sams[0].Terminal()
}

// adopt lets a PSAM take part, or no longer where why is not nil, and tells the
// desks whose cards had nobody to authenticate them.
func (s *Service) adopt(p *heldPSAM, why error) {
	if why == nil {
		// Before anybody computes with it: a card that it authenticated is not
		// to be seen beside a health that misses it.
		s.health.set(HealthPSAM, nil)
	}
	s.mu.Lock()
	if why == nil {
		s.sams = append(s.sams, p)
	} else {
		s.sams = slices.DeleteFunc(s.sams, func(other *heldPSAM) bool { return other.desk == p.desk })
	}
	left := len(s.sams)
	desks := append([]*desk(nil), s.desks...)
	s.mu.Unlock()
	switch {
	case why == nil:
		for _, d := range desks {
			d.keysBack()
		}
	case left == 0:
		s.health.set(HealthPSAM, why)
	}
}

// psamConn is the session of a PSAM: it tells the desk when the session is over.
type psamConn struct {
	*reader.Session
	d *desk
}

func (c psamConn) Exchange(ctx context.Context, cmd apdu.Command) (apdu.Response, error) {
	r, err := c.Session.Exchange(ctx, cmd)
	if err != nil && !errors.Is(err, reader.ErrCardReset) && !errors.Is(err, context.Canceled) {
		c.d.psamLost()
	}
	return r, err
}

// psamLost tells the desk that the session with its PSAM failed.
func (d *desk) psamLost() {
	d.mu.Lock()
	d.failing = true
	d.mu.Unlock()
	d.nudge()
}

// answersAsPSAM reports whether a card that cannot be opened as a social security
// card, for this reason, is a PSAM. It has an application of the same name, and
// nothing of a card in it.
func answersAsPSAM(ctx context.Context, session *reader.Session, why error) bool {
	switch fault.Of(why).Code {
	case fault.NotSocialSecurityCard, fault.FileMissing, fault.RecordMalformed, fault.CardRefused, fault.VersionUnknown:
	default:
		return false
	}
	_, err := psam.Open(ctx, session)
	return err == nil
}

// readPSAM opens the PSAM in the slot and keeps it. It is held exclusively: what
// it has selected and computed between two commands is nobody else's business.
func (d *desk) readPSAM(ctx context.Context, seen reader.SlotState) {
	d.publish(func(v *Reader) { v.Role, v.State, v.Fault, v.Card = RolePSAM, ReaderReading, nil, nil })
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	session, err := d.svc.watcher.Open(ctx, seen.Slot, reader.Exclusive)
	var p *psam.PSAM
	if err == nil {
		if p, err = psam.Open(ctx, psamConn{session, d}); err != nil {
			if cerr := session.Close(); cerr != nil {
				d.svc.parts.Log.WithError(cerr).Debug("close after a PSAM that failed")
			}
		}
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			d.svc.health.set(HealthPSAM, err)
		}
		d.failed(err)
		return
	}
	d.sam, d.faults = session, 0
	d.mu.Lock()
	d.failing = false
	d.mu.Unlock()
	d.publish(func(v *Reader) { v.State, v.Fault, v.Card = ReaderReady, nil, nil })
	d.svc.parts.Log.WithField("reader", d.id).Info("PSAM opened")
	d.svc.adopt(&heldPSAM{p, d}, nil)
}

// dropPSAM ends the session with the PSAM, if there is one. Others may be in a
// call to it: that ends with the session, and they go on with the HSM.
func (d *desk) dropPSAM() {
	if d.sam == nil {
		return
	}
	session := d.sam
	d.sam = nil
	d.svc.adopt(&heldPSAM{nil, d}, card.ErrNoPSAM)
	if err := session.Close(); err != nil {
		d.svc.parts.Log.WithError(err).Debug("the session ended with its PSAM")
	}
}

// checkPSAM drops a PSAM whose session failed, and has it opened anew while it
// stays in its slot.
func (d *desk) checkPSAM() {
	d.mu.Lock()
	failing := d.failing
	d.failing = false
	d.mu.Unlock()
	if !failing || d.sam == nil {
		return
	}
	d.dropPSAM()
	d.publish(func(v *Reader) { v.State, v.Fault = ReaderFailed, Explain(card.ErrNoPSAM) })
	d.retry = time.After(busyPause)
}
