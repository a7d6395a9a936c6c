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

// A file is an EF that a command works on.
type file struct {
	id fileID
	*form
	*content
}

// open finds the EF that an SFI names, 0 being the current EF.
func (c *Card) open(sfi byte) (*file, apdu.Status) {
	switch sfi {
	case 0:
		if c.ses.ef == 0 {
			return nil, apdu.StatusNoCurrentFile
		}
		sfi = c.ses.ef
	case 31:
		return nil, apdu.StatusWrongP1P2
	}
	id := fileID{c.ses.df, sfi}
	if c.mem.files[id] == nil {
		return nil, apdu.StatusNotFound
	}
	return &file{id, c.mem.forms[id], c.mem.files[id]}, apdu.StatusOK
}

// enterEF makes an EF the current one once a command has been let in, as
// ISO 7816-4, 7.2.1 wants it for an SFI.
func (c *Card) enterEF(f *file) {
	if c.ses.ef != f.id.sfi {
		c.ses.ef, c.ses.record = f.id.sfi, 0
	}
}

// permits evaluates an access condition against the security state. Until the
// end of pre-issue there are no conditions.
func (c *Card) permits(a profile.Access) bool {
	return c.mem.life == lifeBlank || a.Met(c.ses.pin, func(key string) bool { return c.ses.proved[key] })
}

func (c *Card) readRecord(cmd apdu.Command) ([]byte, apdu.Status) {
	mode := cmd.P2 & 7
	if len(cmd.Data) > 0 {
		return nil, apdu.StatusWrongLength
	}
	if mode > modeTo {
		return nil, apdu.StatusWrongP1P2
	}
	f, sw := c.open(cmd.P2 >> 3)
	switch {
	case !sw.OK():
		return nil, sw
	case f.structure == profile.Transparent:
		return nil, apdu.StatusStructure
	case mode == modeFrom && c.quirks[QuirkMode5Parameters]:
		return nil, apdu.StatusWrongP1P2
	case mode == modeFrom && c.quirks[QuirkMode5Structure]:
		return nil, apdu.StatusStructure
	case !c.permits(f.read):
		return nil, apdu.StatusSecurity
	}
	c.enterEF(f)
	n, ok := c.find(f, cmd.P1, mode)
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
func (c *Card) find(f *file, p1, mode byte) (int, bool) {
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
		tagged := f.structure != profile.CyclicFile && len(r) > 0 && r[0] == p1
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
	f, sw := c.open(cmd.P2 >> 3)
	switch {
	case !sw.OK():
		return nil, sw
	case f.structure == profile.Transparent:
		return nil, apdu.StatusStructure
	case !c.permits(f.write):
		return nil, apdu.StatusSecurity
	case !c.protected(f, cmd):
		return nil, apdu.StatusWrongMAC
	case len(data) == 0:
		return nil, apdu.StatusWrongLength
	}
	c.enterEF(f)
	if f.structure == profile.CyclicFile {
		return nil, c.appendCyclic(f, cmd, data)
	}
	return nil, c.updateLinear(f, cmd, data)
}

// protected tells whether an update comes in the form that the file wants.
func (c *Card) protected(f *file, cmd apdu.Command) bool {
	return !f.secured || cmd.CLA&0x04 != 0 || c.mem.life == lifeBlank
}

// appendCyclic makes data record 1 and forgets the oldest record of a full
// file.
func (c *Card) appendCyclic(f *file, cmd apdu.Command, data []byte) apdu.Status {
	if cmd.P2&7 != modePrevious || cmd.P1 != 0 {
		return apdu.StatusWrongP1P2
	}
	if len(data) != f.recordSize {
		return apdu.StatusWrongLength
	}
	return c.store(func(m *memory) { m.appendRecord(f.id, data) })
}

// updateLinear replaces a record, or appends the next one that the file has
// room for.
func (c *Card) updateLinear(f *file, cmd apdu.Command, data []byte) apdu.Status {
	mode := cmd.P2 & 7
	if mode > modeNumber {
		return apdu.StatusWrongP1P2
	}
	n, ok := c.find(f, cmd.P1, mode)
	if !ok {
		next := len(f.records) + 1
		switch {
		case mode != modeNumber || int(cmd.P1) > next && int(cmd.P1) <= f.capacity || cmd.P1 == 0:
			return apdu.StatusRecordNotFound
		case int(cmd.P1) > f.capacity:
			return apdu.StatusNoRoom
		}
		n = next
	}
	slot := f.slots[n-1]
	switch {
	case len(data) != 2+slot.length:
		return apdu.StatusWrongLength
	case data[0] != slot.tag:
		return apdu.StatusWrongData
	case int(data[1]) != slot.length:
		return apdu.StatusTLV
	}
	sw := c.store(func(m *memory) {
		f := m.edit(f.id)
		if n > len(f.records) {
			f.records = append(f.records, nil)
		}
		f.records[n-1] = slices.Clone(data)
	})
	if sw.OK() && mode != modeNumber {
		c.ses.record = n
	}
	return sw
}

func (c *Card) readBinary(cmd apdu.Command) ([]byte, apdu.Status) {
	if len(cmd.Data) > 0 {
		return nil, apdu.StatusWrongLength
	}
	f, offset, sw := c.openBinary(cmd)
	switch {
	case !sw.OK():
		return nil, sw
	case !c.permits(f.read):
		return nil, apdu.StatusSecurity
	case offset >= len(f.data):
		return nil, apdu.StatusOffset
	}
	c.enterEF(f)
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
	f, offset, sw := c.openBinary(cmd)
	switch {
	case !sw.OK():
		return nil, sw
	case !c.permits(f.write):
		return nil, apdu.StatusSecurity
	case !c.protected(f, cmd):
		return nil, apdu.StatusWrongMAC
	case len(data) == 0:
		return nil, apdu.StatusWrongLength
	case offset >= len(f.data):
		return nil, apdu.StatusOffset
	case offset+len(data) > len(f.data):
		return nil, apdu.StatusNoRoom
	}
	c.enterEF(f)
	// The specification promises nothing for a change of many bytes; here each
	// command is done or not, as the smallest transparent file needs it.
	return nil, c.store(func(m *memory) { copy(m.edit(f.id).data[offset:], data) })
}

// openBinary reads P1 and P2: an SFI and an offset of 8 bits, or an offset of
// 15 bits in the current EF.
func (c *Card) openBinary(cmd apdu.Command) (*file, int, apdu.Status) {
	sfi, offset := byte(0), int(cmd.P1)<<8|int(cmd.P2)
	if cmd.P1&0x80 != 0 {
		sfi, offset = cmd.P1&0x1F, int(cmd.P2)
		if cmd.P1&0x60 != 0 || sfi == 0 {
			return nil, 0, apdu.StatusWrongP1P2
		}
	}
	f, sw := c.open(sfi)
	if sw.OK() && f.structure != profile.Transparent {
		sw = apdu.StatusStructure
	}
	return f, offset, sw
}
