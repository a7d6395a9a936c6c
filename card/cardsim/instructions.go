package cardsim

import (
	"onecard/apdu"
)

// Instructions (card specification, section 4).
const (
	insErase        = 0x0E
	insCardBlock    = 0x16
	insAppBlock     = 0x1E
	insVerify       = 0x20
	insReloadPIN    = 0x24
	insGetBalance   = 0x26
	insInit         = 0x28
	insCredit       = 0x2A // and sign
	insDebit        = 0x2C
	insProof        = 0x2E
	insKeyPair      = 0x40
	insStartDay     = 0x56
	insChangePIN    = 0x5E
	insExternalAuth = 0x82
	insGetChallenge = 0x84
	insInternalAuth = 0x88
	insSelect       = 0xA4
	insReadBinary   = 0xB0
	insReadRecord   = 0xB2
	insGetResponse  = 0xC0
	insPublicKey    = 0xC9
	insWriteKey     = 0xD4
	insUpdateBinary = 0xD6
	insUpdateRecord = 0xDC
	insCreate       = 0xE0
)

// An instruction is one command of the card: the class and what does it. A
// command added later is one line in [Card.instructions].
type instruction struct {
	run func(apdu.Command) ([]byte, apdu.Status)

	// keeps: the command, when it succeeds, leaves a transaction that has begun
	// alone. Every other ends it (card specification, section 9).
	keeps bool
}

// instructions returns the commands of an instruction byte by class. A byte
// without any is unknown.
func (c *Card) instructions(ins byte) map[byte]instruction {
	switch ins {
	case insSelect:
		return map[byte]instruction{0x00: {run: c.selectFile}}
	case insReadRecord:
		return map[byte]instruction{0x00: {run: c.readRecord, keeps: true}}
	case insReadBinary:
		return map[byte]instruction{0x00: {run: c.readBinary, keeps: true}}
	case insUpdateRecord:
		return map[byte]instruction{0x00: {run: c.updateRecord}, 0x04: {run: c.updateRecord}}
	case insUpdateBinary:
		return map[byte]instruction{0x00: {run: c.updateBinary}, 0x04: {run: c.updateBinary}}
	case insVerify:
		return map[byte]instruction{0x00: {run: c.verify}}
	case insChangePIN:
		return map[byte]instruction{0x80: {run: c.changePIN}}
	case insReloadPIN:
		return map[byte]instruction{0x84: {run: c.reloadPIN}, 0x80: {run: c.resetUserPIN}}
	case insGetChallenge:
		return map[byte]instruction{0x00: {run: c.getChallenge}}
	case insInternalAuth:
		return map[byte]instruction{0x00: {run: c.internalAuth}}
	case insExternalAuth:
		return map[byte]instruction{0x00: {run: c.externalAuth}}
	case insGetBalance:
		return map[byte]instruction{0xB0: {run: c.getBalance, keeps: true}}
	case insStartDay:
		return map[byte]instruction{0xB0: {run: c.startDay}}
	case insInit:
		return map[byte]instruction{0xB0: {run: c.initTransaction}}
	case insCredit:
		return map[byte]instruction{0xB0: {run: c.creditForLoad}, 0x00: {run: c.sign}}
	case insDebit:
		return map[byte]instruction{0xB0: {run: c.debitForPurchase}}
	case insProof:
		return map[byte]instruction{0xB0: {run: c.getProof, keeps: true}}
	case insAppBlock:
		return map[byte]instruction{0x84: {run: c.blockApplication}}
	case insCardBlock:
		return map[byte]instruction{0x84: {run: c.blockCard}}
	case insKeyPair:
		return map[byte]instruction{0x80: {run: c.makeKeyPair}}
	case insPublicKey:
		return map[byte]instruction{0x80: {run: c.readPublicKey}}
	case insCreate:
		return map[byte]instruction{0x80: {run: c.create}}
	case insErase:
		return map[byte]instruction{0x80: {run: c.erase}}
	case insWriteKey:
		return map[byte]instruction{0x80: {run: c.writeKey}, 0x84: {run: c.writeKey}}
	}
	return nil
}

func (c *Card) run(cmd apdu.Command) ([]byte, apdu.Status) {
	switch cmd.CLA {
	case 0x00, 0x04, 0x80, 0x84, 0xB0:
	default:
		return nil, apdu.StatusClass
	}
	if c.chip.bank && cmd.INS != insSelect {
		return nil, apdu.StatusConditions
	}
	all := c.instructions(cmd.INS)
	if len(all) == 0 {
		return nil, apdu.StatusInstruction
	}
	in, ok := all[cmd.CLA]
	switch {
	case !ok:
		return nil, apdu.StatusClass
	case c.mem.life == lifeBlocked:
		return nil, apdu.StatusCardBlocked
	case cmd.INS != insSelect && c.mem.dirs[c.ses.df].blocked:
		return nil, apdu.StatusAppBlocked
	}
	data, sw := in.run(cmd)
	if in.keeps && sw.OK() {
		c.ses.tx = c.ses.before
	}
	return data, sw
}
