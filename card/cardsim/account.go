package cardsim

import (
	"encoding/binary"

	"onecard/apdu"
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
			// A leap year has every day.
			b, err := field{4, profile.Date}.value("2024" + text)
			if err != nil || len(text) != 4 {
				return badImage(n.path, "must be a day in the form MMDD")
			}
			copy(a.startDay[:], b[2:])
			return nil
		},
	})
}

// getBalance is GET BALANCE B0 26 00 what: 01 account, 02 self-paid, 03
// pooling, the latter two with the year.
func (c *Card) getBalance(cmd apdu.Command) ([]byte, apdu.Status) {
	a := &c.mem.account
	switch {
	case c.ses.df != "DF04":
		return nil, apdu.StatusConditions
	case cmd.P1 != 0:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) > 0:
		return nil, apdu.StatusWrongLength
	case !c.ses.pin:
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

// startDay reads the day on which the account's year begins: START DAY B0 56
// 01 00, mmdd.
func (c *Card) startDay(cmd apdu.Command) ([]byte, apdu.Status) {
	switch {
	case c.ses.df != "DF04":
		return nil, apdu.StatusConditions
	case cmd.P1 != 1 || cmd.P2 != 0:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) > 0:
		return nil, apdu.StatusWrongLength
	}
	return append([]byte(nil), c.mem.account.startDay[:]...), apdu.StatusOK
}
