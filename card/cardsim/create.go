package cardsim

import (
	"encoding/binary"

	"github.com/emmansun/gmsm/sm2"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/card/profile"
)

// Personalisation in the form of one vendor (card specification, section 4:
// profile). The package comment has the bytes.

// statusExists: file or directory exists already (ISO 7816-9).
const statusExists apdu.Status = 0x6A89

// Types of files and directories in 80 E0.
const (
	typeDDF         = 0x01
	typeADF         = 0x02
	typeInternal    = 0xC3
	typeTransparent = 0xC4
	typeFixed       = 0xC5
	typeVariable    = 0xC6
	typeCyclic      = 0xC7
)

// Bounds of a file.
const (
	maxRecords  = 254
	maxFileSize = 1 << 15
)

// Modes of an access condition, followed by two key numbers.
const (
	accessFree   = 0x00
	accessPIN    = 0x01
	accessKey    = 0x02
	accessEither = 0x03 // PIN or key
	accessBoth   = 0x04 // PIN and key
	accessOther  = 0x05 // PIN and key, or the second key
	accessUser   = 0x06 // PIN of the certificates
	accessAdmin  = 0x07
	accessNever  = 0xFF
)

const accessSize = 3

// What 80 D4 writes.
const (
	useInternal   = 0x01
	useExternal   = 0x02
	useSecure     = 0x03
	useDebit      = 0x04
	useLoad       = 0x05
	useTAC        = 0x06
	usePIN        = 0x0A
	useUserPIN    = 0x0B // digest
	useAdminPIN   = 0x0C // digest
	usePrivateKey = 0x0D
)

var keyUses = map[keys.Use]byte{
	keys.UseInternal: useInternal, keys.UseExternal: useExternal, keys.UseSecure: useSecure,
	keys.UseDebit: useDebit, keys.UseLoad: useLoad, keys.UseTAC: useTAC,
}

// create is 80 E0: a directory (P1 00), a file (01), the end of pre-issue (02).
func (c *Card) create(cmd apdu.Command) ([]byte, apdu.Status) {
	if cmd.P1 > 2 || cmd.P2 != 0 {
		return nil, apdu.StatusWrongP1P2
	}
	if c.mem.life != lifeBlank {
		return nil, apdu.StatusConditions
	}
	switch cmd.P1 {
	case 0:
		return nil, c.createDirectory(cmd.Data)
	case 1:
		return nil, c.createFile(cmd.Data)
	}
	if len(cmd.Data) != 0 {
		return nil, apdu.StatusWrongLength
	}
	if c.mem.files[fileID{dfSSSE, 0x05}] == nil {
		return nil, apdu.StatusConditions // nobody could tell whose card it is
	}
	return nil, c.store(func(m *memory) { m.life = lifeIssued })
}

// erase is 80 0E 00 00: a card that is not issued yet becomes blank again.
func (c *Card) erase(cmd apdu.Command) ([]byte, apdu.Status) {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) != 0:
		return nil, apdu.StatusWrongLength
	case c.mem.life != lifeBlank:
		return nil, apdu.StatusConditions
	}
	sw := c.store(func(m *memory) { *m = *newMemory() })
	if sw.OK() {
		c.enter(dfMF)
	}
	return nil, sw
}

// createDirectory takes file identifier 2, type 1, algorithm 1, name 0 to 16,
// below the current directory, and enters it.
func (c *Card) createDirectory(data []byte) apdu.Status {
	if len(data) < 4 || len(data) > 20 {
		return apdu.StatusWrongLength
	}
	fid, kind, alg, aid := [2]byte(data), data[2], data[3], data[4:]
	node, ok := nodeOf(fid, aid)
	switch {
	case !ok || kind != typeDDF && kind != typeADF || alg > byte(keys.SM4):
		return apdu.StatusWrongData
	case referenceDirectories()[node].parent != c.ses.df:
		return apdu.StatusConditions
	}
	if _, exists := c.mem.dirs[node]; exists {
		return statusExists
	}
	d := directory{fid: fid, alg: alg, parent: c.ses.df}
	if len(aid) > 0 {
		d.aid = append(d.aid, aid...)
	}
	sw := c.store(func(m *memory) { m.setDirectory(node, d) })
	if sw.OK() {
		c.enter(node)
	}
	return sw
}

// createFile takes file identifier 2, type 1, read and update condition 3 each,
// flags 1 (01: updates need secure messaging), and what the type needs:
// transparent: size 2; cyclic: record size 1, records 1; fixed and variable:
// tag 1 and length 1 of each record; internal (the medical account, in DF04):
// balance 4, self-paid 4, pooling 4, year 2, start day 2, load and purchase
// sequence 2 each. It makes the file current.
func (c *Card) createFile(data []byte) apdu.Status {
	const fixed = 2 + 1 + 2*accessSize + 1
	if len(data) < fixed {
		return apdu.StatusWrongLength
	}
	kind, rest := data[2], data[fixed:]
	if kind == typeInternal {
		return c.createAccount(rest)
	}
	f := &form{fid: [2]byte(data), secured: data[fixed-1]&1 != 0}
	id := fileID{c.ses.df, data[1]}
	if _, ok := c.mem.dirs[id.df]; !ok {
		return apdu.StatusConditions
	}
	high := byte(0xEF)
	if inCertificates(id.df) {
		high = 0x00
	}
	read, ok1 := accessOf(id.df, data[3:])
	write, ok2 := accessOf(id.df, data[3+accessSize:])
	if !ok1 || !ok2 {
		return apdu.StatusKeyNotFound
	}
	if data[0] != high || id.sfi < 1 || id.sfi > 30 || data[fixed-1] > 1 {
		return apdu.StatusWrongData
	}
	if c.mem.files[id] != nil {
		return statusExists
	}
	f.read, f.write = read, write
	if sw := f.shape(kind, rest); !sw.OK() {
		return sw
	}
	content := &content{}
	if f.structure == profile.Transparent {
		content.data = make([]byte, f.size)
	}
	sw := c.store(func(m *memory) { m.create(id, f, content) })
	if sw.OK() {
		c.ses.ef, c.ses.record = id.sfi, 0
	}
	return sw
}

// shape reads what follows in 80 E0 01 by type.
func (f *form) shape(kind byte, rest []byte) apdu.Status {
	switch kind {
	case typeTransparent:
		if len(rest) != 2 {
			return apdu.StatusWrongLength
		}
		f.structure, f.size = profile.Transparent, int(binary.BigEndian.Uint16(rest))
		if f.size == 0 || f.size > maxFileSize {
			return apdu.StatusWrongData
		}
	case typeCyclic:
		if len(rest) != 2 {
			return apdu.StatusWrongLength
		}
		f.structure, f.recordSize, f.capacity = profile.CyclicFile, int(rest[0]), int(rest[1])
		if f.recordSize == 0 || f.capacity == 0 || f.capacity > maxRecords {
			return apdu.StatusWrongData
		}
	case typeFixed, typeVariable:
		if len(rest) == 0 || len(rest)%2 != 0 {
			return apdu.StatusWrongLength
		}
		f.structure = profile.Variable
		if kind == typeFixed {
			f.structure = profile.Fixed
		}
		for ; len(rest) > 0; rest = rest[2:] {
			if rest[1] > 0x7F {
				return apdu.StatusWrongData
			}
			f.slots = append(f.slots, place{rest[0], int(rest[1])})
		}
		f.capacity = len(f.slots)
	default:
		return apdu.StatusWrongData
	}
	return apdu.StatusOK
}

const accountSize = 3*4 + 2*2 + 2*2

func (c *Card) createAccount(data []byte) apdu.Status {
	if len(data) != accountSize {
		return apdu.StatusWrongLength
	}
	if c.ses.df != dfMedical {
		return apdu.StatusConditions
	}
	a := account{
		balance:  binary.BigEndian.Uint32(data),
		selfPaid: binary.BigEndian.Uint32(data[4:]),
		pooling:  binary.BigEndian.Uint32(data[8:]),
		year:     [2]byte(data[12:]),
		startDay: [2]byte(data[14:]),
		loads:    binary.BigEndian.Uint16(data[16:]),
		debits:   binary.BigEndian.Uint16(data[18:]),
	}
	return c.store(func(m *memory) { m.account = a })
}

func (a account) bytes() []byte {
	b := binary.BigEndian.AppendUint32(nil, a.balance)
	b = binary.BigEndian.AppendUint32(b, a.selfPaid)
	b = binary.BigEndian.AppendUint32(b, a.pooling)
	b = append(b, a.year[:]...)
	b = append(b, a.startDay[:]...)
	b = binary.BigEndian.AppendUint16(b, a.loads)
	return binary.BigEndian.AppendUint16(b, a.debits)
}

// accessOf reads mode and two key numbers; keys are those of the node.
func accessOf(node string, data []byte) (profile.Access, bool) {
	first, ok1 := keyName(node, data[1])
	second, ok2 := keyName(node, data[2])
	switch data[0] {
	case accessFree:
		return profile.Access{{}}, true
	case accessNever:
		return nil, true
	case accessPIN:
		return profile.Access{{PIN: true}}, true
	case accessKey:
		return profile.Access{{Keys: []string{first}}}, ok1
	case accessEither:
		return profile.Access{{PIN: true}, {Keys: []string{first}}}, ok1
	case accessBoth:
		return profile.Access{{PIN: true, Keys: []string{first}}}, ok1
	case accessOther:
		return profile.Access{{PIN: true, Keys: []string{first}}, {Keys: []string{second}}}, ok1 && ok2
	case accessUser:
		return profile.Access{{Keys: []string{userProof}}}, inCertificates(node)
	case accessAdmin:
		return profile.Access{{Keys: []string{adminProof}}}, inCertificates(node)
	}
	return nil, false
}

// keyName returns the external key of a node that has the number.
func keyName(node string, number byte) (string, bool) {
	for e := range keys.Reference().All() {
		if e.ID == number && e.Use == keys.UseExternal && keyDF(e.Name) == node {
			return e.Name, true
		}
	}
	return "", false
}

// writeKey is 80 D4 00 00 before, 84 D4 00 00 (encrypted and with MAC, under the
// node's STK) after the end of pre-issue: use 1, number 1, version 1, tries 1,
// value. After it only keys that exist take another value.
func (c *Card) writeKey(cmd apdu.Command) ([]byte, apdu.Status) {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.StatusWrongP1P2
	}
	data := cmd.Data
	if cmd.CLA&0x04 != 0 {
		s, sw := c.messaging()
		if !sw.OK() {
			return nil, sw
		}
		defer s.Wipe()
		sealed, err := s.Open(header(cmd), cmd.Data)
		if err != nil {
			return nil, apdu.StatusWrongMAC
		}
		if data, err = s.Decrypt(sealed); err != nil {
			return nil, apdu.StatusWrongData
		}
	} else if c.mem.life != lifeBlank {
		return nil, apdu.StatusSecurity
	}
	if len(data) < 5 {
		return nil, apdu.StatusWrongLength
	}
	use, number, version, limit, value := data[0], data[1], data[2], int(data[3]), data[4:]
	if limit < 1 || limit > maxTries {
		return nil, apdu.StatusWrongData
	}
	if use >= usePIN {
		if c.mem.life != lifeBlank {
			return nil, apdu.StatusConditions
		}
		return nil, c.writeSecret(use, limit, value)
	}
	id, ok := keyFor(c.ses.df, use, number, version)
	if _, exists := c.mem.keys[id]; !ok || !exists && c.mem.life != lifeBlank {
		return nil, apdu.StatusKeyNotFound
	}
	if len(value) != keys.Size {
		return nil, apdu.StatusWrongLength
	}
	key := keys.Key(value)
	return nil, c.store(func(m *memory) { m.setKey(id, key, limit) })
}

// keyFor finds the key of a node by use and number. The keys of transactions
// have no number and are in DF04.
func keyFor(node string, use, number, version byte) (keyID, bool) {
	if version < 1 || version > keys.Versions {
		return keyID{}, false
	}
	for e := range keys.Reference().All() {
		if keyUses[e.Use] == use && e.ID == number && keyNode(e) == node {
			return keyID{e.Name, version}, true
		}
	}
	return keyID{}, false
}

// keyNode returns the node that a key is written in.
func keyNode(e keys.Entry) string {
	if !e.Numbered {
		return dfMedical
	}
	return keyDF(e.Name)
}

// writeSecret writes what is no key of the table.
func (c *Card) writeSecret(use byte, limit int, value []byte) apdu.Status {
	switch use {
	case usePIN:
		switch {
		case c.ses.df != dfSSSE:
			return apdu.StatusConditions
		case !validPIN(value):
			return apdu.StatusWrongData
		}
		pin := append([]byte(nil), value...)
		return c.store(func(m *memory) { m.pin, m.pinTries, m.pinLimit = pin, limit, limit })
	case useUserPIN, useAdminPIN:
		switch {
		case c.ses.df != dfCert:
			return apdu.StatusConditions
		case len(value) != 16:
			return apdu.StatusWrongLength
		}
		p := digestPIN{[16]byte(value), limit, limit}
		return c.store(func(m *memory) {
			if use == useUserPIN {
				m.certs.user = p
			} else {
				m.certs.admin = p
			}
		})
	case usePrivateKey:
		if c.ses.df != dfCert || c.mem.files[fileID{dfCert, signPublic}] == nil || c.mem.files[fileID{dfCert, signPrivate}] == nil {
			return apdu.StatusConditions
		}
		key, err := sm2.NewPrivateKey(value)
		if err != nil {
			return apdu.StatusWrongData
		}
		return c.store(func(m *memory) { m.putKeyPair(key, value) })
	}
	return apdu.StatusWrongData
}
