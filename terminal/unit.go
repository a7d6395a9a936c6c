package terminal

import (
	"context"
	"reflect"
	"time"

	"onecard/reader"
)

const (
	// moveTime bounds a move: the card may have to be finished with before.
	moveTime = readTime + 15*time.Second
	// unitLook is how often cards that nobody uses are looked for.
	unitLook = time.Second
)

// Unit returns the card unit around a reader; empty or "any" is the only one there
// is.
func (s *Service) Unit(id string) (Unit, error) {
	d, _, err := s.unitDesk(id)
	if err != nil {
		return Unit{}, err
	}
	view, _ := d.published()
	return *view.Unit, nil
}

// ReturnCard brings the card in a unit to the mouth.
func (s *Service) ReturnCard(ctx context.Context, id string) (Unit, error) {
	return s.move(ctx, id, "card returned", reader.Mover.Return)
}

// CaptureCard brings the card in a unit, or at its mouth, into the reject bin and
// records it. It needs the right [RightUnit].
func (s *Service) CaptureCard(ctx context.Context, id string) (Unit, error) {
	if err := s.may(RightUnit); err != nil {
		return Unit{}, err
	}
	return s.move(ctx, id, "card captured by order", reader.Mover.Capture)
}

// DispenseCard fetches a card from a unit's hopper; it is read like one that was put
// in. It needs the right [RightUnit].
func (s *Service) DispenseCard(ctx context.Context, id string) (Unit, error) {
	if err := s.may(RightUnit); err != nil {
		return Unit{}, err
	}
	return s.move(ctx, id, "card dispensed", reader.Mover.Dispense)
}

// BinEmptied sets the counter of a unit's reject bin to 0 after somebody has emptied
// it. It needs the right [RightUnit].
func (s *Service) BinEmptied(ctx context.Context, id string) (Unit, error) {
	if err := s.may(RightUnit); err != nil {
		return Unit{}, err
	}
	d, m, err := s.unitDesk(id)
	if err != nil {
		return Unit{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, moveTime)
	defer cancel()
	if err := m.Emptied(ctx); err != nil {
		return Unit{}, err
	}
	s.audit("reject bin emptied", d)
	return *unitView(m.UnitState()), nil
}

// move has the goroutine that owns the card let go of it and the unit move it, so
// that no card is moved in the middle of what is done with it.
func (s *Service) move(ctx context.Context, id, what string, do func(reader.Mover, context.Context) error) (Unit, error) {
	d, m, err := s.unitDesk(id)
	if err != nil {
		return Unit{}, err
	}
	if v := s.visits.current(); v != nil && v.Reader == d.id && v.State == VisitSettling {
		return Unit{}, ErrVisitState
	}
	ctx, cancel := context.WithTimeout(ctx, moveTime)
	defer cancel()
	if err := d.submit(&job{ctx: ctx, done: make(chan error, 1), move: func(ctx context.Context) error { return do(m, ctx) }}); err != nil {
		return Unit{}, err
	}
	s.audit(what, d)
	return *unitView(m.UnitState()), nil
}

// serveMove lets go of the card and moves it. Where it could not be moved it is read
// anew if it can be.
func (d *desk) serveMove(ctx context.Context, j *job) error {
	jctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	d.drop()
	err := j.move(jctx)
	if err != nil {
		d.tried = 0
		d.nudge()
	}
	return err
}

// touch notes that somebody wants something of the card.
func (d *desk) touch() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used = d.svc.parts.Now()
}

// unitDesk returns the desk of a unit's card, or of its contacts while it has none,
// and what moves cards there. A slot of the unit says which unit; without one it is
// the only one.
func (s *Service) unitDesk(id string) (*desk, reader.Mover, error) {
	name := ""
	if id != "" && id != AnyReader {
		d, err := s.desk(id)
		if err != nil {
			return nil, nil, err
		}
		u := d.unit()
		if u == nil {
			return nil, nil, reader.ErrNoUnit
		}
		name = u.Name
	}
	var found *desk
	var present bool
	for _, d := range s.unitDesks() {
		u := d.unit()
		if name == "" {
			name = u.Name
		}
		if u.Name != name {
			if id == "" || id == AnyReader {
				return nil, nil, detailed{ErrSlotUnknown, "there is more than one card unit: name a reader of it"}
			}
			continue
		}
		if _, here := d.quiet(); found == nil || here && !present {
			found, present = d, here
		}
	}
	if found == nil {
		return nil, nil, reader.ErrNoUnit
	}
	m, err := s.watcher.Mover(found.slot.Slot)
	return found, m, err
}

// unitDesks returns the desks of all slots that cards are moved to.
func (s *Service) unitDesks() (list []*desk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.desks {
		if d.unit() != nil {
			list = append(list, d)
		}
	}
	return list
}

// unit is what the unit around the slot says, nil where there is none now.
func (d *desk) unit() *reader.UnitState {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.there {
		return nil
	}
	return d.seen.Unit
}

// hasUnits reports whether a card unit is configured.
func (s *Service) hasUnits() bool {
	for _, r := range s.cfg.Readers {
		if r.Kind == "transport" {
			return true
		}
	}
	return false
}

// tendUnits keeps the condition unit and gives cards back: when their visit has
// ended, and when nobody has wanted anything of them for a while.
func (s *Service) tendUnits(ctx context.Context) {
	news, end := s.Subscribe()
	defer end()
	tick := time.NewTicker(unitLook)
	defer tick.Stop()
	before, step := s.visits.current(), s.parts.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-tick.C:
		}
		now := s.visits.current()
		if !reflect.DeepEqual(before, now) {
			step = s.parts.Now()
		}
		desks := s.unitDesks()
		var worst error
		for _, d := range desks {
			if worst == nil {
				worst = unitHealth(d.unit())
			}
		}
		if len(desks) > 0 {
			s.health.set(HealthUnit, worst)
		}
		for _, d := range desks {
			if s.due(d, before, now, step) {
				s.giveBack(ctx, d)
			}
		}
		before = now
	}
}

// due reports whether the card in a unit is to be given back: its visit was before
// and has ended now, or nobody has used it for long. Step is when the visit last
// changed.
func (s *Service) due(d *desk, before, now *Visit, step time.Time) bool {
	cfg := s.configured(d.slot)
	d.mu.Lock()
	unit, present, used, read := d.seen.Unit, d.seen.Present, d.used, d.view.Card != nil
	d.mu.Unlock()
	if cfg == nil || unit == nil || !present || unit.Card != reader.Inside {
		return false
	}
	if cfg.ReturnAfterVisit && before.open(d.id) && (!now.open(d.id) || now.ID != before.ID) {
		return true
	}
	if now.open(d.id) {
		if now.State == VisitSettling {
			return false
		}
		if step.After(used) {
			used = step
		}
	}
	after := cfg.ReturnAfter.Duration()
	// A card that could not be read has no session, and its driver returns it.
	return read && after > 0 && s.parts.Now().Sub(used) >= after
}

// open reports whether it is a visit with the card in a reader that has not ended.
// One whose settlement is in doubt has not: the clerk puts it away.
func (v *Visit) open(reader string) bool {
	return v != nil && v.Reader == reader && v.State != VisitSettled && v.State != VisitClosed
}

// giveBack returns a card without being asked.
func (s *Service) giveBack(ctx context.Context, d *desk) {
	if _, err := s.ReturnCard(ctx, d.id); err != nil && ctx.Err() == nil {
		s.parts.Log.WithError(err).WithField("reader", d.id).Warning("the card could not be returned")
		d.touch() // not again at once
	}
}
