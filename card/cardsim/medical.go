package cardsim

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"slices"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/card/profile"
)

// The medical account's transactions: load and purchase (card specification,
// sections 4, 5 and 9).

// dfMedical is where they happen, medicalFile where they are recorded.
const dfMedical = "DF04"

var medicalFile = fileID{dfMedical, 0x08}

// keyIndex is the only index of DPK and DLK.
const keyIndex = 0x01

// lastSequence is a counter that cannot be increased any more.
const lastSequence = 0xFFFF

// A transaction is what an INIT has begun: nothing, a load or a purchase.
type transaction struct {
	kind     byte // 0, keys.TypeLoad, keys.TypeSettlement
	load     keys.Load
	purchase keys.Purchase
}

// A proof is what PROOF tells of the last transaction of a kind.
type proof struct {
	valid     bool
	sequence  uint16
	mac2, tac [keys.MACSize]byte
}

func proofIndex(kind byte) int { return int(kind - keys.TypeLoad) }

// medical says whether the card is where medical transactions happen and has
// all that they need.
func (c *Card) medical() apdu.Status {
	if c.ses.df != dfMedical || c.mem.files[medicalFile] == nil {
		return apdu.StatusConditions
	}
	return apdu.StatusOK
}

// accountKey returns a key of the transactions, which have one version.
func (c *Card) accountKey(name string) (keys.Key, bool) {
	k, ok := c.mem.keys[keyID{name, 1}]
	return k, ok
}

// initTransaction is INIT FOR LOAD B0 28 00 01 and INIT FOR PURCHASE B0 28 01
// 01.
func (c *Card) initTransaction(cmd apdu.Command) ([]byte, apdu.Status) {
	if sw := c.medical(); !sw.OK() {
		return nil, sw
	}
	switch {
	case cmd.P1 > 1 || cmd.P2 != 1:
		return nil, apdu.StatusWrongP1P2
	case cmd.P1 == 0 && len(cmd.Data) != 0x0B, cmd.P1 == 1 && len(cmd.Data) != 0x13:
		return nil, apdu.StatusWrongLength
	case cmd.Data[0] != keyIndex:
		return nil, apdu.StatusKeyIndex
	}
	var tx transaction
	var answer []byte
	var sw apdu.Status
	if cmd.P1 == 0 {
		tx, answer, sw = c.initLoad(cmd.Data[1:])
	} else {
		tx, answer, sw = c.initPurchase(cmd.Data[1:])
	}
	if !sw.OK() {
		return nil, sw
	}
	if c.mem.proofs != [2]proof{} {
		if sw := c.store(func(m *memory) { m.proofs = [2]proof{} }); !sw.OK() {
			return nil, sw
		}
	}
	c.ses.tx = tx
	return answer, apdu.StatusOK
}

// initLoad takes amount 4 and terminal 6.
func (c *Card) initLoad(data []byte) (transaction, []byte, apdu.Status) {
	a := &c.mem.account
	l := keys.Load{Sequence: a.loads, Balance: a.balance, Amount: binary.BigEndian.Uint32(data)}
	copy(l.Terminal[:], data[4:])
	dlk, ok := c.accountKey("DLK")
	switch {
	case !ok:
		return transaction{}, nil, apdu.StatusKeyNotFound
	case l.Balance+l.Amount < l.Balance:
		return transaction{}, nil, apdu.StatusAmount
	case a.loads == lastSequence:
		return transaction{}, nil, apdu.StatusCounter
	}
	if _, err := io.ReadFull(c.random, l.Random[:]); err != nil {
		return transaction{}, nil, apdu.StatusUnspecified
	}
	s, err := l.Session(c.mem.algorithm(), dlk)
	if err != nil {
		return transaction{}, nil, apdu.StatusKeyNotFound
	}
	defer s.Wipe()
	mac1 := l.MAC1(&s)
	out := binary.BigEndian.AppendUint32(nil, l.Balance)
	out = binary.BigEndian.AppendUint16(out, l.Sequence)
	out = append(out, 1, byte(c.mem.algorithm()))
	out = append(out, l.Random[:]...)
	return transaction{kind: keys.TypeLoad, load: l}, append(out, mac1[:]...), apdu.StatusOK
}

// initPurchase takes account 4, self-paid 4, pooling 4 and terminal 6.
func (c *Card) initPurchase(data []byte) (transaction, []byte, apdu.Status) {
	a := &c.mem.account
	p := keys.Purchase{
		Sequence: a.debits,
		Account:  binary.BigEndian.Uint32(data),
		Self:     binary.BigEndian.Uint32(data[4:]),
		Pooling:  binary.BigEndian.Uint32(data[8:]),
	}
	copy(p.Terminal[:], data[12:])
	_, ok := c.accountKey("DPK")
	switch {
	case !ok:
		return transaction{}, nil, apdu.StatusKeyNotFound
	case p.Account > a.balance:
		return transaction{}, nil, apdu.StatusAmount
	case a.debits == lastSequence:
		return transaction{}, nil, apdu.StatusCounter
	}
	if _, err := io.ReadFull(c.random, p.Random[:]); err != nil {
		return transaction{}, nil, apdu.StatusUnspecified
	}
	out := binary.BigEndian.AppendUint32(nil, a.balance)
	out = binary.BigEndian.AppendUint32(out, a.selfPaid)
	out = binary.BigEndian.AppendUint32(out, a.pooling)
	out = append(out, a.year[:]...)
	out = binary.BigEndian.AppendUint16(out, p.Sequence)
	out = append(out, 1, byte(c.mem.algorithm()))
	return transaction{kind: keys.TypeSettlement, purchase: p}, append(out, p.Random[:]...), apdu.StatusOK
}

// creditForLoad is CREDIT FOR LOAD B0 2A 00 00: time 7, MAC2 4. It answers TAC.
func (c *Card) creditForLoad(cmd apdu.Command) ([]byte, apdu.Status) {
	if sw := c.mayFinish(cmd, keys.TypeLoad, 0x00, 0x0B, keys.MACSize); !sw.OK() {
		return nil, sw
	}
	l := c.ses.before.load
	copy(l.Time[:], cmd.Data)
	dlk, _ := c.accountKey("DLK")
	dtk, ok := c.accountKey("DTK")
	s, err := l.Session(c.mem.algorithm(), dlk)
	if !ok || err != nil {
		return nil, apdu.StatusKeyNotFound
	}
	defer s.Wipe()
	mac2 := l.MAC2(&s)
	if !keys.Equal(mac2[:], cmd.Data[7:]) {
		return nil, apdu.StatusTransactionMAC
	}
	if !validTime(l.Time) {
		return nil, apdu.StatusWrongData
	}
	tac, err := l.TAC(c.mem.algorithm(), dtk)
	if err != nil {
		return nil, apdu.StatusAmount
	}
	rec := medicalRecord(l.Sequence, keys.TypeLoad, l.Terminal, l.Time, l.Amount, 0, 0)
	sw := c.store(func(m *memory) {
		m.account.balance += l.Amount
		m.account.loads++
		m.proofs[proofIndex(keys.TypeLoad)] = proof{true, l.Sequence, mac2, tac}
		m.appendRecord(medicalFile, rec)
	})
	return tac[:], sw
}

// debitForPurchase is DEBIT FOR PURCHASE B0 2C 01 00: terminal sequence 4, time
// 7, MAC1 4. It answers TAC and MAC2.
func (c *Card) debitForPurchase(cmd apdu.Command) ([]byte, apdu.Status) {
	if sw := c.mayFinish(cmd, keys.TypeSettlement, 0x01, 0x0F, 2*keys.MACSize); !sw.OK() {
		return nil, sw
	}
	if !c.ses.pin && c.mem.pin != nil {
		return nil, apdu.StatusSecurity
	}
	p := c.ses.before.purchase
	p.TerminalSequence = binary.BigEndian.Uint32(cmd.Data)
	copy(p.Time[:], cmd.Data[4:])
	dpk, _ := c.accountKey("DPK")
	dtk, ok := c.accountKey("DTK")
	s, err := p.Session(c.mem.algorithm(), dpk)
	if !ok || err != nil {
		return nil, apdu.StatusKeyNotFound
	}
	defer s.Wipe()
	mac1 := p.MAC1(&s)
	if !keys.Equal(mac1[:], cmd.Data[11:]) {
		return nil, apdu.StatusTransactionMAC
	}
	next, sw := c.mem.account.debit(&p)
	if !sw.OK() {
		return nil, sw
	}
	mac2 := p.MAC2(&s)
	tac, err := p.TAC(c.mem.algorithm(), dtk)
	if err != nil {
		return nil, apdu.StatusKeyNotFound
	}
	rec := medicalRecord(p.Sequence, keys.TypeSettlement, p.Terminal, p.Time, p.Account, p.Self, p.Pooling)
	sw = c.store(func(m *memory) {
		m.account = next
		m.proofs[proofIndex(keys.TypeSettlement)] = proof{true, p.Sequence, mac2, tac}
		m.appendRecord(medicalFile, rec)
	})
	return append(tac[:], mac2[:]...), sw
}

// mayFinish checks all that can be checked of a CREDIT or DEBIT before its MAC.
// An answer that would not fit into Le is refused while nothing has happened,
// since the transaction cannot be repeated.
func (c *Card) mayFinish(cmd apdu.Command, kind, p1 byte, lc, answer int) apdu.Status {
	if sw := c.medical(); !sw.OK() {
		return sw
	}
	switch {
	case c.ses.before.kind != kind:
		return apdu.StatusState
	case cmd.P1 != p1 || cmd.P2 != 0:
		return apdu.StatusWrongP1P2
	case len(cmd.Data) != lc:
		return apdu.StatusWrongLength
	case cmd.Le != 0 && cmd.Le < answer && !c.quirks[QuirkGetResponse]:
		return 0x6C00 | apdu.Status(answer)
	}
	return apdu.StatusOK
}

// debit returns the account after a purchase. The year ends as the card
// specification, section 9 says: with n the date less the beginning of the
// account's year, both as numbers, n < 10000 is the same year.
func (a account) debit(p *keys.Purchase) (account, apdu.Status) {
	if !validTime(p.Time) {
		return a, apdu.StatusWrongData
	}
	same := validBCD(a.year[:]) && validBCD(a.startDay[:]) &&
		bcdNumber(p.Time[:4])-(bcdNumber(a.year[:])*10000+bcdNumber(a.startDay[:])) < 10000
	if !same {
		a.selfPaid, a.pooling = 0, 0
		copy(a.year[:], p.Time[:2])
	}
	if a.selfPaid+p.Self < a.selfPaid || a.pooling+p.Pooling < a.pooling || p.Account > a.balance {
		return a, apdu.StatusAmount
	}
	a.balance -= p.Account
	a.selfPaid += p.Self
	a.pooling += p.Pooling
	a.debits++
	return a, apdu.StatusOK
}

// medicalRecord returns a record of EF08. An older card's record ends after
// the account's amount.
func medicalRecord(sequence uint16, kind byte, terminal [6]byte, at [7]byte, account, self, pooling uint32) []byte {
	rec := binary.BigEndian.AppendUint16(nil, sequence)
	rec = append(rec, kind)
	rec = append(rec, terminal[:]...)
	rec = append(rec, at[:]...)
	rec = binary.BigEndian.AppendUint32(rec, account)
	rec = binary.BigEndian.AppendUint32(rec, self)
	return binary.BigEndian.AppendUint32(rec, pooling)
}

// appendRecord makes a record the newest of a cyclic file and forgets the
// oldest of a full one.
func (m *memory) appendRecord(id fileID, rec []byte) {
	form := m.forms[id]
	f := m.edit(id)
	f.records = slices.Insert(f.records, 0, slices.Clone(rec[:min(len(rec), form.recordSize)]))
	if len(f.records) > form.capacity {
		f.records = f.records[:form.capacity]
	}
}

// getProof is PROOF B0 2E 00 type, Lc 02 sequence: MAC2 and TAC of the last
// transaction of the type, if that is the one.
func (c *Card) getProof(cmd apdu.Command) ([]byte, apdu.Status) {
	if sw := c.medical(); !sw.OK() {
		return nil, sw
	}
	switch {
	case cmd.P1 != 0 || cmd.P2 != keys.TypeLoad && cmd.P2 != keys.TypeSettlement:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) != 2:
		return nil, apdu.StatusWrongLength
	}
	p := c.mem.proofs[proofIndex(cmd.P2)]
	if !p.valid || p.sequence != binary.BigEndian.Uint16(cmd.Data) {
		return nil, apdu.StatusProofNotAvailable
	}
	return append(slices.Clone(p.mac2[:]), p.tac[:]...), apdu.StatusOK
}

// getBalance is GET BALANCE B0 26 00 what: 01 account, 02 self-paid, 03
// pooling, the latter two with the year.
func (c *Card) getBalance(cmd apdu.Command) ([]byte, apdu.Status) {
	a := &c.mem.account
	switch {
	case c.ses.df != dfMedical:
		return nil, apdu.StatusConditions
	case cmd.P1 != 0:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) > 0:
		return nil, apdu.StatusWrongLength
	case !c.ses.pin && c.mem.pin != nil:
		return nil, apdu.StatusSecurity
	}
	switch cmd.P2 {
	case 1:
		return binary.BigEndian.AppendUint32(nil, a.balance), apdu.StatusOK
	case 2:
		return append(binary.BigEndian.AppendUint32(nil, a.selfPaid), a.year[:]...), apdu.StatusOK
	case 3:
		return append(binary.BigEndian.AppendUint32(nil, a.pooling), a.year[:]...), apdu.StatusOK
	}
	return nil, apdu.StatusWrongP1P2
}

// startDayKey lets the day be changed (profile).
const startDayKey = "UK1DF04"

// startDay reads and writes the day on which the account's year begins, mmdd:
// START DAY B0 56 01 00 and B0 56 00 00.
func (c *Card) startDay(cmd apdu.Command) ([]byte, apdu.Status) {
	switch {
	case c.ses.df != dfMedical:
		return nil, apdu.StatusConditions
	case cmd.P1 > 1 || cmd.P2 != 0:
		return nil, apdu.StatusWrongP1P2
	case cmd.P1 == 1 && len(cmd.Data) != 0, cmd.P1 == 0 && len(cmd.Data) != 2:
		return nil, apdu.StatusWrongLength
	case cmd.P1 == 1:
		c.ses.tx = c.ses.before // it reads
		return slices.Clone(c.mem.account.startDay[:]), apdu.StatusOK
	case !c.ses.proved[startDayKey]:
		return nil, apdu.StatusSecurity
	}
	if !validDay(cmd.Data) {
		return nil, apdu.StatusWrongData
	}
	return nil, c.store(func(m *memory) { copy(m.account.startDay[:], cmd.Data) })
}

// validDay reports whether b is a day of a leap year, mmdd.
func validDay(b []byte) bool {
	if len(b) != 2 || !validBCD(b) {
		return false
	}
	_, err := field{4, profile.Date}.value("2024" + hex.EncodeToString(b))
	return err == nil
}

// validTime reports whether a time has the form CCYYMMDDhhmmss. A card has no
// clock and no calendar.
func validTime(t [7]byte) bool { return validBCD(t[:]) }

func validBCD(b []byte) bool {
	for _, x := range b {
		if x>>4 > 9 || x&15 > 9 {
			return false
		}
	}
	return true
}

func bcdNumber(b []byte) int {
	n := 0
	for _, x := range b {
		n = n*100 + int(x>>4)*10 + int(x&15)
	}
	return n
}
