package cardsim

import (
	"slices"

	"onecard/apdu"
	"onecard/card/profile"
)

// READ RECORD and UPDATE RECORD: the low three bits of P2.
const (
	modeFirst    = 0 // first record with the identifier in P1
	modeLast     = 1
	modeNext     = 2
	modePrevious = 3
	modeNumber   = 4 // record number P1
	modeFrom     = 5 // from record P1 to the last
	modeTo       = 6 // from the last record to P1
)

// open finds the EF that an SFI names, 0 being the current EF.
func (c *Card) open(sfi byte) (*layout, *content, apdu.Status) {
	switch sfi {
	case 0:
		if c.ses.ef == 0 {
			return nil, nil, apdu.StatusNoCurrentFile
		}
		sfi = c.ses.ef
	case 31:
		return nil, nil, apdu.StatusWrongP1P2
	}
	id := fileID{c.ses.df, sfi}
	f := c.mem.files[id]
	if f == nil {
		return nil, nil, apdu.StatusNotFound
	}
	return c.chip.layouts[id], f, apdu.StatusOK
}

// enterEF makes an EF the current one once a command has been let in, as
// ISO 7816-4, 7.2.1 wants it for an SFI.
func (c *Card) enterEF(l *layout) {
	if c.ses.ef != l.file.SFI {
		c.ses.ef, c.ses.record = l.file.SFI, 0
	}
}

// permits evaluates an access condition against the security state.
func (c *Card) permits(a profile.Access) bool {
	return a.Met(c.ses.pin, func(key string) bool { return c.ses.proved[key] })
}

func (c *Card) readRecord(cmd apdu.Command) ([]byte, apdu.Status) {
	mode := cmd.P2 & 7
	if len(cmd.Data) > 0 {
		return nil, apdu.StatusWrongLength
	}
	if mode > modeTo {
		return nil, apdu.StatusWrongP1P2
	}
	l, f, sw := c.open(cmd.P2 >> 3)
	switch {
	case !sw.OK():
		return nil, sw
	case l.file.Structure == profile.Transparent:
		return nil, apdu.StatusStructure
	case mode == modeFrom && c.quirks[QuirkMode5Parameters]:
		return nil, apdu.StatusWrongP1P2
	case mode == modeFrom && c.quirks[QuirkMode5Structure]:
		return nil, apdu.StatusStructure
	case !c.permits(l.read):
		return nil, apdu.StatusSecurity
	}
	c.enterEF(l)
	n, ok := c.find(l, f, cmd.P1, mode)
	if !ok {
		return nil, apdu.StatusRecordNotFound
	}
	switch mode {
	case modeFrom:
		return together(f.records[n-1:], cmd.Le)
	case modeTo:
		down := slices.Clone(f.records[n-1:])
		slices.Reverse(down)
		return together(down, cmd.Le)
	case modeNumber:
	default:
		c.ses.record = n
	}
	return slices.Clone(f.records[n-1]), apdu.StatusOK
}

// together puts as many whole records into one answer as it and Le hold. A
// record is never split; Le below the first one gets its exact length.
func together(records [][]byte, le int) ([]byte, apdu.Status) {
	most := maxAnswer
	if le > 0 {
		most = le
	}
	var out []byte
	for i, r := range records {
		if i > 0 && len(out)+len(r) > most {
			break
		}
		out = append(out, r...)
	}
	return out, apdu.StatusOK
}

// find returns the number of the record that P1 and the mode name. Modes 0 to
// 3 look for a tag, 00 for any; they start at the current record. In the other
// modes P1 is a number, 00 the current record.
func (c *Card) find(l *layout, f *content, p1, mode byte) (int, bool) {
	count, current := len(f.records), c.ses.record
	if mode >= modeNumber {
		n := int(p1)
		if n == 0 {
			n = current
		}
		return n, n >= 1 && n <= count
	}
	n, step := 1, 1
	switch {
	case mode == modeLast, mode == modePrevious && current == 0:
		n, step = count, -1
	case mode == modeNext:
		n = current + 1
	case mode == modePrevious:
		n, step = current-1, -1
	}
	for ; n >= 1 && n <= count; n += step {
		r := f.records[n-1]
		tagged := l.file.Structure != profile.CyclicFile && len(r) > 0 && r[0] == p1
		if p1 == 0 || tagged {
			return n, true
		}
	}
	return 0, false
}

func (c *Card) updateRecord(cmd apdu.Command) ([]byte, apdu.Status) {
	data, sw := c.body(cmd)
	if !sw.OK() {
		return nil, sw
	}
	l, f, sw := c.open(cmd.P2 >> 3)
	switch {
	case !sw.OK():
		return nil, sw
	case l.file.Structure == profile.Transparent:
		return nil, apdu.StatusStructure
	case !c.permits(l.write):
		return nil, apdu.StatusSecurity
	case len(data) == 0:
		return nil, apdu.StatusWrongLength
	}
	c.enterEF(l)
	if l.file.Structure == profile.CyclicFile {
		return nil, c.appendCyclic(l, cmd, data)
	}
	return nil, c.updateLinear(l, f, cmd, data)
}

// appendCyclic makes data record 1 and forgets the oldest record of a full
// file.
func (c *Card) appendCyclic(l *layout, cmd apdu.Command, data []byte) apdu.Status {
	if cmd.P2&7 != modePrevious || cmd.P1 != 0 {
		return apdu.StatusWrongP1P2
	}
	if len(data) != l.recordSize {
		return apdu.StatusWrongLength
	}
	c.put(func(f *content) {
		f.records = slices.Insert(f.records, 0, slices.Clone(data))
		if len(f.records) > l.capacity {
			f.records = f.records[:l.capacity]
		}
	})
	return apdu.StatusOK
}

// updateLinear replaces a record, or appends the next one that the file has
// room for.
func (c *Card) updateLinear(l *layout, f *content, cmd apdu.Command, data []byte) apdu.Status {
	mode := cmd.P2 & 7
	if mode > modeNumber {
		return apdu.StatusWrongP1P2
	}
	n, ok := c.find(l, f, cmd.P1, mode)
	if !ok {
		next := len(f.records) + 1
		switch {
		case mode != modeNumber || int(cmd.P1) > next && int(cmd.P1) <= l.capacity || cmd.P1 == 0:
			return apdu.StatusRecordNotFound
		case int(cmd.P1) > l.capacity:
			return apdu.StatusNoRoom
		}
		n = next
	}
	slot := l.record(n)
	switch {
	case len(data) != 2+slot.Length:
		return apdu.StatusWrongLength
	case data[0] != slot.ID:
		return apdu.StatusWrongData
	case int(data[1]) != slot.Length:
		return apdu.StatusTLV
	}
	c.put(func(f *content) {
		if n > len(f.records) {
			f.records = append(f.records, nil)
		}
		f.records[n-1] = slices.Clone(data)
	})
	if mode != modeNumber {
		c.ses.record = n
	}
	return apdu.StatusOK
}

// put changes the current EF.
func (c *Card) put(change func(*content)) {
	id := fileID{c.ses.df, c.ses.ef}
	c.store(func(m *memory) { change(m.files[id]) })
}

func (c *Card) readBinary(cmd apdu.Command) ([]byte, apdu.Status) {
	if len(cmd.Data) > 0 {
		return nil, apdu.StatusWrongLength
	}
	l, f, offset, sw := c.openBinary(cmd)
	switch {
	case !sw.OK():
		return nil, sw
	case !c.permits(l.read):
		return nil, apdu.StatusSecurity
	case offset >= len(f.data):
		return nil, apdu.StatusOffset
	}
	c.enterEF(l)
	n := cmd.Le
	if n == 0 {
		n = maxAnswer
	}
	return slices.Clone(f.data[offset:min(offset+n, len(f.data))]), apdu.StatusOK
}

func (c *Card) updateBinary(cmd apdu.Command) ([]byte, apdu.Status) {
	data, sw := c.body(cmd)
	if !sw.OK() {
		return nil, sw
	}
	l, f, offset, sw := c.openBinary(cmd)
	switch {
	case !sw.OK():
		return nil, sw
	case !c.permits(l.write):
		return nil, apdu.StatusSecurity
	case len(data) == 0:
		return nil, apdu.StatusWrongLength
	case offset >= len(f.data):
		return nil, apdu.StatusOffset
	case offset+len(data) > len(f.data):
		return nil, apdu.StatusNoRoom
	}
	c.enterEF(l)
	c.put(func(f *content) { copy(f.data[offset:], data) })
	return nil, apdu.StatusOK
}

// openBinary reads P1 and P2: an SFI and an offset of 8 bits, or an offset of
// 15 bits in the current EF.
func (c *Card) openBinary(cmd apdu.Command) (*layout, *content, int, apdu.Status) {
	sfi, offset := byte(0), int(cmd.P1)<<8|int(cmd.P2)
	if cmd.P1&0x80 != 0 {
		sfi, offset = cmd.P1&0x1F, int(cmd.P2)
		if cmd.P1&0x60 != 0 || sfi == 0 {
			return nil, nil, 0, apdu.StatusWrongP1P2
		}
	}
	l, f, sw := c.open(sfi)
	if sw.OK() && l.file.Structure != profile.Transparent {
		sw = apdu.StatusStructure
	}
	return l, f, offset, sw
}
