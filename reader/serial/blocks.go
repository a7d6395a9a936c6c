package serial

import (
	"errors"
	"fmt"

	"onecard/reader"
)

// Bits of a block's PCB (ISO 7816-3, 11.3.2.2).
const (
	moreBit     = 0x20 // of an I-block: another follows
	sequenceBit = 0x40 // N(S) of an I-block
	rBlock      = 0x80
	rSequence   = 0x10 // N(R) of an R-block
	sBlock      = 0xC0
	sAnswer     = 0x20 // an S-block that answers
	sIFS        = 0x01
	sAbort      = 0x02
	sWTX        = 0x03
)

const (
	// maxBlocks bounds the blocks of one command; 256 bytes in blocks of one take
	// so many, with room for repeats and for pleas for time.
	maxBlocks = 1024
	// maxRepeats bounds broken blocks in a row (ISO 7816-3, 11.6.3.2).
	maxRepeats = 3
	// maxBlockAnswer bounds the answer to one command.
	maxBlockAnswer = 258
)

// blocks is one end of the block protocol T=1 with a card (ISO 7816-3, 11), for
// readers that leave the blocks to the host. The terminal's own longest block is
// the 32 bytes that hold without a word. The epilogue is an LRC.
type blocks struct {
	size int  // IFSC
	ns   byte // of our next I-block, 0 or 1
	nr   byte // of the card's next I-block
}

// A blockExchange hands one block to the card; waiting is what bBWI is to be.
type blockExchange func(block []byte, waiting byte) ([]byte, error)

// transmit sends a command and returns the answer. No command is repeated to the
// card as another: the blocks' numbers tell it.
func (b *blocks) transmit(command []byte, exchange blockExchange) ([]byte, error) {
	var (
		answer  []byte
		waiting byte
		repeats int
		rest    = command
		chunk   = rest[:min(len(rest), b.size)]
		sending = true // the card has not taken the chunk yet
		out     = b.information(chunk, len(chunk) < len(rest))
	)
	for range maxBlocks {
		raw, err := exchange(out, waiting)
		waiting = 0
		if err != nil && (!errors.Is(err, reader.ErrFault) || errors.Is(err, errFrame)) {
			return nil, err
		}
		pcb, inf, bad := b.parse(raw)
		if err != nil || bad != nil {
			// The reader heard a parity error or nothing, or the block is broken:
			// the card is asked for it again.
			if repeats++; repeats > maxRepeats {
				return nil, errors.Join(err, bad, fmt.Errorf("%w: T=1: %d broken blocks", reader.ErrFault, repeats))
			}
			out = b.block(rBlock|b.nr*rSequence|1, nil)
			continue
		}
		switch {
		case pcb&0x80 == 0: // I-block
			last := len(chunk) == len(rest)
			if pcb&sequenceBit != 0 != (b.nr == 1) || sending && !last {
				if repeats++; repeats > maxRepeats {
					return nil, fmt.Errorf("%w: T=1: block out of sequence", reader.ErrFault)
				}
				out = b.block(rBlock|b.nr*rSequence|2, nil)
				continue
			}
			if sending {
				sending, b.ns = false, b.ns^1
			}
			b.nr ^= 1
			repeats = 0
			if answer = append(answer, inf...); len(answer) > maxBlockAnswer {
				return nil, fmt.Errorf("%w: T=1: more than %d bytes", reader.ErrFault, maxBlockAnswer)
			}
			if pcb&moreBit == 0 {
				return answer, nil
			}
			out = b.block(rBlock|b.nr*rSequence, nil)
		case pcb&0xC0 == rBlock:
			if sending && pcb&rSequence != 0 == (b.ns == 0) && len(chunk) < len(rest) {
				// The card asks for the next of the chain.
				b.ns ^= 1
				rest = rest[len(chunk):]
				chunk, repeats = rest[:min(len(rest), b.size)], 0
				out = b.information(chunk, len(chunk) < len(rest))
				continue
			}
			if repeats++; repeats > maxRepeats {
				return nil, fmt.Errorf("%w: T=1: the card wants the same again and again", reader.ErrFault)
			}
			if sending {
				out = b.information(chunk, len(chunk) < len(rest))
			} else {
				out = b.block(rBlock|b.nr*rSequence, nil)
			}
		case pcb == sBlock|sWTX && len(inf) == 1:
			waiting = inf[0]
			out = b.block(sBlock|sAnswer|sWTX, inf)
		case pcb == sBlock|sIFS && len(inf) == 1 && inf[0] > 0 && inf[0] < 0xFF:
			// The chunk under way keeps its size: the card may have it already.
			b.size = int(inf[0])
			out = b.block(sBlock|sAnswer|sIFS, inf)
		default:
			return nil, fmt.Errorf("%w: T=1: block %02X", reader.ErrFault, pcb)
		}
	}
	return nil, fmt.Errorf("%w: T=1: more than %d blocks", reader.ErrFault, maxBlocks)
}

// information returns an I-block.
func (b *blocks) information(inf []byte, more bool) []byte {
	pcb := b.ns * sequenceBit
	if more {
		pcb |= moreBit
	}
	return b.block(pcb, inf)
}

// block returns a block with its epilogue.
func (*blocks) block(pcb byte, inf []byte) []byte {
	out := append([]byte{0, pcb, byte(len(inf))}, inf...)
	return append(out, xor(out))
}

// parse takes a block of the card apart.
func (*blocks) parse(raw []byte) (pcb byte, inf []byte, err error) {
	if len(raw) < 4 || len(raw) != 4+int(raw[2]) || raw[0] != 0 || raw[2] == 0xFF {
		return 0, nil, fmt.Errorf("%w: T=1: block of %d bytes", reader.ErrFault, len(raw))
	}
	if xor(raw) != 0 {
		return 0, nil, fmt.Errorf("%w: T=1: wrong checksum", reader.ErrFault)
	}
	return raw[1], raw[3 : len(raw)-1], nil
}
