package transportsim

import (
	"bytes"
	"fmt"

	"onecard/reader"
)

// status is ST0 ST1 ST2. The caller holds mu, as of everything here.
func (u *Unit) status() []byte {
	st := []byte{u.pos, '2', '0'}
	switch n := len(u.hopper); {
	case n == 0:
		st[1] = '0'
	case n <= 3:
		st[1] = '1'
	}
	if len(u.bin) >= u.binSize {
		st[2] = '1'
	}
	return st
}

// execute carries a command out and returns the answer's data, or an error code.
func (u *Unit) execute(cm, pm byte, data []byte) ([]byte, string) {
	if cm == 0x30 {
		return u.initialise(pm)
	}
	if !u.ready {
		return nil, "B0"
	}
	switch {
	case cm == 0x31 && pm == '0':
		return nil, ""
	case cm == 0x31 && pm == '1':
		return u.sensors(), ""
	case cm == 0x32:
		return nil, u.move(pm)
	case cm == 0x33 && (pm == '0' || pm == '1'):
		u.entry = pm == '0'
		return nil, ""
	case cm == 0x50:
		return u.cardType(pm)
	case cm == 0x51:
		return u.contact(pm, data)
	case cm == 0x52:
		return u.samCommand(pm, data)
	case cm == 0x60:
		return u.radio(pm, data)
	case cm == 0xA2 && pm == '0':
		return []byte(u.serial), ""
	case cm == 0xA3 && pm == '0':
		return []byte("00110000"), ""
	case cm == 0xA4 && pm == '0':
		return []byte(u.version), ""
	case cm == 0xA5 && pm == '0':
		return fmt.Appendf(nil, "%03d", u.counter), ""
	case cm == 0xA5 && pm == '1':
		u.counter, u.bin = 0, nil
		return nil, ""
	case cm == 0x31 || cm == 0x33 || cm >= 0xA2 && cm <= 0xA5:
		return nil, "01"
	}
	return nil, "00"
}

func (u *Unit) initialise(pm byte) ([]byte, string) {
	if pm != '0' && pm != '1' && pm != '3' && pm != '4' && pm != '5' && pm != '7' {
		return nil, "01"
	}
	u.release()
	if u.pos == posIn {
		switch pm {
		case '0', '4':
			if u.jammed {
				return nil, "10"
			}
			u.place = '0'
		case '1', '5':
			if code := u.drop(pm == '5'); code != "" {
				return nil, code
			}
		}
	}
	u.ready, u.entry, u.sam = true, false, 0
	return []byte(u.version), ""
}

// drop moves the card into the reject bin.
func (u *Unit) drop(count bool) string {
	switch {
	case u.jammed:
		return "10"
	case len(u.bin) >= u.binSize:
		return "A1"
	case count && u.counter >= 999:
		return "50"
	}
	u.release()
	u.bin = append(u.bin, u.card)
	u.card, u.pos = nil, posNone
	if count {
		u.counter++
	}
	return ""
}

// sensors are ten: gate, two along the path, position, hopper empty, hopper low,
// bin full, and three that nothing covers.
func (u *Unit) sensors() []byte {
	s := []byte("0000000000")
	st := u.status()
	if st[0] == posGate {
		s[0] = '1'
	}
	if st[0] == posIn {
		s[1], s[2], s[3] = '1', '1', '1'
	}
	if st[1] == '0' {
		s[4] = '1'
	}
	if st[1] != '2' {
		s[5] = '1'
	}
	if st[2] == '1' {
		s[6] = '1'
	}
	return s
}

func (u *Unit) move(pm byte) string {
	switch pm {
	case '0', '1', '2', '3', '9':
	default:
		return "01"
	}
	if u.jammed {
		return "10"
	}
	if u.chip != nil && pm != '1' {
		return "05"
	}
	if u.card == nil {
		if len(u.hopper) == 0 {
			return "A0"
		}
		u.card, u.hopper = u.hopper[0], u.hopper[1:]
	}
	switch pm {
	case '3':
		return u.drop(true)
	case '9':
		u.release()
		u.pos = posGate
	default:
		u.pos, u.place = posIn, pm
	}
	return ""
}

func (u *Unit) cardType(pm byte) ([]byte, string) {
	switch {
	case pm != '0' && pm != '1':
		return nil, "01"
	case u.pos != posIn:
		return nil, "02"
	case pm == '1' && u.place == '2' && u.card.Field != nil:
		return []byte("10"), ""
	case pm == '0' && u.place == '1' && u.card.Contact != nil && u.chip != nil:
		return []byte("10"), ""
	}
	return []byte("00"), ""
}

// contact is command 51.
func (u *Unit) contact(pm byte, data []byte) ([]byte, string) {
	if u.pos != posIn {
		return nil, "16"
	}
	if u.place != '1' {
		return nil, "02"
	}
	switch pm {
	case '0', '8':
		if pm == '0' && !bytes.Equal(data, []byte("0")) && len(data) > 0 {
			return nil, "04"
		}
		if pm == '8' && u.chip == nil {
			return nil, "02"
		}
		u.release()
		atr := powerOn(u.card.Contact)
		if len(atr) == 0 {
			return nil, "61"
		}
		u.chip = u.card.Contact
		return atr, ""
	case '1':
		u.release()
		return nil, ""
	case '2':
		if u.chip != nil {
			return []byte("1"), ""
		}
		return []byte("0"), ""
	}
	return u.apdu(u.chip, pm, data)
}

func powerOn(c Chip) []byte {
	if c == nil {
		return nil
	}
	return c.PowerOn()
}

// apdu is command 33, 34 or 39 of a chip with contacts.
func (u *Unit) apdu(c Chip, pm byte, data []byte) ([]byte, string) {
	switch {
	case pm != '3' && pm != '4' && pm != '9':
		return nil, "01"
	case c == nil:
		return nil, "02"
	case len(data) < 4:
		return nil, "04"
	}
	answer := c.Transmit(bytes.Clone(data))
	if len(answer) < 2 {
		return nil, "68"
	}
	return bytes.Clone(answer), ""
}

// samCommand is command 52.
func (u *Unit) samCommand(pm byte, data []byte) ([]byte, string) {
	if pm == '@' {
		if len(data) != 1 || data[0] < '0' || data[0] > '3' {
			return nil, "01"
		}
		u.sam = data[0]
		return nil, ""
	}
	if u.sam == 0 {
		return nil, "02"
	}
	chip := u.sams[u.sam]
	switch pm {
	case '0', '8':
		if chip != nil && u.samPower[u.sam] {
			chip.PowerOff()
		}
		atr := powerOn(chip)
		u.samPower[u.sam] = len(atr) > 0
		if len(atr) == 0 {
			return nil, "61"
		}
		return atr, ""
	case '1':
		if chip != nil && u.samPower[u.sam] {
			chip.PowerOff()
		}
		u.samPower[u.sam] = false
		return nil, ""
	case '2':
		if u.samPower[u.sam] {
			return []byte("1"), ""
		}
		return []byte("0"), ""
	}
	if !u.samPower[u.sam] {
		chip = nil
	}
	return u.apdu(chip, pm, data)
}

// radio is command 60.
func (u *Unit) radio(pm byte, data []byte) ([]byte, string) {
	if u.pos != posIn {
		return nil, "16"
	}
	switch pm {
	case '0':
		if u.place != '2' {
			return nil, "02"
		}
		if !bytes.ContainsAny(data, "AB") {
			return nil, "04"
		}
		u.release()
		atr := powerOn(u.card.Field)
		if len(atr) == 0 {
			return nil, "61"
		}
		u.field = u.card.Field
		return start(atr), ""
	case '1':
		u.release()
		return nil, ""
	case '2':
		if u.field != nil {
			return []byte("1"), ""
		}
		return []byte("0"), ""
	case '9':
		if len(data) != 1 || data[0] != '0' && data[0] != '1' {
			return nil, "04"
		}
		if data[0] == '1' {
			u.release()
		}
		return nil, ""
	case '4', '5':
		if u.field == nil {
			return nil, "02"
		}
		if pm == '5' {
			return nil, "62" // the card is of type A
		}
		if len(data) < 4 {
			return nil, "04"
		}
		answer := u.field.Transmit(bytes.Clone(data))
		if len(answer) < 2 {
			return nil, "68"
		}
		return bytes.Clone(answer), ""
	}
	return nil, "01"
}

// start is what starting a type A card answers: ATQA, UID, SAK, and an ATS with the
// historical bytes of the answer to reset.
func start(atr []byte) []byte {
	var historical []byte
	if parsed, err := reader.ParseATR(atr); err == nil {
		historical = parsed.Historical
	}
	answer := []byte{'A', 0x04, 0x00, 4, 0x08, 0x51, 0x57, 0x1C, 0x20}
	ats := append([]byte{0, 0x78, 0x80, 0x70, 0x02}, historical...)
	ats[0] = byte(len(ats))
	return append(answer, ats...)
}
