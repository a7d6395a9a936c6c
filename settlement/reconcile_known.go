package settlement

import (
	"context"
	"errors"
	"strings"
)

// holder returns the msgid that the centre has for an entry's own setl_id: as
// the result of a statement says, or 5203; "" where neither does. Of rows that
// agree a result does not say it.
func (r *Reconciler) holder(ctx context.Context, e Entry, results []ResultRow) (msgid string, err error) {
	for _, row := range results {
		if row.SetlID == e.SetlID && row.MsgID != "" {
			return row.MsgID, nil
		}
	}
	scope, err := r.scopeFor(ctx, requestOf(e).InsuplcAdmdvs)
	if err != nil {
		return "", err
	}
	full, ok, err := r.booked(ctx, scope, e.PsnNo, e.SetlID, e.MdtrtID)
	if err != nil || !ok {
		return "", err
	}
	return string(full.info.MedinsSetlID), nil
}

// knows asks the journal about a row that only the centre has.
func (r *Reconciler) knows(ctx context.Context, row ResultRow) (k known, err error) {
	find := func(msgid string) (*Entry, error) {
		e, err := r.journal.ByMsgID(ctx, msgid)
		if errors.Is(err, ErrEntryUnknown) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return &e, nil
	}
	if k.entry, err = find(row.MsgID); err != nil {
		return k, err
	}
	if k.adopted, err = find(adoptedMsgID(row.SetlID)); err != nil {
		return k, err
	}
	e := k.entry
	if k.adopted != nil {
		e = k.adopted // whatever became of the other: this one was to be refunded
	}
	if e != nil && e.ReversedBy != 0 {
		by, err := r.journal.Get(ctx, e.ReversedBy)
		if err != nil {
			return k, err
		}
		k.undone = &by
	}
	own := strings.HasPrefix(row.MsgID, r.client.cfg.Institution.Code)
	lane, inLane := Lane(row.MsgID, r.client.cfg.Institution.Code, r.policy.Lanes)
	k.foreign = !own
	k.ours = own && (r.policy.Sole || r.policy.Lanes >= 1 && inLane && lane == r.policy.Lane)
	return k, nil
}
