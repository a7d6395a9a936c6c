package card

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"onecard/card/profile"
)

// Execute carries a plan out: it is written down as open in the store; every
// file is read again and compared with what the plan read; the keys for writing
// are authenticated through kh; the items are written, read back and compared;
// the plan is closed. A plan that the store knows as done is not repeated.
//
// Whatever was begun on this card before comes first, as [Card.Recover] does it;
// a plan made before that may then meet a conflict, so recover before planning.
//
// Where a command is refused in the middle, what was written is put back and
// the plan closed; the error is the card's. Where the reader or the card is
// lost, the plan stays open and the error wraps [ErrUnfinished]: Recover ends it
// when the card is back. Further errors: [ErrOtherCard] (the plan is of another
// card, which this one is not touched for), [*ConflictError] (nothing of the
// plan is on the card), [ErrNotKept], [ErrPlanStore].
func (c *Card) Execute(ctx context.Context, kh KeyHolder, store PlanStore, p *Plan) error {
	if p.Card == "" || p.Card != c.issuer.IdentificationCode {
		return fmt.Errorf("execute plan: %w", ErrOtherCard)
	}
	if p.Empty() {
		return nil
	}
	if _, err := c.recover(ctx, kh, store, p.ID); err != nil {
		return fmt.Errorf("execute plan: %w", err)
	}
	done, writing, err := store.Begin(ctx, p)
	if err != nil {
		return fmt.Errorf("execute plan: %w", err)
	}
	if done {
		return nil
	}
	if _, err := c.carryOut(ctx, kh, store, OpenPlan{p, writing}); err != nil {
		return fmt.Errorf("execute plan: %w", err)
	}
	return nil
}

// A Recovered plan is one that Recover ended.
type Recovered struct {
	Plan    *Plan
	Outcome PlanOutcome
}

// Recover ends every plan that was begun on this card and not closed: it
// finishes them, or puts back what was there where they cannot be finished.
// Call it when a card is inserted, before anything else is done with it. What
// could not be ended stays open, and its error wraps [ErrUnfinished]; a conflict
// is closed and reported as a [*ConflictError].
func (c *Card) Recover(ctx context.Context, kh KeyHolder, store PlanStore) ([]Recovered, error) {
	list, err := c.recover(ctx, kh, store, "")
	if err != nil {
		return list, fmt.Errorf("recover plans: %w", err)
	}
	return list, nil
}

// recover leaves out the plan that is about to be executed.
func (c *Card) recover(ctx context.Context, kh KeyHolder, store PlanStore, except string) ([]Recovered, error) {
	if c.issuer.IdentificationCode == "" {
		return nil, nil
	}
	open, err := store.Open(ctx, c.issuer.IdentificationCode)
	if err != nil {
		return nil, err
	}
	var list []Recovered
	var conflicts error
	for _, o := range open {
		if o.Plan.ID == except {
			continue
		}
		if o.Plan.Card != c.issuer.IdentificationCode {
			return list, fmt.Errorf("%w: the store gave a plan of another card", ErrPlanStore)
		}
		outcome, err := c.carryOut(ctx, kh, store, o)
		if outcome != "" {
			list = append(list, Recovered{o.Plan, outcome})
		}
		switch {
		case err == nil:
		case outcome == "":
			return list, err
		default:
			conflicts = errors.Join(conflicts, err)
		}
	}
	return list, conflicts
}

// Abandon gives an open plan up without touching the card, by a person's
// decision.
func Abandon(ctx context.Context, store PlanStore, id string) error {
	if err := store.Close(ctx, id, PlanAbandoned); err != nil {
		return fmt.Errorf("abandon plan: %w", err)
	}
	return nil
}

// A run is a plan being carried out.
type run struct {
	c     *Card
	kh    KeyHolder
	store PlanStore
	plan  *Plan
	files []profile.File // of the items, by index
	state []condition    // of the items
	mine  []bool         // items that this plan may have put on the card
	left  int            // items that are not on the card yet
}

// carryOut ends an open plan. The outcome is "" where it stays open.
func (c *Card) carryOut(ctx context.Context, kh KeyHolder, store PlanStore, o OpenPlan) (PlanOutcome, error) {
	r := &run{c: c, kh: kh, store: store, plan: o.Plan, state: make([]condition, len(o.Plan.Items)),
		mine: make([]bool, len(o.Plan.Items))}
	for _, item := range o.Plan.Items {
		f, ok := c.profile.File(item.File.DF, item.File.EF)
		if !ok || len(item.New) == 0 {
			return "", unfinished(fmt.Errorf("%w: the plan does not fit the profile", ErrPlanStore))
		}
		r.files = append(r.files, f)
	}
	foreign, err := r.survey(ctx, o.Writing)
	if err != nil {
		return "", unfinished(err)
	}
	if foreign != nil {
		return r.giveUp(ctx, PlanConflict, foreign)
	}
	if r.left > 0 {
		if err := r.write(ctx); err != nil {
			return r.failed(ctx, err)
		}
	}
	return r.close(ctx, PlanDone, nil)
}

// failed decides what becomes of a plan that could not be written to its end.
func (r *run) failed(ctx context.Context, err error) (PlanOutcome, error) {
	if r.c.lost || ctx.Err() != nil || errors.Is(err, ErrPlanStore) {
		return "", unfinished(err)
	}
	return r.giveUp(ctx, PlanRolledBack, err)
}

// giveUp puts back what was written and closes the plan.
func (r *run) giveUp(ctx context.Context, outcome PlanOutcome, why error) (PlanOutcome, error) {
	stuck, err := r.rollBack(ctx)
	if err != nil {
		return "", unfinished(errors.Join(why, err))
	}
	if stuck {
		// An appended record cannot be taken back; nothing remains to be done.
		outcome = PlanAbandoned
	}
	return r.close(ctx, outcome, why)
}

func (r *run) close(ctx context.Context, outcome PlanOutcome, why error) (PlanOutcome, error) {
	// What is on the card is decided; that it is noted must not depend on who
	// still waits.
	if err := r.store.Close(context.WithoutCancel(ctx), r.plan.ID, outcome); err != nil {
		return "", errors.Join(why, err)
	}
	return outcome, why
}

func unfinished(err error) error { return fmt.Errorf("%w: %w", ErrUnfinished, err) }

// directories returns the plan's directories in the order of writing.
func (r *run) directories() []string {
	var list []string
	for _, item := range r.plan.Items {
		if !slices.Contains(list, item.File.DF) {
			list = append(list, item.File.DF)
		}
	}
	return list
}

// survey reads all files of the plan, the directory that is written first
// last, so that it is still selected. foreign is the first item that is neither
// old nor new.
func (r *run) survey(ctx context.Context, writing int) (foreign, err error) {
	dirs := r.directories()
	slices.Reverse(dirs)
	for _, df := range dirs {
		err := r.each(ctx, df, func(f profile.File, now snapshot, items []int) error {
			if f.Structure == profile.CyclicFile {
				r.judgeAppends(now.ring, items)
				return nil
			}
			for _, i := range items {
				r.state[i] = r.judge(i, now, i == writing)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for i, s := range r.state {
		item := r.plan.Items[i]
		r.mine[i] = i <= writing // items are written in their order
		if s == isOther && foreign == nil {
			foreign = &ConflictError{item.File, item.Tag, max(item.Number, item.Offset)}
		}
		if s != isNew {
			r.left++
		}
	}
	return foreign, nil
}

// judgeAppends finds out how many of the records to be appended to one file
// are on the card. The same record may be appended twice; then only the number
// of records tells.
func (r *run) judgeAppends(ring [][]byte, items []int) {
	least := len(r.plan.Items[items[0]].Ring)
	missing := slices.IndexFunc(items, func(i int) bool { return r.plan.Items[i].ringBefore(ring, least) })
	if missing < 0 && r.plan.Items[items[len(items)-1]].ringAfter(ring, least) {
		missing = len(items)
	}
	for n, i := range items {
		switch {
		case missing < 0:
			r.state[i] = isOther
		case n < missing:
			r.state[i] = isNew
		default:
			r.state[i] = isOld
		}
	}
}

// each reads the files of a directory, one after the other.
func (r *run) each(ctx context.Context, df string, do func(f profile.File, now snapshot, items []int) error) error {
	seen := map[string]bool{}
	for i, item := range r.plan.Items {
		f := r.files[i]
		if item.File.DF != df || seen[f.ID()] {
			continue
		}
		seen[f.ID()] = true
		now, err := r.c.survey(ctx, r.kh, f)
		if err != nil {
			return err
		}
		var items []int
		for j := range r.plan.Items {
			if r.files[j].ID() == f.ID() {
				items = append(items, j)
			}
		}
		if err := do(f, now, items); err != nil {
			return err
		}
	}
	return nil
}

// judge compares an item with the card; not for appended records.
func (r *run) judge(i int, now snapshot, writing bool) condition {
	item := r.plan.Items[i]
	if r.files[i].Structure == profile.Transparent {
		if item.Offset+len(item.New) > len(now.data) {
			return isOther
		}
		return item.compare(now.data[item.Offset:item.Offset+len(item.New)], writing)
	}
	return item.compare(now.at(item.Number), writing)
}

// write writes what is not on the card yet, directory by directory, and reads
// each file back.
func (r *run) write(ctx context.Context) error {
	for _, df := range r.directories() {
		touched := false
		for i, item := range r.plan.Items {
			if item.File.DF != df || r.state[i] == isNew {
				continue
			}
			touched = true
			if err := r.put(ctx, i, item.New); err != nil {
				return err
			}
			r.state[i] = isNew
		}
		if !touched {
			continue
		}
		if err := r.readBack(ctx, df); err != nil {
			return err
		}
	}
	return nil
}

// put notes that an item is about to be written and writes it.
func (r *run) put(ctx context.Context, i int, value []byte) error {
	f := r.files[i]
	if err := r.c.enter(ctx, f.DF); err != nil {
		return err
	}
	if err := r.c.meetWrite(ctx, f, r.kh); err != nil {
		return fmt.Errorf("write %s: %w", f.ID(), err)
	}
	if err := r.store.Progress(ctx, r.plan.ID, i); err != nil {
		return err
	}
	r.mine[i] = true
	if err := r.c.writeItem(ctx, r.kh, f, r.plan.Items[i], value); err != nil {
		return fmt.Errorf("write %s: %w", f.ID(), err)
	}
	return nil
}

// readBack compares the files of a directory with what was to be written.
func (r *run) readBack(ctx context.Context, df string) error {
	return r.each(ctx, df, func(f profile.File, now snapshot, items []int) error {
		last := -1
		for _, i := range items {
			if r.plan.Items[i].Append {
				last = i // the last one appended tells of all
				continue
			}
			if r.state[i] == isNew && r.judge(i, now, false) != isNew {
				r.state[i] = isTorn
				return fmt.Errorf("%s: %w", f.ID(), ErrNotKept)
			}
		}
		if last >= 0 && !r.plan.Items[last].ringAfter(now.ring, len(r.plan.Items[items[0]].Ring)) {
			return fmt.Errorf("%s: %w", f.ID(), ErrNotKept)
		}
		return nil
	})
}

// rollBack writes the old values over everything that the plan has put on the
// card. stuck: there is something that cannot be taken back.
func (r *run) rollBack(ctx context.Context) (stuck bool, err error) {
	for _, df := range r.directories() {
		touched := false
		for i, item := range r.plan.Items {
			if item.File.DF != df || !r.mine[i] || r.state[i] != isNew && r.state[i] != isTorn || string(item.Old) == string(item.New) {
				continue
			}
			if item.Append {
				stuck = true
				continue
			}
			old := []byte(item.Old)
			if old == nil {
				if old, err = r.unset(i); err != nil {
					return stuck, err
				}
			}
			touched = true
			if err := r.put(ctx, i, old); err != nil {
				return stuck, err
			}
			r.state[i] = isOld
		}
		if !touched {
			continue
		}
		err := r.each(ctx, df, func(f profile.File, now snapshot, items []int) error {
			for _, i := range items {
				if item := r.plan.Items[i]; !item.Append && item.Old != nil && r.state[i] == isOld && r.judge(i, now, false) != isOld {
					return fmt.Errorf("%s: %w", f.ID(), ErrNotKept)
				}
			}
			return nil
		})
		if err != nil {
			return stuck, err
		}
	}
	return stuck, nil
}

// unset is what stands in a record that was not there before: a record cannot
// be taken away.
func (r *run) unset(i int) ([]byte, error) {
	item := r.plan.Items[i]
	e, ok := exactly(r.files[i].ElementsOf(r.c.issuer.Specification), item.New[0], r.c.instanceOf(r.files[i], item))
	if !ok {
		return nil, ErrNotWritable
	}
	var value []byte
	var err error
	if e.Format == profile.Template {
		value, err = encodeTemplate(e, nil)
	} else {
		value, err = EncodeValue(e, Value{})
	}
	return append([]byte{e.ID, byte(len(value))}, value...), err
}
