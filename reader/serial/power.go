package serial

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"onecard/reader"
)

// wrongVoltage is a reader's bError for a bPowerSelect that it does not know: the
// offset of the field in the message.
const wrongVoltage = 7

// errPPS: the card declines another rate.
var errPPS = errors.New("the card declines PPS")

// power resets the card and agrees with it and the reader on how they talk. The
// error wraps [reader.ErrNoCard], [reader.ErrMute] for a card without a proper
// answer to reset, or what exchange returns.
func (p *port) power(ctx context.Context, w *wire) (card, error) {
	ctx, cancel := context.WithTimeout(ctx, powerTime)
	defer cancel()
	c, err := start(ctx, w, true)
	if errors.Is(err, errPPS) {
		// What follows a failed PPS is a new reset (ISO 7816-3, 9.1).
		c, err = start(ctx, w, false)
	}
	return c, err
}

// start resets the card once. It tries another rate only with pps.
func start(ctx context.Context, w *wire, pps bool) (card, error) {
	atr, err := reset(ctx, w)
	if err != nil {
		return card{}, err
	}
	parsed, err := reader.ParseATR(atr)
	if err != nil {
		return card{}, fmt.Errorf("%w: %w", reader.ErrMute, err)
	}
	t, err := choose(parsed)
	if err != nil {
		return card{}, err
	}
	if t.rate != defaultRate && !t.specific {
		if !pps {
			t.rate = defaultRate
		} else if err := negotiate(ctx, w, t); err != nil {
			return card{}, err
		}
	}
	a, err := w.exchange(ctx, message{Kind: setParameters, Extra: [3]byte{t.protocol}, Data: t.structure()}, 0)
	if err != nil {
		return card{}, err
	}
	// A reader without the command sets its parameters by the ATR itself.
	if err := a.failed(); err != nil && a.Extra[1] != 0 {
		return card{}, fmt.Errorf("parameters: %w", err)
	}
	c := card{atr: atr, protocol: t.protocol}
	if t.protocol == 1 {
		c.blocks = &blocks{size: t.ifsc}
	}
	return c, nil
}

// reset gives the card power and returns its answer. Readers that do not choose
// the voltage by themselves are told: 5 V first, which every card of the
// specification stands.
func reset(ctx context.Context, w *wire) ([]byte, error) {
	var last error
	for voltage := range byte(4) {
		a, err := w.exchange(ctx, message{Kind: powerOn, Extra: [3]byte{voltage}}, 0)
		if err != nil {
			return nil, err
		}
		if last = a.failed(); last == nil {
			if len(a.Data) == 0 {
				return nil, reader.ErrMute
			}
			return a.Data, nil
		}
		if errors.Is(last, reader.ErrNoCard) {
			return nil, last
		}
		if a.Extra[1] != wrongVoltage {
			break
		}
	}
	return nil, fmt.Errorf("%w: %w", reader.ErrMute, last)
}

// defaultRate is Fi = 372, Di = 1 as a TA1 (ISO 7816-3, 8.3).
const defaultRate = 0x11

// terms are how a card wants to be talked to.
type terms struct {
	protocol byte
	specific bool // the card insists (TA2): no PPS
	rate     byte // Fi and Di, as TA1
	guard    byte // TC1
	inverse  bool // convention
	waiting  byte // of T=0: WI (TC2); of T=1: BWI and CWI (first TB for T=1)
	ifsc     int  // of T=1: the longest block the card takes
}

// choose takes the terms from an answer to reset (ISO 7816-3, 8.3, 10.2 and 11.4).
func choose(a reader.ATR) (terms, error) {
	t := terms{rate: defaultRate, inverse: a.TS == 0x3F, waiting: 10, ifsc: 32}
	t.protocol = a.Protocols()[0]
	at := func(i int) reader.Interface {
		if i < len(a.Interface) {
			return a.Interface[i]
		}
		return reader.Interface{TA: -1, TB: -1, TC: -1, TD: -1}
	}
	if ta := at(0).TA; ta >= 0 {
		t.rate = byte(ta)
	}
	if tc := at(0).TC; tc >= 0 {
		t.guard = byte(tc)
	}
	if ta := at(1).TA; ta >= 0 {
		t.specific, t.protocol = true, byte(ta&0x0F)
		if ta&0x10 != 0 {
			t.rate = defaultRate // the rate is the reader's to know
		}
	}
	switch t.protocol {
	case 0:
		if tc := at(1).TC; tc > 0 {
			t.waiting = byte(tc)
		}
		return t, nil
	case 1:
	default:
		return t, fmt.Errorf("%w: the card speaks T=%d only", reader.ErrMute, t.protocol)
	}
	t.waiting = 0x4D
	for i := 2; i < len(a.Interface); i++ {
		if a.Interface[i-1].TD&0x0F != 1 {
			continue
		}
		g := a.Interface[i]
		if g.TA > 0 && g.TA < 0xFF {
			t.ifsc = g.TA
		}
		if g.TB >= 0 {
			t.waiting = byte(g.TB)
		}
		if g.TC >= 0 && g.TC&1 != 0 {
			return t, fmt.Errorf("%w: the card wants CRC for T=1", reader.ErrMute)
		}
		break
	}
	return t, nil
}

// structure returns abProtocolDataStructure (CCID 1.1, 6.1.7).
func (t terms) structure() []byte {
	var convention byte
	if t.inverse {
		convention = 0x02
	}
	if t.protocol == 0 {
		return []byte{t.rate, convention, t.guard, t.waiting, 0}
	}
	return []byte{t.rate, 0x10 | convention, t.guard, t.waiting, 0, byte(t.ifsc), 0}
}

// negotiate asks the card for its own rate (ISO 7816-3, 9).
func negotiate(ctx context.Context, w *wire, t terms) error {
	pps := []byte{0xFF, 0x10 | t.protocol, t.rate}
	pps = append(pps, xor(pps))
	a, err := w.exchange(ctx, message{Kind: xfrBlock, Data: pps}, 0)
	if err != nil {
		return err
	}
	if err := a.failed(); err != nil {
		if errors.Is(err, reader.ErrNoCard) {
			return err
		}
		return fmt.Errorf("%w: %w", errPPS, err)
	}
	if !bytes.Equal(a.Data, pps) {
		return errPPS
	}
	return nil
}

// transmit carries a command to the card in its protocol.
func (p *port) transmit(ctx context.Context, w *wire, command []byte) ([]byte, error) {
	p.d.mu.Lock()
	c := p.card
	p.d.mu.Unlock()
	if c.blocks != nil {
		return c.blocks.transmit(command, func(block []byte, waiting byte) ([]byte, error) {
			return transfer(ctx, w, block, waiting)
		})
	}
	return transfer(ctx, w, command, 0)
}

// transfer hands bytes to the card and returns its own; waiting is the multiple of
// T=1's waiting time that the card asked for.
func transfer(ctx context.Context, w *wire, data []byte, waiting byte) ([]byte, error) {
	a, err := w.exchange(ctx, message{Kind: xfrBlock, Extra: [3]byte{waiting}, Data: data}, 0)
	if err != nil {
		return nil, err
	}
	if err := a.failed(); err != nil {
		return nil, err
	}
	if a.Extra[2] != 0 { // bChainParameter
		return nil, fmt.Errorf("%w: an answer in parts, which only extended commands have", reader.ErrFault)
	}
	return a.Data, nil
}
