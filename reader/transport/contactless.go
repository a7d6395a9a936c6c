package transport

import (
	"fmt"

	"onecard/reader"
)

// contactlessATR makes the answer to reset that a PC/SC reader would give for
// the card in the field (PC/SC part 3, 3.1.3.2.3), out of what starting it
// answered: 'A', ATQA (2), length of the UID, UID, SAK, ATS; or 'B' and the ATQB.
// It is empty of historical bytes where the firmware tells less.
func contactlessATR(data []byte) (atr []byte, typeB bool, err error) {
	if len(data) == 0 {
		return nil, false, fmt.Errorf("card unit: start contactless card: %w: empty answer", reader.ErrFault)
	}
	var historical []byte
	switch rest := data[1:]; data[0] {
	case 'A':
		historical = atsHistorical(rest)
	case 'B':
		typeB = true
		// 50, PUPI (4), application data (4), protocol info (3).
		if len(rest) >= 12 && rest[0] == 0x50 {
			historical = append(append(append(historical, rest[5:9]...), rest[9:12]...), 0)
		}
	default:
		return nil, false, fmt.Errorf("card unit: start contactless card: %w: type %02X", reader.ErrFault, data[0])
	}
	atr = append([]byte{0x3B, 0x80 | byte(len(historical)), 0x80, 0x01}, historical...)
	return append(atr, bcc(atr[1:])), typeB, nil
}

// atsHistorical returns the historical bytes of a type A card's answer to select
// (ISO 14443-4, 5.2), at most 15.
func atsHistorical(b []byte) []byte {
	if len(b) < 3 {
		return nil
	}
	uid := int(b[2])
	if uid != 4 && uid != 7 && uid != 10 || len(b) < 4+uid+2 {
		return nil
	}
	ats := b[4+uid:]
	if int(ats[0]) != len(ats) || len(ats) < 2 {
		return nil
	}
	skip := 2
	for bit := byte(0x10); bit <= 0x40; bit <<= 1 { // TA, TB, TC
		if ats[1]&bit != 0 {
			skip++
		}
	}
	if skip > len(ats) || len(ats)-skip > 15 {
		return nil
	}
	return ats[skip:]
}
