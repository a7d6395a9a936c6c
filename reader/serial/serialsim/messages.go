package serialsim

import (
	"bytes"
	"encoding/binary"
)

// Status bits (bmICCStatus) and reasons (bError) of answers.
const (
	cardActive   = 0
	cardInactive = 1
	cardAbsent   = 2
	failed       = 0x40

	errUnknown = 0x00
	errLength  = 0x01
	errSlot    = 0x05
	errMute    = 0xFE
)

// defaultParameters are those of a card of T=0 and T=1 that asks for nothing.
var defaultParameters = [2][]byte{{0x11, 0, 0, 10, 0}, {0x11, 0x10, 0, 0x4D, 0, 0x20, 0}}

// handle carries a message out and returns its answer, and what is to be told of
// card movements before it.
func (r *Reader) handle(m []byte) (moves, answer []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	moves, r.moves = r.moves, nil
	data := m[10:]
	kind, extra, code, out := byte(0x81), byte(0), -1, []byte(nil)
	switch {
	case m[5] != 0:
		code = errSlot
	case m[0] == 0x62: // power on
		kind = 0x80
		out, code = r.power()
	case m[0] == 0x63: // power off
		if r.card != nil {
			r.off()
		}
	case m[0] == 0x65: // slot status
	case m[0] == 0x61: // set parameters
		kind = 0x82
		if m[7] > 1 || len(data) != len(defaultParameters[m[7]]) {
			code = 7
			break
		}
		r.protocol = m[7]
		r.params[m[7]] = bytes.Clone(data)
		extra, out = r.protocol, data
	case m[0] == 0x6C, m[0] == 0x6D: // get and reset parameters
		kind = 0x82
		if m[0] == 0x6D || r.params[r.protocol] == nil {
			r.params = defaultParameters
		}
		extra, out = r.protocol, r.params[r.protocol]
	case m[0] == 0x6B: // escape
		kind = 0x83
		out, code = r.escape(data)
	case m[0] == 0x6F: // exchange
		kind = 0x80
		out, code = r.exchange(data)
	default:
		code = errUnknown
	}
	status := byte(cardActive)
	switch {
	case r.card == nil:
		status = cardAbsent
	case !r.powered:
		status = cardInactive
	}
	reason := byte(0)
	if code >= 0 {
		status |= failed
		reason, out = byte(code), nil
	}
	answer = append(answer, kind)
	answer = binary.LittleEndian.AppendUint32(answer, uint32(len(out)))
	answer = append(answer, m[5], m[6], status, reason, extra)
	return moves, append(answer, out...)
}

// power resets the card. code is -1 or the reason of a failure.
func (r *Reader) power() (atr []byte, code int) {
	if r.card == nil {
		return nil, errMute
	}
	r.off()
	r.params, r.protocol = defaultParameters, 0
	if r.config.Mute {
		return nil, errMute
	}
	atr = r.card.PowerOn()
	if len(atr) == 0 {
		return nil, errMute
	}
	r.powered, r.fresh = true, true
	return atr, -1
}

// escape is what only this kind of reader does: 02 asks for its name, 01 01 01
// that it tells of card movements.
func (r *Reader) escape(data []byte) ([]byte, int) {
	switch {
	case bytes.Equal(data, []byte{0x02}):
		return []byte(r.config.Firmware), -1
	case bytes.Equal(data, []byte{0x01, 0x01, 0x01}):
		r.tell = true
		return nil, -1
	}
	return nil, errUnknown
}

// exchange hands a TPDU to the card.
func (r *Reader) exchange(tpdu []byte) ([]byte, int) {
	if r.card == nil || !r.powered {
		return nil, errMute
	}
	if r.fresh && pps(tpdu) {
		return tpdu, -1
	}
	r.fresh = false
	// Header alone, header with P3 alone, or with the data that P3 counts.
	if len(tpdu) < 4 || len(tpdu) > 5 && len(tpdu) != 5+int(tpdu[4]) {
		return nil, errLength
	}
	if len(r.rest) > 0 && len(tpdu) == 5 && bytes.Equal(tpdu[:4], []byte{0x00, 0xC0, 0x00, 0x00}) {
		r.carried++
		return r.fetch(int(tpdu[4])), -1
	}
	r.rest = nil
	r.carried++
	answer := r.card.Transmit(bytes.Clone(tpdu))
	if len(answer) < 2 {
		// It was torn out while it worked.
		r.off()
		r.card = nil
		return nil, errMute
	}
	if n := len(answer) - 2; len(tpdu) > 5 && n > 0 {
		// Data went to the card, so none can come back in the same TPDU.
		r.rest = bytes.Clone(answer)
		return []byte{0x61, byte(n)}, -1
	}
	return bytes.Clone(answer), -1
}

// fetch is GET RESPONSE.
func (r *Reader) fetch(le int) []byte {
	n := len(r.rest) - 2
	if le == 0 {
		le = 256
	}
	if le > n {
		return []byte{0x6C, byte(n)}
	}
	out := bytes.Clone(r.rest[:le])
	if le == n {
		out = append(out, r.rest[n:]...)
		r.rest = nil
		return out
	}
	r.rest = r.rest[le:]
	return append(out, 0x61, byte(n-le))
}

// pps reports whether bytes are a request of ISO 7816-3, 9.2.
func pps(b []byte) bool {
	if len(b) < 3 || len(b) > 6 || b[0] != 0xFF {
		return false
	}
	var sum byte
	for _, c := range b {
		sum ^= c
	}
	n := 3
	for bit := byte(0x10); bit <= 0x40; bit <<= 1 {
		if b[1]&bit != 0 {
			n++
		}
	}
	return sum == 0 && len(b) == n
}
