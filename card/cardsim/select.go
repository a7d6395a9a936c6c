package cardsim

import (
	"bytes"

	"onecard/apdu"
)

// The nodes of the file tree (card specification, section 2).
const (
	dfMF   = "MF"
	dfSSSE = "SSSE"
)

// A fileID is an EF: its DF and its SFI, which is the low byte of its FID.
type fileID struct {
	df  string // "SSSE", "DF03"
	sfi byte
}

// rootFID is the file identifier of the MF.
var rootFID = [2]byte{0x3F, 0x00}

// pseName is the payment environment of a bank card.
const pseName = "1PAY.SYS.DDF01"

func (c *Card) selectFile(cmd apdu.Command) ([]byte, apdu.Status) {
	if c.quirks[QuirkCardBlocked] {
		return nil, apdu.StatusCardBlocked
	}
	if cmd.P2 != 0x00 && cmd.P2 != 0x02 {
		return nil, apdu.StatusWrongP1P2
	}
	switch cmd.P1 {
	case 0x00:
		return c.selectFID(cmd)
	case 0x02:
		if c.quirks[QuirkSelectP1Zero] {
			return nil, apdu.StatusWrongP1P2
		}
		return c.selectEF(cmd)
	case 0x04:
		return c.selectName(cmd)
	}
	return nil, apdu.StatusWrongP1P2
}

// selectName selects by the whole name. Names are unique, so there is never a
// next occurrence (P2 = 02).
func (c *Card) selectName(cmd apdu.Command) ([]byte, apdu.Status) {
	if len(cmd.Data) == 0 || len(cmd.Data) > 16 {
		return nil, apdu.StatusWrongLength
	}
	if cmd.P2 == 0x02 {
		return nil, apdu.StatusNotFound
	}
	if c.chip.bank {
		if string(cmd.Data) != pseName {
			return nil, apdu.StatusNotFound
		}
		return tlv(0x6F, tlv(0x84, cmd.Data), tlv(0xA5, tlv(0x88, []byte{1}))), apdu.StatusOK
	}
	for node, d := range c.mem.dirs {
		if len(d.aid) > 0 && bytes.Equal(cmd.Data, d.aid) {
			return c.selectDF(node)
		}
	}
	return nil, apdu.StatusNotFound
}

// selectFID selects the MF, a DF, or an EF of the current DF. The applications
// can be reached from SSSE and from each other, SSSE from everywhere.
func (c *Card) selectFID(cmd apdu.Command) ([]byte, apdu.Status) {
	if len(cmd.Data) != 0 && len(cmd.Data) != 2 {
		return nil, apdu.StatusWrongLength
	}
	if cmd.P2 == 0x02 || c.chip.bank && len(cmd.Data) != 0 {
		return nil, apdu.StatusNotFound
	}
	fid := rootFID
	copy(fid[:], cmd.Data)
	if fid == rootFID {
		return c.selectMF()
	}
	for node, d := range c.mem.dirs {
		if d.fid != fid {
			continue
		}
		hidden := node == dfSSSE && c.quirks[QuirkRootSSSE]
		if c.ses.df == dfMF && d.parent != dfMF || hidden {
			return nil, apdu.StatusNotFound
		}
		return c.selectDF(node)
	}
	return c.selectEF(cmd)
}

func (c *Card) selectMF() ([]byte, apdu.Status) {
	if c.quirks[QuirkRootSSSE] {
		return c.selectDF(dfSSSE)
	}
	c.enter(dfMF)
	return tlv(0x6F, tlv(0x83, rootFID[:])), apdu.StatusOK
}

func (c *Card) selectDF(node string) ([]byte, apdu.Status) {
	d, ok := c.mem.dirs[node]
	switch {
	case !ok:
		return nil, apdu.StatusNotFound
	case c.quirks[QuirkAppBlocked], d.blocked:
		return nil, apdu.StatusAppBlocked
	}
	c.enter(node)
	return c.fci(node, d), apdu.StatusOK
}

// enter makes a DF the current one. Selecting the same one again keeps its
// keys and the challenge, another one drops them; the PIN lasts until reset
// (card specification, section 9).
func (c *Card) enter(df string) {
	if df != c.ses.df {
		clear(c.ses.proved)
		c.ses.challenge = nil
	}
	c.ses.df, c.ses.ef, c.ses.record = df, 0, 0
}

// selectEF selects an EF of the current DF. There is no FCI.
func (c *Card) selectEF(cmd apdu.Command) ([]byte, apdu.Status) {
	if len(cmd.Data) != 2 {
		return nil, apdu.StatusWrongLength
	}
	id := fileID{c.ses.df, cmd.Data[1]}
	if cmd.P2 == 0x02 || c.mem.files[id] == nil || [2]byte(cmd.Data) != c.mem.forms[id].fid {
		return nil, apdu.StatusNotFound
	}
	c.ses.ef, c.ses.record = id.sfi, 0
	return nil, apdu.StatusOK
}

// fci describes a DF: 6F{84 name, A5{88 directory SFI, 9F0C{86 algorithm}}}. A
// DF whose name is the issuer's choice gives its FID instead.
func (c *Card) fci(node string, d directory) []byte {
	id := tlv(0x83, d.fid[:])
	if len(d.aid) > 0 {
		id = tlv(0x84, d.aid)
	}
	var own []byte
	if node == dfSSSE {
		own = tlv(0x88, []byte{0x01})
	}
	if d.alg != 0 {
		alg := tlv(0x86, []byte{d.alg})
		own = append(own, 0x9F, 0x0C, byte(len(alg)))
		own = append(own, alg...)
	}
	if len(own) == 0 {
		return tlv(0x6F, id)
	}
	return tlv(0x6F, id, tlv(0xA5, own))
}

// tlv encodes a tag and values of less than 128 bytes together.
func tlv(tag byte, values ...[]byte) []byte {
	out := []byte{tag, 0}
	for _, v := range values {
		out = append(out, v...)
	}
	out[1] = byte(len(out) - 2)
	return out
}
