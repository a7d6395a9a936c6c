package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"onecard/card/cardsim"
	"onecard/card/keys"
	"onecard/reader"
	"onecard/reader/virtual"
	"onecard/terminal"
)

const (
	benchSlots = 32
	// slotDelay is what a command takes at these readers, and costs no processor:
	// real ones take twice as long.
	slotDelay = 10 * time.Millisecond
)

// manySlots measures how many cards are identified in a second in 32 virtual readers at
// once, against the same commands sent to 32 such readers by nothing but a loop, which
// is what the machine can do; one reader alone tells how near that is to 32 times one.
func (b *bench) manySlots(ctx context.Context) error {
	driver := virtual.New()
	defer driver.Stop()
	slots := make([]*slotBench, benchSlots)
	for i := range slots {
		one, err := newSlotBench(ctx, driver, fmt.Sprintf("bench %d", i+1))
		if err != nil {
			return err
		}
		slots[i] = one
	}
	together := func(list []*slotBench, do func(*slotBench, context.Context) error) func(context.Context) ([]time.Duration, error) {
		return func(ctx context.Context) ([]time.Duration, error) {
			took, err := timed(func() error {
				failed := make(chan error, len(list))
				for _, s := range list {
					go func() { failed <- do(s, ctx) }() // all are waited for below
				}
				var errs []error
				for range list {
					errs = append(errs, <-failed)
				}
				return errors.Join(errs...)
			})
			return []time.Duration{took}, err
		}
	}
	names := []terminal.Text{
		{Chinese: fmt.Sprintf("onecard，%d 个读卡器同时，每秒识别", benchSlots), English: fmt.Sprintf("onecard, %d readers at once, identities a second", benchSlots)},
		{Chinese: fmt.Sprintf("同样的命令，%d 个读卡器同时，不经会话", benchSlots), English: fmt.Sprintf("the same commands, %d readers at once, no session", benchSlots)},
		{Chinese: "onecard，一个读卡器", English: "onecard, one reader"},
	}
	found, err := interleave(ctx, b.runs(30),
		side{names[0], together(slots, (*slotBench).onecard)},
		side{names[1], together(slots, (*slotBench).replay)},
		side{names[2], together(slots[:1], (*slotBench).onecard)})
	if err != nil {
		return err
	}
	perSecond := func(i int, cards float64) figure {
		ms := found[i][0]
		return figure{Name: names[i], Median: math.Round(cards * 1000 / ms.quantile(0.5)), Runs: len(ms)}
	}
	figures := []figure{perSecond(0, benchSlots), perSecond(1, benchSlots), perSecond(2, 1)}
	b.add(comparison{ID: "slots", Aim: 0.9, AtLeast: true,
		Title:   terminal.Text{Chinese: fmt.Sprintf("%d 个虚拟读卡器同时读卡（每条命令 %s）", benchSlots, slotDelay), English: fmt.Sprintf("%d virtual readers reading at once, %s a command", benchSlots, slotDelay)},
		Figures: figures,
		Note:    fmt.Sprintf(b.say("为一个读卡器的 %.1f 倍", "%.1f times one reader"), figures[0].Median/figures[2].Median)})
	return nil
}

// slotBench is one virtual reader with a card of its own.
type slotBench struct {
	p *cardBench
}

func newSlotBench(ctx context.Context, driver *virtual.Driver, name string) (*slotBench, error) {
	image, err := cardsim.Example("3.0")
	if err != nil {
		return nil, err
	}
	sim, err := cardsim.New(image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(driver.AddSlot(name), driver.Insert(name, sim)); err != nil {
		return nil, err
	}
	ring := &ringHolder{ring: keys.TestRing(keys.Reference())}
	s := &slotBench{p: &cardBench{driver: driver, slot: name, ring: ring.ring}}
	if err := s.p.recordWith(ctx, ring); err != nil {
		return nil, err
	}
	return s, driver.Order(name, virtual.Fault{Kind: virtual.Slow, Delay: slotDelay, Times: math.MaxInt32})
}

func (s *slotBench) onecard(ctx context.Context) error {
	_, err := s.p.onecard(ctx, &ringHolder{ring: s.p.ring}, false)
	return err
}

// replay sends the recorded commands over a link that nobody watches.
func (s *slotBench) replay(ctx context.Context) error {
	link, err := s.p.driver.Open(ctx, s.p.slot, reader.Shared)
	if err != nil {
		return err
	}
	_, err = s.p.play(ctx, bareLink{ctx, link}, &ringHolder{ring: s.p.ring}, false)
	return errors.Join(err, link.Close())
}

// bareLink is a link and nothing else.
type bareLink struct {
	ctx  context.Context
	link reader.Link
}

func (l bareLink) send(command []byte) ([]byte, error) {
	answer, err := l.link.Transmit(l.ctx, command)
	if err != nil {
		return nil, err
	}
	data, ok := bytes.CutSuffix(answer, []byte{0x90, 0x00})
	if !ok {
		return nil, fmt.Errorf("answer %X", answer[max(0, len(answer)-2):])
	}
	return data, nil
}
