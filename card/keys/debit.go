package keys

import (
	"encoding/binary"
	"fmt"
)

// The type of a medical transaction: one ASCII character (card specification,
// section 5).
const (
	TypeLoad       byte = '1'
	TypeSettlement byte = '2'
)

// A Purchase is what its three MACs are computed over (INIT FOR PURCHASE and
// DEBIT FOR PURCHASE, card specification, sections 4 and 5). Amounts are fen,
// big-endian in every MAC; the type is [TypeSettlement].
type Purchase struct {
	Random           [4]byte // the card's, from INIT FOR PURCHASE
	Sequence         uint16  // the card's purchase sequence before its increment
	TerminalSequence uint32  // the terminal's, from its PSAM
	Terminal         [6]byte // terminal number, cn
	Time             [7]byte // CCYYMMDDhhmmss, cn
	Account          uint32  // fen from the personal account
	Self             uint32  // fen paid by the person
	Pooling          uint32  // fen from the pooled fund
}

// Session returns the session SESPK of the card's DPK, for [Purchase.MAC1] and
// [Purchase.MAC2]. Errors wrap [ErrAlgorithm].
func (p *Purchase) Session(a Algorithm, dpk Key) (Session, error) {
	var r [8]byte
	copy(r[:], p.Random[:])
	binary.BigEndian.PutUint16(r[4:], p.Sequence)
	binary.BigEndian.PutUint16(r[6:], uint16(p.TerminalSequence))
	return NewSession(a, dpk, r[:])
}

func (p *Purchase) amounts() []byte {
	b := make([]byte, 0, 64)
	b = binary.BigEndian.AppendUint32(b, p.Account)
	b = binary.BigEndian.AppendUint32(b, p.Self)
	return binary.BigEndian.AppendUint32(b, p.Pooling)
}

// MAC1 is the terminal's proof to the card: over the amounts, type, terminal
// and time.
func (p *Purchase) MAC1(s *Session) [MACSize]byte {
	b := append(p.amounts(), TypeSettlement)
	b = append(b, p.Terminal[:]...)
	return s.MAC(append(b, p.Time[:]...))
}

// MAC2 is the card's proof to the terminal that it has debited: over the
// amounts.
func (p *Purchase) MAC2(s *Session) [MACSize]byte { return s.MAC(p.amounts()) }

// TAC is the card's signature for the insurer, under the card's DTK: over
// amounts, type, terminal, terminal sequence and time. Errors wrap
// [ErrAlgorithm].
func (p *Purchase) TAC(a Algorithm, dtk Key) ([MACSize]byte, error) {
	b := append(p.amounts(), TypeSettlement)
	b = append(b, p.Terminal[:]...)
	b = binary.BigEndian.AppendUint32(b, p.TerminalSequence)
	return tac(a, dtk, append(b, p.Time[:]...))
}

// A Load is what the MACs of loading the medical account are computed over
// (INIT FOR LOAD and CREDIT FOR LOAD). Amounts are fen; the type is [TypeLoad].
type Load struct {
	Random   [4]byte // the card's, from INIT FOR LOAD
	Sequence uint16  // the card's load sequence before its increment
	Balance  uint32  // fen on the account before the load
	Amount   uint32  // fen to be loaded
	Terminal [6]byte // terminal number, cn
	Time     [7]byte // CCYYMMDDhhmmss, cn
}

// Session returns the session SESLK of the card's DLK, for [Load.MAC1] and
// [Load.MAC2]. Errors wrap [ErrAlgorithm].
func (l *Load) Session(a Algorithm, dlk Key) (Session, error) {
	var r [8]byte
	copy(r[:], l.Random[:])
	binary.BigEndian.PutUint16(r[4:], l.Sequence)
	r[6] = 0x80
	return NewSession(a, dlk, r[:])
}

// MAC1 is the card's proof in INIT FOR LOAD: over balance, amount, type and
// terminal.
func (l *Load) MAC1(s *Session) [MACSize]byte {
	b := binary.BigEndian.AppendUint32(nil, l.Balance)
	b = binary.BigEndian.AppendUint32(b, l.Amount)
	b = append(b, TypeLoad)
	return s.MAC(append(b, l.Terminal[:]...))
}

// MAC2 is the issuer's order to credit: over amount, type, terminal and time.
func (l *Load) MAC2(s *Session) [MACSize]byte {
	b := binary.BigEndian.AppendUint32(nil, l.Amount)
	b = append(b, TypeLoad)
	b = append(b, l.Terminal[:]...)
	return s.MAC(append(b, l.Time[:]...))
}

// TAC is the card's signature, under its DTK: over the new balance, load
// sequence, amount, type, terminal and time. Errors wrap [ErrAlgorithm], or
// say that the new balance does not fit into 4 bytes.
func (l *Load) TAC(a Algorithm, dtk Key) ([MACSize]byte, error) {
	balance := l.Balance + l.Amount
	if balance < l.Balance {
		return [MACSize]byte{}, fmt.Errorf("TAC of load: %w: balance of more than 4 bytes", ErrSubject)
	}
	b := binary.BigEndian.AppendUint32(nil, balance)
	b = binary.BigEndian.AppendUint16(b, l.Sequence)
	b = binary.BigEndian.AppendUint32(b, l.Amount)
	b = append(b, TypeLoad)
	b = append(b, l.Terminal[:]...)
	return tac(a, dtk, append(b, l.Time[:]...))
}

// tac computes a MAC under DTK itself: for DES its halves XORed make the single
// DES key.
func tac(a Algorithm, dtk Key, data []byte) ([MACSize]byte, error) {
	if err := a.Check(); err != nil {
		return [MACSize]byte{}, fmt.Errorf("TAC: %w", err)
	}
	s := Session{algorithm: a, key: (*[Size]byte)(&dtk)}
	defer s.Wipe()
	if a == DES {
		for i := range 8 {
			s.key[i] ^= s.key[8+i]
		}
	}
	return s.MAC(data), nil
}
