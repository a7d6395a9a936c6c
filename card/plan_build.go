package card

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"onecard/card/profile"
)

// maxPiece is the most that one UPDATE BINARY writes; with a MAC it still fits
// into a short command.
const maxPiece = 240

// NewPlan makes the plan that writes the changes. All of them are validated
// against the profile before the first command; then the files are read, by the
// PIN where it is verified and by keys of kh, and what differs becomes the
// plan. Several changes of one record become one item.
//
// Errors: [*ChangeError] (wraps [ErrValue]) names file and tag, [ErrFileUnknown],
// [ErrFileMissing], [ErrNotWritable] (the identification code, and what only
// the card writes), and those of [Card.ReadFile].
func (c *Card) NewPlan(ctx context.Context, kh KeyHolder, changes ...Change) (*Plan, error) {
	if c.issuer.Area == "" {
		return nil, fmt.Errorf("plan: %w", &RecordError{File: FileID{rootDF, "EF05"}, Tag: "01", Number: 1, Problem: "no identification code to know the card by"})
	}
	var files []*draft
	for _, ch := range changes {
		f, err := c.check(ch)
		if err != nil {
			return nil, fmt.Errorf("plan: %w", err)
		}
		i := slices.IndexFunc(files, func(d *draft) bool { return d.file.ID() == f.ID() })
		if i < 0 {
			files = append(files, &draft{file: f})
			i = len(files) - 1
		}
		files[i].changes = append(files[i].changes, ch)
	}
	c.inOrder(files)
	id := make([]byte, 16)
	if err := c.randomize(id); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	p := &Plan{ID: hex.EncodeToString(id), Card: c.issuer.IdentificationCode}
	for _, d := range files {
		items, err := c.draft(ctx, kh, d)
		if err != nil {
			return nil, fmt.Errorf("plan: %w", err)
		}
		p.Items = append(p.Items, items...)
	}
	return p, nil
}

// A draft is a file and what is to become of it.
type draft struct {
	file    profile.File
	changes []Change
}

// inOrder sorts files into the order of writing: by directory, the selected
// one first, those with records to be appended last; in a directory cyclic
// files last.
func (c *Card) inOrder(files []*draft) {
	rank := map[string]int{}
	for i, d := range c.profile.Directories() {
		rank[d.DF] = i + 1
	}
	rank[c.df] = 0
	for _, d := range files {
		if d.file.Structure == profile.CyclicFile {
			rank[d.file.DF] += 100
			break
		}
	}
	slices.SortStableFunc(files, func(a, b *draft) int {
		if a.file.DF != b.file.DF {
			return rank[a.file.DF] - rank[b.file.DF]
		}
		cyclic := func(d *draft) int {
			if d.file.Structure == profile.CyclicFile {
				return 1
			}
			return 0
		}
		return cyclic(a) - cyclic(b)
	})
}

// draft reads a file and returns what has to be written.
func (c *Card) draft(ctx context.Context, kh KeyHolder, d *draft) ([]PlanItem, error) {
	now, err := c.survey(ctx, kh, d.file)
	if err != nil {
		return nil, err
	}
	switch d.file.Structure {
	case profile.CyclicFile:
		return c.draftAppends(d, now)
	case profile.Transparent:
		return draftPieces(d, now)
	}
	return c.draftRecords(d, now)
}

// A snapshot is a file as it is on the card.
type snapshot struct {
	records []rawRecord // of a linear file
	ring    [][]byte    // of a cyclic file, newest first
	size    int         // of its records
	data    []byte      // of a transparent file
}

// survey reads a file to plan or to judge a write, meeting its access
// condition first.
func (c *Card) survey(ctx context.Context, kh KeyHolder, f profile.File) (snapshot, error) {
	var s snapshot
	err := c.enter(ctx, f.DF)
	if err == nil {
		err = c.meet(ctx, f.ReadAccess(c.issuer.Specification), kh)
	}
	if err == nil {
		s, err = c.snapshot(ctx, f)
	}
	var answer *RefusedError
	if errors.As(err, &answer) && isSecurity(err) && c.pin && kh != nil {
		// A card that wants the key where the profile has PIN or key.
		if err = c.proveReadKeys(ctx, kh, f); err == nil {
			s, err = c.snapshot(ctx, f)
		}
	}
	if err != nil {
		return s, fmt.Errorf("read %s: %w", f.ID(), err)
	}
	return s, nil
}

func (c *Card) proveReadKeys(ctx context.Context, kh KeyHolder, f profile.File) error {
	for _, alt := range f.ReadAccess(c.issuer.Specification) {
		for _, key := range alt.Keys {
			if !c.held[key] && isReadKey(key) {
				return c.authenticateKey(ctx, kh, key)
			}
		}
	}
	return nil
}

// snapshot reads a file whose access condition is met.
func (c *Card) snapshot(ctx context.Context, f profile.File) (s snapshot, err error) {
	switch f.Structure {
	case profile.Transparent:
		s.data, err = c.readTransparent(ctx, f)
	case profile.CyclicFile:
		var raws []rawRecord
		raws, s.size, err = c.readCyclic(ctx, f)
		for _, r := range raws {
			s.ring = append(s.ring, r.bytes)
		}
	default:
		s.records, err = c.readLinear(ctx, f, 0)
	}
	return s, err
}

// at returns the bytes of a record by number, nil where there is none.
func (s snapshot) at(number int) []byte {
	for _, r := range s.records {
		if r.number == number {
			return r.bytes
		}
	}
	return nil
}

// draftAppends chains the new records of a cyclic file: each has the file
// before it.
func (c *Card) draftAppends(d *draft, now snapshot) ([]PlanItem, error) {
	ring := now.ring
	size := now.size
	if len(ring) == 0 {
		size = 0 // a card may show what it never wrote
	}
	var items []PlanItem
	for _, ch := range d.changes {
		record, err := c.encodeFields(d.file, ch)
		if err != nil {
			return nil, err
		}
		if size != 0 && size != len(record) {
			return nil, ch.problem(fmt.Sprintf("the card's records have %d bytes", size))
		}
		item := PlanItem{File: ch.File, Append: true, New: record}
		for _, r := range ring {
			item.Ring = append(item.Ring, r)
		}
		items = append(items, item)
		ring = append([][]byte{record}, ring...)
	}
	return items, nil
}

// draftPieces cuts what differs into commands.
func draftPieces(d *draft, now snapshot) ([]PlanItem, error) {
	next := slices.Clone(now.data)
	for _, ch := range d.changes {
		if ch.Offset+len(ch.Data) > len(next) {
			return nil, ch.problem("beyond the end of the card's file")
		}
		copy(next[ch.Offset:], ch.Data)
	}
	var items []PlanItem
	for at := 0; at < len(next); {
		if next[at] == now.data[at] {
			at++
			continue
		}
		// To the last byte that differs within one command.
		end := min(at+maxPiece, len(next))
		for next[end-1] == now.data[end-1] {
			end--
		}
		items = append(items, PlanItem{File: FileID{d.file.DF, d.file.EF}, Offset: at, Old: now.data[at:end], New: next[at:end]})
		at = end
	}
	return items, nil
}

// draftRecords applies the changes to the records and returns those that
// differ afterwards.
func (c *Card) draftRecords(d *draft, now snapshot) ([]PlanItem, error) {
	next := map[int][]byte{}
	var order []int
	put := func(number int, record []byte) {
		if _, ok := next[number]; !ok {
			order = append(order, number)
		}
		next[number] = record
	}
	for _, ch := range d.changes {
		tag, member, nested, err := ch.tags()
		if err != nil {
			return nil, err
		}
		number, old, err := c.place(d.file, now, ch, tag)
		if err != nil {
			return nil, err
		}
		if latest, ok := next[number]; ok {
			old = latest
		}
		record, err := c.rewrite(d.file, ch, tag, member, nested, old)
		if err != nil {
			return nil, err
		}
		put(number, record)
		if d.file.DF == rootDF && d.file.EF == "EF06" && tag == 0x09 {
			_, extension, err := c.splitName(d.file, ch.Value)
			if err != nil {
				return nil, ch.problem(err.Error())
			}
			if extension != nil {
				n, _, err := c.place(d.file, now, Change{File: ch.File, Tag: "4E"}, 0x4E)
				if err != nil {
					return nil, err
				}
				put(n, append([]byte{0x4E, byte(len(extension))}, extension...))
			}
		}
	}
	slices.Sort(order) // a record that is not there yet is appended in order
	var items []PlanItem
	for _, n := range order {
		old := now.at(n)
		if string(old) == string(next[n]) {
			continue
		}
		items = append(items, PlanItem{File: FileID{d.file.DF, d.file.EF}, Number: n, Tag: fmt.Sprintf("%02X", next[n][0]), Old: old, New: next[n]})
	}
	return items, nil
}

// place finds the record that a change means: by tag on the card, else where
// the profile has it, if it is the next one.
func (c *Card) place(f profile.File, now snapshot, ch Change, tag byte) (number int, old []byte, err error) {
	n, last := max(ch.Instance, 1), 0
	for _, r := range now.records {
		last = max(last, r.number)
		if r.tag == tag && len(r.bytes) >= 2 {
			if n--; n == 0 {
				if r.problem != "" {
					return 0, nil, ch.problem("the record on the card is malformed: " + r.problem)
				}
				return r.number, r.bytes, nil
			}
		}
	}
	n = max(ch.Instance, 1)
	for i, e := range f.ElementsOf(c.issuer.Specification) {
		if e.ID != tag {
			continue
		}
		if n--; n == 0 && (i == last || e.Number == last+1) {
			return last + 1, nil, nil
		}
	}
	return 0, nil, ch.problem("the card has no such record")
}

// rewrite returns the whole record after a change, as long as the card's
// record is.
func (c *Card) rewrite(f profile.File, ch Change, tag, member byte, nested bool, old []byte) ([]byte, error) {
	v := c.issuer.Specification
	instance := max(ch.Instance, 1)
	var value []byte
	if len(old) > 2 {
		value = oneRecord(old, 1).value
	}
	var e profile.Element
	switch {
	case ch.Later || value == nil:
		list := c.candidates(f, ch, tag)
		if len(list) == 0 {
			return nil, ch.problem("the tag does not belong to this file")
		}
		e = list[0]
	default:
		// As it is written now, so it stays.
		e, value, _ = meaning(f, v, tag, instance, value)
	}
	next, err := c.encodeElement(f, e, ch, member, nested, value)
	if err != nil {
		return nil, err
	}
	length := len(next)
	if len(old) > 2 {
		length = len(oneRecord(old, 1).value)
	} else if slot, ok := exactly(f.ElementsOf(v), tag, instance); ok {
		length = slot.Length
	}
	switch {
	case length < len(next):
		return nil, ch.problem("the card's record is shorter than the value")
	case length > len(next) && v == profile.V10 && !e.V1:
		// The filling that marks a later meaning (card specification, section 2).
		for len(next) < length {
			next = append(next, 0xEE)
		}
	case length > len(next):
		return nil, ch.problem("the card's record is longer than the profile says")
	}
	return append([]byte{tag, byte(len(next))}, next...), nil
}
