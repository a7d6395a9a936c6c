package serial

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"onecard/reader"
)

// blockCard is a card's end of T=1, written from the card's point of view, with a
// line that breaks blocks.
type blockCard struct {
	size     int // of the terminal: 32
	ns, nr   byte
	got      []byte   // of the command
	out      []byte   // of the answer, not sent
	commands [][]byte // whole ones, as they arrived
	last     []byte
	answer   func([]byte) []byte
	waits    int // pleas for time before an answer
	breaks   func() bool
}

func (c *blockCard) block(pcb byte, inf []byte) []byte {
	b := append([]byte{0, pcb, byte(len(inf))}, inf...)
	var sum byte
	for _, x := range b {
		sum ^= x
	}
	return append(b, sum)
}

// send sends the next block of the answer.
func (c *blockCard) send() []byte {
	inf := c.out[:min(len(c.out), c.size)]
	pcb := c.ns << 6
	if len(inf) < len(c.out) {
		pcb |= 0x20
	}
	return c.block(pcb, inf)
}

func (c *blockCard) take(b []byte) []byte {
	var sum byte
	for _, x := range b {
		sum ^= x
	}
	if sum != 0 || len(b) < 4 || len(b) != 4+int(b[2]) {
		return c.block(0x81|c.nr<<4, nil)
	}
	pcb, inf := b[1], b[3:len(b)-1]
	switch {
	case pcb&0x80 == 0:
		if pcb>>6&1 != c.nr {
			return c.block(0x82|c.nr<<4, nil)
		}
		c.nr ^= 1
		if c.out != nil { // a new command says that the last answer has arrived
			c.ns, c.out = c.ns^1, nil
		}
		c.got = append(c.got, inf...)
		if pcb&0x20 != 0 {
			return c.block(0x80|c.nr<<4, nil)
		}
		c.commands = append(c.commands, c.got)
		c.out, c.got = c.answer(c.got), nil
		if c.waits > 0 {
			c.waits--
			return c.block(0xC3, []byte{2})
		}
		return c.send()
	case pcb&0xC0 == 0x80:
		if pcb>>4&1 == c.ns {
			return c.last
		}
		c.out = c.out[min(len(c.out), c.size):]
		c.ns ^= 1
		return c.send()
	case pcb == 0xE3:
		return c.send()
	}
	return c.block(0x82|c.nr<<4, nil)
}

func (c *blockCard) exchange(b []byte, _ byte) ([]byte, error) {
	in := bytes.Clone(b)
	if c.breaks() {
		in[len(in)-1] ^= 0x10
	}
	out := c.take(in)
	if out[1]&0xC0 != 0x80 || out[1]&0x0F == 0 { // what an R-block with an error asks for is not itself
		c.last = out
	}
	out = bytes.Clone(out)
	if c.breaks() {
		if out[1]&1 == 0 {
			return nil, fmt.Errorf("%w: parity error", reader.ErrFault)
		}
		out[0] ^= 0x20
	}
	return out, nil
}

// Commands and answers of any length pass whole, each command once, also over a
// line that breaks every so many blocks.
func TestBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		every := rapid.IntRange(0, 9).Draw(t, "every") // broken blocks; below 5 none
		n := 0
		c := &blockCard{size: 32, waits: rapid.IntRange(0, 2).Draw(t, "waits"), breaks: func() bool {
			n++
			return every >= 5 && n%every == 0
		}}
		b := &blocks{size: rapid.IntRange(1, 254).Draw(t, "ifsc")}
		for range rapid.IntRange(1, 4).Draw(t, "commands") {
			command := rapid.SliceOfN(rapid.Byte(), 4, maxCommand).Draw(t, "command")
			want := rapid.SliceOfN(rapid.Byte(), 2, maxBlockAnswer).Draw(t, "answer")
			c.answer = func([]byte) []byte { return bytes.Clone(want) }
			before := len(c.commands)
			got, err := b.transmit(command, c.exchange)
			if err != nil {
				if every >= 5 {
					return // a clear error is permitted on such a line
				}
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%x, want %x", got, want)
			}
			if len(c.commands) != before+1 || !bytes.Equal(c.commands[before], command) {
				t.Fatalf("the card got %x", c.commands[before:])
			}
		}
	})
}

// A card that answers with noise, or for ever, meets an end.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte{0, 0, 2, 0x90, 0, 0x92}, 6)
	f.Add([]byte{0, 0x20, 1, 0x90, 0xB1, 0, 0x60, 1, 0x90, 0xF1}, 5)
	f.Add([]byte{0, 0xC3, 1, 9, 0xCB}, 5)
	f.Fuzz(func(t *testing.T, answers []byte, size int) {
		size = max(size, 1)
		b, at := &blocks{size: 32}, 0
		got, err := b.transmit([]byte{0, 0x84, 0, 0, 8}, func([]byte, byte) ([]byte, error) {
			if len(answers) == 0 {
				return nil, nil
			}
			from := at % len(answers)
			at += size
			return answers[from:min(from+size, len(answers))], nil
		})
		if err == nil && len(got) > maxBlockAnswer || err != nil && !errors.Is(err, reader.ErrFault) {
			t.Fatalf("%x %v", got, err)
		}
	})
}
