package cardsim

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"

	"onecard/apdu"
	"onecard/card/keys"
)

// Instructions of the PSAM (card specification, section 4).
const (
	insPrepare      = 0xDE
	insCompute      = 0xFA
	insPSAMPurchase = 0x70
	insCheckMAC2    = 0x72
)

// Purposes of a key in P1 of BF DE, below the levels.
const (
	purposePurchase = 2
	purposeCompute  = 8 // MAC and encryption
)

// Names of a PSAM's directories. The last two differ from the first in one
// letter.
var (
	psamKeysAID = []byte{0xD1, 0x56, 0x00, 0x00, 0x05, 0x90}
	psamNames   = map[keys.Algorithm][]byte{
		keys.DES: []byte("sx1.sh.\xC9\xE7\xBB\xE1\xB1\xA3\xD5\xCF"),
		keys.SM4: []byte("sx3.sh.\xC9\xE7\xBB\xE1\xB1\xA3\xD5\xCF"),
	}
	psamFIDs = map[[2]byte]keys.Algorithm{rootFID: keys.DES, {0xDD, 0xF3}: keys.SM4}
)

// terminalFile is the SFI of the file with the terminal number.
const terminalFile = 0x16

// sequenceEnd is one more than the last terminal sequence.
const sequenceEnd = 1 << 32

// A PSAM is a simulated security module of a terminal: it holds keys and
// computes with them for whoever talks to it. The package comment has its
// commands. It implements the card of a virtual reader and is served to vpcd by
// [ServeVPCD]. Safe for concurrent use.
type PSAM struct {
	img    *PSAMImage
	quirks map[Quirk]bool
	log    logrus.FieldLogger

	mu        sync.Mutex
	next      uint64  // terminal sequence of the next purchase, up to sequenceEnd
	committed *uint64 // complete in the buffer when the power went
	nvm       eeprom
	ses       psamSession
}

// A psamSession is what a reset takes away.
type psamSession struct {
	on       bool
	alg      keys.Algorithm // of the environment
	keys     bool           // the directory of keys is selected
	file     bool           // EF 0016 is selected
	key      *keys.Session  // prepared
	purchase *psamPurchase
	waiting  waiting
}

type psamPurchase struct {
	keys.Purchase
	session keys.Session
}

// NewPSAM makes a PSAM from an image, without power.
func NewPSAM(img *PSAMImage, opts ...PSAMOption) (*PSAM, error) {
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	if img == nil || img.roots == nil {
		return nil, fmt.Errorf("make PSAM: not an image that ParsePSAMImage has read")
	}
	p := &PSAM{img: img, quirks: make(map[Quirk]bool), log: silent, next: img.sequence}
	for _, opt := range opts {
		if err := opt(p); err != nil {
			return nil, fmt.Errorf("make PSAM: %w", err)
		}
	}
	if err := p.loadEEPROM(); err != nil {
		return nil, fmt.Errorf("make PSAM: %w", err)
	}
	if img.testKeys {
		p.log.Warn("SIMULATED PSAM WITH TEST KEYS that everybody knows: never use it with real cards")
	}
	return p, nil
}

func (p *PSAM) logger() logrus.FieldLogger { return p.log }

// ATR returns the answer to reset without touching the PSAM; nil for a mute
// one.
func (p *PSAM) ATR() []byte {
	if p.quirks[QuirkMute] {
		return nil
	}
	return append([]byte{0x3B, 0x6D, 0x00, 0x00}, p.img.historical[:]...)
}

// PowerOn is a cold reset: the MF is selected, no key is prepared.
func (p *PSAM) PowerOn() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.regain()
	p.ses.wipe()
	p.ses = psamSession{on: !p.quirks[QuirkMute], alg: keys.DES}
	return p.ATR()
}

// PowerOff takes the power away.
func (p *PSAM) PowerOff() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.regain()
	p.ses.wipe()
	p.ses = psamSession{}
}

// wipe forgets the keys that are ready.
func (s *psamSession) wipe() {
	if s.key != nil {
		s.key.Wipe()
		s.key = nil
	}
	s.endPurchase()
}

func (s *psamSession) endPurchase() {
	if s.purchase != nil {
		s.purchase.session.Wipe()
		s.purchase = nil
	}
}

// Transmit answers a command as [Card.Transmit] does.
func (p *PSAM) Transmit(command []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nvm.dead {
		return nil
	}
	if !p.ses.on {
		return apdu.Response{Status: apdu.StatusUnspecified}.Bytes()
	}
	data, sw, _ := p.ses.waiting.answer(p.quirks, command, p.run)
	if p.nvm.dead {
		p.ses.wipe()
		p.ses = psamSession{}
		return nil
	}
	return apdu.Response{Data: data, Status: sw}.Bytes()
}

func (p *PSAM) run(cmd apdu.Command) ([]byte, apdu.Status) {
	type instruction struct {
		cla byte
		run func(apdu.Command) ([]byte, apdu.Status)
	}
	in, ok := map[byte]instruction{
		insSelect:       {0x00, p.selectFile},
		insReadBinary:   {0x00, p.readTerminal},
		insPrepare:      {0xBF, p.prepare},
		insCompute:      {0x80, p.compute},
		insPSAMPurchase: {0x80, p.initPurchase},
		insCheckMAC2:    {0x80, p.checkMAC2},
	}[cmd.INS]
	switch {
	case cmd.CLA != 0x00 && cmd.CLA != 0x80 && cmd.CLA != 0xBF:
		return nil, apdu.StatusClass
	case !ok:
		return nil, apdu.StatusInstruction
	case in.cla != cmd.CLA:
		return nil, apdu.StatusClass
	}
	return in.run(cmd)
}

func (p *PSAM) selectFile(cmd apdu.Command) ([]byte, apdu.Status) {
	switch {
	case cmd.P2 != 0 || cmd.P1 != 0x00 && cmd.P1 != 0x02 && cmd.P1 != 0x04:
		return nil, apdu.StatusWrongP1P2
	case cmd.P1 == 0x04:
		if len(cmd.Data) == 0 || len(cmd.Data) > 16 {
			return nil, apdu.StatusWrongLength
		}
		return p.selectName(cmd.Data)
	case len(cmd.Data) != 2 && (cmd.P1 != 0x00 || len(cmd.Data) != 0):
		return nil, apdu.StatusWrongLength
	}
	fid := rootFID
	copy(fid[:], cmd.Data)
	if fid == [2]byte{0x00, terminalFile} {
		p.ses.file = true
		return nil, apdu.StatusOK
	}
	if cmd.P1 == 0x02 {
		return nil, apdu.StatusNotFound
	}
	if alg, ok := psamFIDs[fid]; ok && (fid == rootFID || p.img.algorithms[alg]) {
		return p.enter(alg, false)
	}
	if fid == [2]byte{0xDF, 0x01} && p.img.algorithms[p.ses.alg] {
		return p.enter(p.ses.alg, true)
	}
	return nil, apdu.StatusNotFound
}

func (p *PSAM) selectName(name []byte) ([]byte, apdu.Status) {
	if slices.Equal(name, psamKeysAID) && p.img.algorithms[p.ses.alg] {
		return p.enter(p.ses.alg, true)
	}
	for alg, n := range psamNames {
		if slices.Equal(name, n) && p.img.algorithms[alg] {
			return p.enter(alg, false)
		}
	}
	return nil, apdu.StatusNotFound
}

// enter makes an environment, or the keys in it, current.
func (p *PSAM) enter(alg keys.Algorithm, keyDirectory bool) ([]byte, apdu.Status) {
	p.ses.wipe()
	p.ses.alg, p.ses.keys, p.ses.file = alg, keyDirectory, false
	name := psamNames[alg]
	if keyDirectory {
		name = psamKeysAID
	}
	own := append(tlv(0x88, []byte{0x01}), 0x9F, 0x0C, 0x03, 0x86, 0x01, byte(alg))
	return tlv(0x6F, tlv(0x84, name), tlv(0xA5, own)), apdu.StatusOK
}

// readTerminal reads EF 0016: 00 B0 96 00, or 00 B0 00 00 when it is selected.
func (p *PSAM) readTerminal(cmd apdu.Command) ([]byte, apdu.Status) {
	offset := int(cmd.P2)
	switch {
	case len(cmd.Data) > 0:
		return nil, apdu.StatusWrongLength
	case cmd.P1&0xE0 == 0x80 && cmd.P1&0x1F == terminalFile:
		p.ses.file = true
	case cmd.P1&0xE0 == 0x80:
		return nil, apdu.StatusNotFound
	case cmd.P1&0x80 != 0:
		return nil, apdu.StatusWrongP1P2
	case !p.ses.file:
		return nil, apdu.StatusNoCurrentFile
	default:
		offset |= int(cmd.P1) << 8
	}
	if offset >= len(p.img.terminal) {
		return nil, apdu.StatusOffset
	}
	out := p.img.terminal[offset:]
	if cmd.Le > 0 {
		out = out[:min(cmd.Le, len(out))]
	}
	return slices.Clone(out), apdu.StatusOK
}

// cardKey derives the key of the card that the factors name: the card's first,
// as many as the levels that the PSAM holds its keys above.
func (p *PSAM) cardKey(name string, version byte, factors []byte) (keys.Key, bool) {
	key, ok := p.img.roots[psamKey{keyID{name, version}, p.ses.alg}]
	if !ok {
		return keys.Key{}, false
	}
	for at := len(factors) - 8; at >= 0; at -= 8 {
		next, err := keys.Diversify(p.ses.alg, key, [8]byte(factors[at:]))
		if err != nil {
			return keys.Key{}, false
		}
		key = next
	}
	return key, true
}

// prepare is BF DE purpose key: factors, process factor.
func (p *PSAM) prepare(cmd apdu.Command) ([]byte, apdu.Status) {
	p.ses.wipe()
	if !p.ses.keys {
		return nil, apdu.StatusConditions
	}
	name, version, purpose, ok := psamKeyByNumber(cmd.P2)
	levels := int(cmd.P1 >> 5)
	switch {
	case !ok || cmd.P1&0x1F != purpose || levels != p.img.levels:
		return nil, apdu.StatusKeyNotFound
	case purpose != purposeCompute:
		return nil, apdu.StatusConditions
	}
	n := len(cmd.Data) - 8*levels
	if n != 4 && n != 8 && n != 16 {
		return nil, apdu.StatusWrongLength
	}
	key, ok := p.cardKey(name, version, cmd.Data[:8*levels])
	if !ok {
		return nil, apdu.StatusKeyNotFound
	}
	s, err := keys.NewSession(p.ses.alg, key, cmd.Data[8*levels:])
	if err != nil {
		return nil, apdu.StatusKeyNotFound
	}
	p.ses.key = &s
	return nil, apdu.StatusOK
}

// compute is 80 FA: 00 encrypts, 05 computes a MAC.
func (p *PSAM) compute(cmd apdu.Command) ([]byte, apdu.Status) {
	if cmd.P1 != 0x00 && cmd.P1 != 0x05 || cmd.P2 != 0 {
		return nil, apdu.StatusWrongP1P2
	}
	if p.ses.key == nil {
		return nil, apdu.StatusConditions
	}
	if cmd.P1 == 0x00 {
		out := slices.Clone(cmd.Data)
		if err := p.ses.key.EncryptBlocks(out); err != nil {
			return nil, apdu.StatusWrongLength
		}
		return out, apdu.StatusOK
	}
	block := 8
	if p.ses.alg == keys.SM4 {
		block = 16
	}
	if len(cmd.Data) <= block {
		return nil, apdu.StatusWrongLength
	}
	if slices.ContainsFunc(cmd.Data[:block], func(b byte) bool { return b != 0 }) {
		return nil, apdu.StatusWrongData
	}
	mac := p.ses.key.MAC(cmd.Data[block:])
	return mac[:], apdu.StatusOK
}

// initPurchase is 80 70: it computes MAC1 with a terminal sequence that is never
// used again.
func (p *PSAM) initPurchase(cmd apdu.Command) ([]byte, apdu.Status) {
	p.ses.wipe()
	const fixed = 4 + 2 + 3*4 + 1 + 7 + 1 + 1
	b := cmd.Data
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.StatusWrongP1P2
	case !p.ses.keys:
		return nil, apdu.StatusConditions
	case len(b) != fixed+8*p.img.levels:
		return nil, apdu.StatusWrongLength
	case b[18] != keys.TypeSettlement || b[27] != byte(p.ses.alg) || !validBCD(b[19:26]):
		return nil, apdu.StatusWrongData
	}
	key, ok := p.cardKey("DPK", b[26], b[fixed:])
	if !ok {
		return nil, apdu.StatusKeyNotFound
	}
	if p.next >= sequenceEnd {
		return nil, apdu.StatusCounter
	}
	t := &psamPurchase{Purchase: keys.Purchase{
		Random:           [4]byte(b),
		Sequence:         binary.BigEndian.Uint16(b[4:]),
		Account:          binary.BigEndian.Uint32(b[6:]),
		Self:             binary.BigEndian.Uint32(b[10:]),
		Pooling:          binary.BigEndian.Uint32(b[14:]),
		Time:             [7]byte(b[19:]),
		Terminal:         p.img.terminal,
		TerminalSequence: uint32(p.next),
	}}
	var err error
	if t.session, err = t.Session(p.ses.alg, key); err != nil {
		return nil, apdu.StatusKeyNotFound
	}
	if sw := p.store(p.next + 1); !sw.OK() {
		t.session.Wipe()
		return nil, sw
	}
	p.ses.purchase = t
	mac1 := t.MAC1(&t.session)
	return append(binary.BigEndian.AppendUint32(nil, t.TerminalSequence), mac1[:]...), apdu.StatusOK
}

// checkMAC2 is 80 72: the card's MAC2. It ends the purchase either way.
func (p *PSAM) checkMAC2(cmd apdu.Command) ([]byte, apdu.Status) {
	t := p.ses.purchase
	defer p.ses.endPurchase()
	switch {
	case t == nil:
		return nil, apdu.StatusState
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) != keys.MACSize:
		return nil, apdu.StatusWrongLength
	}
	if mac2 := t.MAC2(&t.session); !keys.Equal(mac2[:], cmd.Data) {
		return nil, apdu.StatusTransactionMAC
	}
	return nil, apdu.StatusOK
}
