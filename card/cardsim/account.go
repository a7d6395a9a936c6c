package cardsim

import (
	"encoding/binary"
	"encoding/hex"

	"onecard/card/profile"
)

// An account is the medical account, which is in no file: the card's own
// operating system keeps it below DF04.
type account struct {
	balance  uint32 // fen
	selfPaid uint32 // fen, total of the year
	pooling  uint32 // fen, total of the year
	year     [2]byte
	startDay [2]byte // mmdd, cn, on which the year begins
	loads    uint16  // sequence of the next load
	debits   uint16  // sequence of the next purchase
}

func (img *Image) readAccount(n node) error {
	img.accountRead = true
	a := &img.account
	amount := func(to *uint32) func(node) error {
		return func(n node) error {
			b, err := field{4, profile.BinaryAmount}.encode(n)
			if err == nil {
				*to = binary.BigEndian.Uint32(b)
			}
			return err
		}
	}
	sequence := func(to *uint16) func(node) error {
		return func(n node) error {
			v, err := n.int(0, 0xFFFF)
			*to = uint16(v)
			return err
		}
	}
	return n.object(map[string]func(node) error{
		"balance":           amount(&a.balance),
		"yearly_self_paid":  amount(&a.selfPaid),
		"yearly_pooling":    amount(&a.pooling),
		"load_sequence":     sequence(&a.loads),
		"purchase_sequence": sequence(&a.debits),
		"year": func(n node) error {
			b, err := field{2, profile.Year}.encode(n)
			copy(a.year[:], b)
			return err
		},
		"start_day": func(n node) error {
			text, err := n.string()
			if err != nil {
				return err
			}
			b, err := hex.DecodeString(text)
			if err != nil || !validDay(b) {
				return badImage(n.path, "must be a day in the form MMDD")
			}
			copy(a.startDay[:], b)
			return nil
		},
	})
}
