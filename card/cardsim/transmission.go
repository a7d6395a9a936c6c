package cardsim

import (
	"slices"

	"onecard/apdu"
)

// The longest command of a card without extended lengths: header, Lc, 255
// bytes, Le.
const maxCommand = 4 + 1 + 255 + 1

// maxAnswer is the most data that one answer carries (card specification,
// section 9).
const maxAnswer = apdu.MaxShortLe

// A waiting is the data of an answer that GET RESPONSE has not fetched yet.
type waiting []byte

// answer runs a command and fits the data to Le. again: it was a GET RESPONSE
// that went well.
func (w *waiting) answer(quirks map[Quirk]bool, command []byte, run func(apdu.Command) ([]byte, apdu.Status)) (data []byte, sw apdu.Status, again bool) {
	if len(command) > maxCommand {
		return nil, apdu.StatusWrongLength, false
	}
	cmd, err := apdu.ParseCommand(command)
	if err != nil || cmd.Extended {
		return nil, apdu.StatusWrongLength, false
	}
	rest := *w
	*w = nil
	if cmd.INS == insGetResponse && cmd.CLA == 0 {
		data, sw = w.getResponse(quirks, cmd, rest)
		return data, sw, sw.OK() || sw>>8 == 0x61
	}
	data, sw = run(cmd)
	if !sw.OK() || len(data) == 0 {
		return nil, sw, false
	}
	data, sw = w.fit(quirks, cmd, data)
	return data, sw, false
}

// fit hands the data of an answer out by Le. A command without Le gets them
// all: in T=0, which the chips speak, its P3 stands for both.
func (w *waiting) fit(quirks map[Quirk]bool, cmd apdu.Command, data []byte) ([]byte, apdu.Status) {
	if quirks[QuirkGetResponse] && len(cmd.Data) > 0 {
		*w = data
		return nil, 0x6100 | apdu.Status(byte(len(data)))
	}
	exactly := quirks[QuirkStrictLe] && len(cmd.Data) == 0 && cmd.Le != len(data)
	if exactly || cmd.Le != 0 && cmd.Le < len(data) {
		return nil, 0x6C00 | apdu.Status(byte(len(data)))
	}
	return data, apdu.StatusOK
}

func (w *waiting) getResponse(quirks map[Quirk]bool, cmd apdu.Command, rest []byte) ([]byte, apdu.Status) {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		*w = rest
		return nil, apdu.StatusWrongP1P2
	case len(rest) == 0:
		return nil, apdu.StatusConditions
	case cmd.Le != 0 && cmd.Le < len(rest):
		*w = slices.Clone(rest[cmd.Le:])
		return rest[:cmd.Le], 0x6100 | apdu.Status(byte(len(rest)-cmd.Le))
	case quirks[QuirkStrictLe] && cmd.Le != len(rest):
		*w = rest
		return nil, 0x6C00 | apdu.Status(byte(len(rest)))
	}
	return rest, apdu.StatusOK
}
