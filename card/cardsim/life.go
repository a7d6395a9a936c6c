package cardsim

import (
	"bytes"
	"slices"

	"onecard/apdu"
)

// secured checks a command that needs a MAC and nothing else.
func (c *Card) secured(cmd apdu.Command, key string) apdu.Status {
	s, sw := c.messaging()
	if !sw.OK() {
		return sw
	}
	defer s.Wipe()
	data, err := s.Open(header(cmd), cmd.Data)
	switch {
	case err != nil:
		return apdu.StatusWrongMAC
	case !c.ses.proved[key]:
		return apdu.StatusSecurity
	case len(data) != 0:
		return apdu.StatusWrongLength
	}
	return apdu.StatusOK
}

// blockApplication is APPLICATION BLOCK 84 1E 00 01, for good: the current DF,
// when its LK is proved (card specification, section 9).
func (c *Card) blockApplication(cmd apdu.Command) ([]byte, apdu.Status) {
	if cmd.P1 != 0 || cmd.P2 != 1 {
		return nil, apdu.StatusWrongP1P2
	}
	d, ok := c.mem.dirs[c.ses.df]
	if !ok {
		return nil, apdu.StatusConditions
	}
	if sw := c.secured(cmd, "LK"+c.ses.df); !sw.OK() {
		return nil, sw
	}
	d.blocked = true
	return nil, c.store(func(m *memory) { m.setDirectory(c.ses.df, d) })
}

// blockCard is CARD BLOCK 84 16 00 00, for good, under SSSE when BK is proved.
func (c *Card) blockCard(cmd apdu.Command) ([]byte, apdu.Status) {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.StatusWrongP1P2
	}
	if c.ses.df != dfSSSE {
		return nil, apdu.StatusConditions
	}
	if sw := c.secured(cmd, "BK"); !sw.OK() {
		return nil, sw
	}
	return nil, c.store(func(m *memory) { m.life = lifeBlocked })
}

// ats begins the answer to select of a contactless card: length, T0, TA(1),
// TB(1), TC(1); the historical bytes follow (card specification, section 6).
var ats = []byte{0x12, 0x78, 0x80, 0xA0, 0x02}

// ATS returns the answer to select that the card gives without contacts (ISO
// 14443-4), nil where it has no antenna.
func (c *Card) ATS() []byte {
	if !c.chip.contactless || c.quirks[QuirkMute] {
		return nil
	}
	return append(slices.Clone(ats), c.chip.historical[:]...)
}

// ATR returns the answer to reset without touching the card; nil for a mute
// one. Without contacts it is what a PC/SC reader makes of the ATS (PC/SC part
// 3, 3.1.3.2.3.1).
func (c *Card) ATR() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.atr()
}

func (c *Card) atr() []byte {
	switch {
	case c.quirks[QuirkMute]:
		return nil
	case c.chip.bank:
		return slices.Clone(c.chip.atr)
	case c.chip.contactless:
		return PseudoATR(c.chip.historical[:])
	}
	// T=0, no interface bytes but TB1 and TC1 (card specification, section 6).
	return append([]byte{0x3B, 0x6D, 0x00, 0x00}, c.chip.historical[:]...)
}

// PseudoATR returns the ATR by which a PC/SC reader presents a contactless card
// of Type A: 3B 8n 80 01, the n historical bytes of its ATS (at most 15), and
// the XOR of everything after 3B.
func PseudoATR(historical []byte) []byte {
	historical = historical[:min(len(historical), 15)]
	atr := append([]byte{0x3B, 0x80 | byte(len(historical)), 0x80, 0x01}, historical...)
	check := byte(0)
	for _, b := range atr[1:] {
		check ^= b
	}
	return append(atr, check)
}

// nodeOf returns the node of the reference tree that a file identifier or a
// name belongs to.
func nodeOf(fid [2]byte, aid []byte) (string, bool) {
	for node, d := range referenceDirectories() {
		if d.fid == fid && (len(d.aid) == 0 || bytes.Equal(d.aid, aid)) {
			return node, true
		}
	}
	return "", false
}

// inCertificates tells whether a node is of the certificate environment.
func inCertificates(node string) bool { return node == dfACSE || node == dfCert }
