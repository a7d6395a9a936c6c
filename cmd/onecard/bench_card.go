package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ebfe/scard"

	"onecard/card"
	"onecard/card/keys"
	holder "onecard/hsm-sim/hsm"
	"onecard/reader"
	"onecard/reader/pcsc"
	"onecard/terminal"
)

// identity measures how long it takes to know who holds a 3.0 card, through
// pcscd, against a program that knows nothing but the bytes: it sends the same
// commands, as recorded, through the same binding.
func (b *bench) identity(ctx context.Context) error {
	title := terminal.Text{Chinese: "经 pcscd 识别 3.0 卡持卡人（仅卡命令）", English: "identity of a 3.0 card through pcscd, the card commands"}
	if !b.cmd.PCSC {
		b.add(comparison{ID: "identity", Title: title, Skip: "no PC/SC: " + b.because})
		return nil
	}
	client := holder.New([]string{b.hsm})
	defer client.Close()
	driver := pcsc.New()
	p := &cardBench{driver: driver, hsm: client, ring: keys.TestRing(keys.Reference())}
	err := p.find(ctx)
	if err == nil {
		err = b.compareIdentity(ctx, p, title)
	}
	if err == nil {
		err = b.compareExchange(ctx, p)
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	return errors.Join(err, driver.Close(ending))
}

func (b *bench) compareIdentity(ctx context.Context, p *cardBench, title terminal.Text) error {
	if err := p.record(ctx); err != nil {
		return err
	}
	commands := len(p.recorded)
	inside := &ringHolder{ring: p.ring}
	names := []terminal.Text{
		{Chinese: "onecard，应答的计算不计时", English: "onecard, the answer to the challenge not counted"},
		{Chinese: fmt.Sprintf("直接重放同样的 %d 条命令，应答的计算不计时", commands), English: fmt.Sprintf("plain replay of the same %d commands, the answer to the challenge not counted", commands)},
		{Chinese: "onecard，密钥在加密机（TCP）", English: "onecard, keys in the HSM over TCP"},
		{Chinese: "直接重放，逐次调用同一加密机", English: "plain replay, calling the same HSM twice, one after the other"},
	}
	once := func(f func(context.Context, card.KeyHolder, bool) ([]time.Duration, error), kh card.KeyHolder, counted bool) func(context.Context) ([]time.Duration, error) {
		return func(ctx context.Context) ([]time.Duration, error) { return f(ctx, kh, counted) }
	}
	found, err := interleave(ctx, b.runs(1000),
		side{names[0], once(p.onecard, inside, true)}, side{names[1], once(p.replay, inside, false)},
		side{names[2], once(p.onecard, p.hsm, true)}, side{names[3], once(p.replay, p.hsm, true)})
	if err != nil {
		return err
	}
	b.add(comparison{ID: "identity", Title: title, Unit: "ms", Aim: 1.1,
		Figures: []figure{summarise(names[0], found[0][0]), summarise(names[1], found[1][0])}})
	b.add(comparison{ID: "identity_hsm", Unit: "ms", Aim: 1.1,
		Title:   terminal.Text{Chinese: "同上，含加密机", English: "the same with the HSM's time on both sides"},
		Figures: []figure{summarise(names[2], found[2][0]), summarise(names[3], found[3][0])}})
	b.add(comparison{ID: "identity_connected", Unit: "ms",
		Title:   terminal.Text{Chinese: "同上，含连接、事务与断开", English: "the same with connecting, transaction and disconnecting on both sides"},
		Figures: []figure{summarise(names[2], found[2][1]), summarise(names[3], found[3][1])}})
	b.add(comparison{ID: "commands", Aim: 7,
		Title:   terminal.Text{Chinese: "识别持卡人的卡命令数", English: "commands for the identity"},
		Figures: []figure{{Name: terminal.Text{Chinese: "onecard", English: "onecard"}, Median: float64(commands)}}})
	return nil
}

// cardBench reads one card again and again.
type cardBench struct {
	driver   reader.Driver
	hsm      *holder.Client
	ring     *keys.Ring
	slot     string
	recorded [][]byte // the commands of an identity
	subject  keys.Subject
}

// find waits for the slot that holds the simulated card.
func (p *cardBench) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	err := p.driver.Watch(watching, func(s reader.Snapshot) {
		for _, slot := range s.Slots {
			if slot.Present && len(slot.ATR) > 0 && p.slot == "" {
				p.slot = slot.Slot
				stop()
			}
		}
	})
	if err == nil && p.slot == "" {
		err = reader.ErrNoCard
	}
	return err
}

// recorder keeps the commands that really go to the card.
type recorder struct {
	reader.Link
	sent [][]byte
}

func (r *recorder) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	r.sent = append(r.sent, bytes.Clone(command))
	return r.Link.Transmit(ctx, command)
}

// T0 passes on what the link says of the card's protocol.
func (r *recorder) T0() bool {
	l, ok := r.Link.(reader.T0Link)
	return ok && l.T0()
}

// record writes down the commands of one identity.
func (p *cardBench) record(ctx context.Context) error { return p.recordWith(ctx, p.hsm) }

func (p *cardBench) recordWith(ctx context.Context, kh card.KeyHolder) error {
	link, err := p.driver.Open(ctx, p.slot, reader.Shared)
	if err != nil {
		return err
	}
	r := &recorder{Link: link}
	s := reader.NewSession(r, reader.SlotState{Slot: p.slot})
	id, err := readIdentity(ctx, s, kh)
	if err == nil {
		p.recorded = r.sent
		p.subject = keys.Subject{Algorithm: id.Issuer.Algorithm, Area: id.Issuer.Area}
		var atr reader.ATR
		if atr, err = reader.ParseATR(s.ATR()); err == nil && copy(p.subject.Historical[:], atr.Historical) != len(p.subject.Historical) {
			err = errors.New("the card has no 13 historical bytes")
		}
	}
	return errors.Join(err, s.Close())
}

// readIdentity is what a desk does when a card is put in.
func readIdentity(ctx context.Context, s *reader.Session, kh card.KeyHolder) (card.Identity, error) {
	c, err := card.Open(ctx, s)
	if err != nil {
		return card.Identity{}, err
	}
	id, err := c.Identity(ctx, kh)
	if err == nil {
		err = errors.Join(id.AuthError, id.HolderError)
	}
	return id, err
}

// onecard returns the time of the commands and of everything.
func (p *cardBench) onecard(ctx context.Context, kh card.KeyHolder, _ bool) ([]time.Duration, error) {
	began := time.Now()
	link, err := p.driver.Open(ctx, p.slot, reader.Shared)
	if err != nil {
		return nil, err
	}
	s := reader.NewSession(link, reader.SlotState{Slot: p.slot})
	var took time.Duration
	// As a desk does it: everything where the reader is talked to.
	err = s.Do(ctx, func() error {
		if err := s.Begin(ctx); err != nil {
			return err
		}
		var err error
		took, err = timed(func() error { _, err := readIdentity(ctx, s, kh); return err })
		if r, ok := kh.(*ringHolder); ok {
			took -= r.awaited // as the replay's clock stands still for it
		}
		return errors.Join(err, s.End())
	})
	if err = errors.Join(err, s.Close()); err != nil {
		return nil, err
	}
	return []time.Duration{took, time.Since(began)}, nil
}

// replay sends what was recorded, to which only the answer to the card's fresh
// challenge is new. Where the key holder's work is not counted, the clock
// stands still meanwhile.
func (p *cardBench) replay(ctx context.Context, kh card.KeyHolder, counted bool) ([]time.Duration, error) {
	began := time.Now()
	bare, err := connectBare(p.slot)
	if err != nil {
		return nil, err
	}
	if err := bare.card.BeginTransaction(); err != nil {
		return nil, errors.Join(err, bare.close())
	}
	took, err := p.play(ctx, bare, kh, counted)
	err = errors.Join(err, bare.card.EndTransaction(scard.LeaveCard), bare.close())
	return []time.Duration{took, time.Since(began)}, err
}

func (p *cardBench) play(ctx context.Context, bare sender, kh card.KeyHolder, counted bool) (took time.Duration, err error) {
	var challenge []byte
	for _, recorded := range p.recorded {
		command := recorded
		answer := func() error { return nil }
		if command[1] == 0x82 { // EXTERNAL AUTHENTICATE: eight bytes of answer, eight of ours
			command = bytes.Clone(recorded)
			answer = func() error {
				auth, err := kh.ExternalAuth(ctx, p.subject, "RKSSSE", challenge, [8]byte(command[13:21]))
				copy(command[5:13], auth[:])
				return err
			}
		}
		spent, err := timed(answer)
		if err != nil {
			return 0, err
		}
		if counted {
			took += spent
		}
		var data []byte
		spent, err = timed(func() (err error) { data, err = bare.send(command); return err })
		if err != nil {
			return 0, fmt.Errorf("replay of %02X: %w", command[1], err)
		}
		took += spent
		switch command[1] {
		case 0x84: // GET CHALLENGE
			challenge = data
		case 0x88: // INTERNAL AUTHENTICATE: process factor and random
			spent, err := timed(func() error {
				want, err := kh.InternalAuth(ctx, p.subject, [8]byte(command[5:13]), [8]byte(command[13:21]))
				if err == nil && !bytes.Equal(want[:], data) {
					err = card.ErrNotGenuine
				}
				return err
			})
			if err != nil {
				return 0, err
			}
			if counted {
				took += spent
			}
		}
	}
	return took, nil
}

// A sender sends a command to a card and returns the data of its answer.
type sender interface {
	send(command []byte) ([]byte, error)
}

// bareCard is the binding and nothing else.
type bareCard struct {
	context *scard.Context
	card    *scard.Card
}

func connectBare(slot string) (*bareCard, error) {
	c, err := scard.EstablishContext()
	if err != nil {
		return nil, err
	}
	one, err := c.Connect(slot, scard.ShareShared, scard.ProtocolAny)
	if err != nil {
		return nil, errors.Join(err, c.Release())
	}
	return &bareCard{c, one}, nil
}

func (b *bareCard) close() error {
	return errors.Join(b.card.Disconnect(scard.LeaveCard), b.context.Release())
}

// send returns the data of an answer that ends in 9000.
func (b *bareCard) send(command []byte) ([]byte, error) {
	answer, err := b.card.Transmit(command)
	if err != nil {
		return nil, err
	}
	data, ok := bytes.CutSuffix(answer, []byte{0x90, 0x00})
	if !ok {
		return nil, fmt.Errorf("answer %s", strings.ToUpper(fmt.Sprintf("%x", answer[max(0, len(answer)-2):])))
	}
	return data, nil
}

// ringHolder is a key holder in this process. It says how long the card was last
// kept waiting for it: internal authentication it computes while the card does.
type ringHolder struct {
	ring    *keys.Ring
	awaited time.Duration
}

func (h *ringHolder) InternalAuth(_ context.Context, s keys.Subject, process, raw [8]byte) (answer [8]byte, err error) {
	key, err := h.ring.CardKey(s, "IRK")
	if err != nil {
		return answer, err
	}
	defer key.Wipe()
	return keys.InternalAnswer(s.Algorithm, key, process, raw)
}

func (h *ringHolder) ExternalAuth(_ context.Context, s keys.Subject, name string, challenge []byte, raw [8]byte) (auth [8]byte, err error) {
	began := time.Now()
	defer func() { h.awaited = time.Since(began) }()
	key, err := h.ring.CardKey(s, name)
	if err != nil {
		return auth, err
	}
	defer key.Wipe()
	return keys.ExternalAuth(s.Algorithm, key, challenge, raw)
}
