package card

import (
	"context"
	"fmt"

	"onecard/apdu"
	"onecard/card/profile"
)

// A rawRecord is one record as the card gave it.
type rawRecord struct {
	number  int // on the card, 1 first; in a cyclic file 1 is the newest
	tag     byte
	value   []byte
	bytes   []byte // tag, length and value; of a cyclic file the record
	problem string // why the bytes are no record, "" when they are one
}

// Bounds against cards that never say that a file has ended.
const (
	extraRecords     = 8   // of a tagged file, beyond those of the profile
	maxCyclicRecords = 254 // record numbers end there (ISO 7816-4, 7.3.2)
)

// READ RECORD modes (P2, low three bits): record P1, and all from P1 to the
// last in one answer of at most 256 bytes, which never splits a record.
const (
	modeOne = 4
	modeAll = 5
)

// readRecord sends READ RECORD for record n.
func (c *Card) readRecord(ctx context.Context, f profile.File, n int, mode byte) (apdu.Response, error) {
	sfi := f.SFI << 3
	if c.noSFI {
		sfi = 0 // the current EF
	}
	r, err := c.exchange(ctx, apdu.Command{INS: 0xB2, P1: byte(n), P2: sfi | mode, Le: apdu.MaxShortLe})
	if err != nil {
		return r, fmt.Errorf("read %s record %d: %w", f.ID(), n, err)
	}
	return r, nil
}

// gaveData reports whether a status word goes with usable data: 9000, and the
// warning that there were fewer than Le bytes.
func gaveData(s apdu.Status) bool { return s.OK() || s == apdu.StatusEndOfFile }

// selectEF makes f the current EF, for cards that refuse short identifiers.
func (c *Card) selectEF(ctx context.Context, f profile.File) (apdu.Status, error) {
	if c.ef == f.ID() {
		return apdu.StatusOK, nil
	}
	c.ef = ""
	s := apdu.StatusNotFound
	for _, p1 := range []byte{0x02, 0x00} {
		if p1 == 0x02 && c.selectEF0 {
			continue
		}
		r, err := c.exchange(ctx, apdu.Command{INS: 0xA4, P1: p1, Data: []byte{0xEF, f.SFI}})
		if err != nil {
			return 0, fmt.Errorf("select %s: %w", f.ID(), err)
		}
		s = r.Status
		if s.OK() {
			c.ef, c.selectEF0 = f.ID(), p1 == 0x00
			return s, nil
		}
		if s == apdu.StatusNotFound {
			break
		}
	}
	return s, nil
}

// addressed sends the first command to a file, read, in the ways that card
// systems take, the fewest commands first: with a short identifier, then on the
// selected EF; each in the given modes. It returns the answer, the mode that
// gave it, and remembers what the card refused.
//
// Status words that say something about the file and not about the way of
// asking (6982, 6A83, ...) are returned as they are.
func (c *Card) addressed(ctx context.Context, f profile.File, modes []byte, read func(mode byte) (apdu.Response, error)) (apdu.Response, byte, error) {
	if len(modes) > 1 && c.noMode5[f.Structure] {
		modes = modes[1:]
	}
	before := c.noSFI
	last := apdu.StatusNotFound
	for _, current := range []bool{false, true} {
		if before && !current {
			continue
		}
		c.noSFI = current
		if !current {
			c.ef = "" // whatever was selected: a short identifier moves the current EF
		}
		if current {
			s, err := c.selectEF(ctx, f)
			switch {
			case err != nil:
				return apdu.Response{}, 0, err
			case s == apdu.StatusNotFound:
				c.noSFI = before
				return apdu.Response{}, 0, fmt.Errorf("read %s: %w", f.ID(), ErrFileMissing)
			case !s.OK():
				c.noSFI = before
				return apdu.Response{}, 0, refused("SELECT "+f.ID(), s)
			}
		}
	modes:
		for i, mode := range modes {
			r, err := read(mode)
			if err != nil {
				return r, 0, err
			}
			last = r.Status
			switch last {
			case apdu.StatusWrongP1P2, apdu.StatusStructure, apdu.StatusCardBlocked, apdu.StatusWrongLength,
				apdu.StatusOffset, apdu.StatusWrongData, apdu.StatusInstruction:
				continue // this way of asking is refused; 6A81 is "not supported" here
			case apdu.StatusNotFound, apdu.StatusNoCurrentFile:
				break modes // not by this kind of address
			}
			if i > 0 {
				c.noMode5[f.Structure] = true
			}
			return r, mode, nil
		}
	}
	c.noSFI = before
	return apdu.Response{}, 0, refused("READ "+f.ID(), last)
}

// readLinear reads the tagged records of a variable or fixed file: all, or the
// first few when limit is not 0. With an error, what was read before it is
// returned, too.
func (c *Card) readLinear(ctx context.Context, f profile.File, limit int) ([]rawRecord, error) {
	modes := []byte{modeAll, modeOne}
	if limit == 1 {
		modes = modes[1:]
	}
	r, mode, err := c.addressed(ctx, f, modes, func(mode byte) (apdu.Response, error) { return c.readRecord(ctx, f, 1, mode) })
	if err != nil {
		return nil, err
	}
	wanted := newChecklist(f)
	var records []rawRecord
	for next := 1; ; {
		switch {
		case r.Status == apdu.StatusRecordNotFound:
			return records, nil
		case !gaveData(r.Status) && mode == modeAll && next > 1 && r.Status != apdu.StatusSecurity:
			// A card that answers mode 5 from record 1 only.
			mode = modeOne
		case !gaveData(r.Status):
			return records, refused("READ RECORD "+f.ID(), r.Status)
		case len(r.Data) == 0:
			return records, nil
		case mode == modeAll:
			got, whole := wanted.split(r.Data, next)
			records = append(records, got...)
			next += len(got)
			if !whole || len(got) == 0 {
				// Where a length lies, only the card knows where the next
				// record begins: ask for the rest one by one.
				mode = modeOne
			}
		default:
			// A record that was never written is nothing to show.
			if !allBytes(r.Data, 0) && !allBytes(r.Data, 0xFF) {
				records = append(records, oneRecord(r.Data, next))
			}
			next++
		}
		if limit > 0 && len(records) >= limit || next > wanted.limit || wanted.complete(records) {
			return records, nil
		}
		if r, err = c.readRecord(ctx, f, next, mode); err != nil {
			return records, err
		}
	}
}

// A checklist knows the records that a file must have.
type checklist struct {
	tags  map[byte]bool
	must  map[byte]int
	limit int
}

func newChecklist(f profile.File) checklist {
	l := checklist{map[byte]bool{}, map[byte]int{}, len(f.Elements) + extraRecords}
	for _, e := range f.Elements {
		l.tags[e.ID] = true
	}
	// What 1.0 cards leave out (tag 4E) must not cost them a command.
	for _, e := range f.ElementsV1 {
		if !e.Optional {
			l.must[e.ID]++
		}
	}
	return l
}

// complete reports whether all records that must be there are.
func (l checklist) complete(records []rawRecord) bool {
	seen := map[byte]int{}
	for _, r := range records {
		if r.problem == "" {
			seen[r.tag]++
		}
	}
	for tag, n := range l.must {
		if seen[tag] < n {
			return false
		}
	}
	return true
}

// split reads the records of one mode 5 answer, the first of which has the
// given number. whole is false where it stopped at something that is no record
// of this file.
func (l checklist) split(b []byte, number int) (records []rawRecord, whole bool) {
	// ParseSimpleTLV returns with its error what was whole before the fault.
	list, err := apdu.ParseSimpleTLV(b)
	for _, t := range list {
		if !l.tags[t.Tag] || number+len(records) > l.limit {
			return records, false
		}
		whole, err := apdu.AppendSimpleTLV(nil, t)
		if err != nil {
			return records, false
		}
		records = append(records, rawRecord{number: number + len(records), tag: t.Tag, value: t.Value, bytes: whole})
	}
	return records, err == nil
}

// oneRecord reads the answer to READ RECORD of one record.
func oneRecord(b []byte, n int) rawRecord {
	r := rawRecord{number: n, bytes: b}
	if len(b) < 2 {
		r.problem = "shorter than tag and length"
		return r
	}
	r.tag = b[0]
	head, length := 2, int(b[1])
	if b[1] == 0xFF && len(b) >= 4 {
		head, length = 4, int(b[2])<<8|int(b[3])
	}
	if length > len(b)-head {
		r.value = b[head:]
		r.problem = "the length says more than the record holds"
		return r
	}
	r.value, r.bytes = b[head:head+length], b[:head+length]
	if rest := b[head+length:]; !allBytes(rest, 0) && !allBytes(rest, 0xFF) {
		r.problem = "the record holds more than its length says"
	}
	return r
}

// readCyclic reads the records of a cyclic file, newest first. Records that
// were never written (all 00 or FF) end it. size is the length of one record.
func (c *Card) readCyclic(ctx context.Context, f profile.File) (records []rawRecord, size int, err error) {
	// The first alone tells the length of a record, which differs by the
	// kind of account (DF04/EF08: 28 or 20).
	r, _, err := c.addressed(ctx, f, []byte{modeOne}, func(mode byte) (apdu.Response, error) { return c.readRecord(ctx, f, 1, mode) })
	if err != nil {
		return nil, 0, err
	}
	if gaveData(r.Status) {
		size = len(r.Data)
	}
	mode := byte(modeAll)
	if c.noMode5[f.Structure] {
		mode = modeOne
	}
	for first := true; ; first = false {
		switch {
		case r.Status == apdu.StatusRecordNotFound:
			return records, size, nil
		case !gaveData(r.Status) && mode == modeAll && !first:
			c.noMode5[f.Structure] = true
			mode = modeOne
		case !gaveData(r.Status):
			return records, size, refused("READ RECORD "+f.ID(), r.Status)
		case len(r.Data) == 0:
			return records, size, nil
		case mode == modeAll && !first && len(r.Data)%size != 0:
			c.noMode5[f.Structure] = true
			mode = modeOne
		default:
			for b := r.Data; len(b) > 0; {
				one := b
				if mode == modeAll && len(b) > size {
					one = b[:size]
				}
				b = b[len(one):]
				if allBytes(one, 0) || allBytes(one, 0xFF) || len(records) == maxCyclicRecords {
					return records, size, nil
				}
				records = append(records, rawRecord{number: len(records) + 1, value: one, bytes: one})
			}
			if n := len(r.Data); mode == modeAll && n > size && n+size <= apdu.MaxShortLe {
				return records, size, nil // one more would have fitted
			}
		}
		if len(records) == maxCyclicRecords {
			return records, size, nil
		}
		if r, err = c.readRecord(ctx, f, len(records)+1, mode); err != nil {
			return records, size, err
		}
	}
}

// maxBinary is the most that one READ BINARY asks for.
const maxBinary = 256

// readTransparent reads a transparent file up to the profile's size.
func (c *Card) readTransparent(ctx context.Context, f profile.File) ([]byte, error) {
	le := min(f.Size, maxBinary)
	r, _, err := c.addressed(ctx, f, []byte{0}, func(byte) (apdu.Response, error) {
		cmd := apdu.Command{INS: 0xB0, P1: 0x80 | f.SFI, Le: le}
		if c.noSFI {
			cmd.P1 = 0
		}
		r, err := c.exchange(ctx, cmd)
		if err != nil {
			err = fmt.Errorf("read %s: %w", f.ID(), err)
		}
		return r, err
	})
	if err != nil {
		return nil, err
	}
	var data []byte
	for {
		switch {
		case r.Status == apdu.StatusOffset && len(data) > 0:
			return data, nil // the card's file is shorter than the profile's
		case !gaveData(r.Status):
			return data, refused("READ BINARY "+f.ID(), r.Status)
		}
		data = append(data, r.Data...)
		if len(data) >= f.Size || len(r.Data) < le || r.Status == apdu.StatusEndOfFile {
			return data[:min(len(data), f.Size)], nil
		}
		// A short identifier with offset reaches 255 bytes; from there on by
		// 15-bit offset in the EF that the first command made current.
		le = min(f.Size-len(data), maxBinary)
		r, err = c.exchange(ctx, apdu.Command{INS: 0xB0, P1: byte(len(data) >> 8), P2: byte(len(data)), Le: le})
		if err != nil {
			return data, fmt.Errorf("read %s at %d: %w", f.ID(), len(data), err)
		}
	}
}
