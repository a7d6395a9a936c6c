package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"onecard/apdu"
	"onecard/card"
	"onecard/reader"
	"onecard/terminal"
)

// A tape is a card's answers, as recorded; played again they come in no time.
type tape struct {
	conn    card.Conn // nil while it is played
	answers []apdu.Response
	at      int
	atr     []byte
}

var errTape = errors.New("more commands than were recorded")

func (t *tape) ATR() []byte { return t.atr }

func (t *tape) Exchange(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	if t.conn != nil {
		r, err := t.conn.Exchange(ctx, c)
		t.answers = append(t.answers, r)
		return r, err
	}
	if t.at == len(t.answers) {
		return apdu.Response{}, errTape
	}
	t.at++
	return t.answers[t.at-1], nil
}

// readEverything is every file of a card, from bytes to values with words.
func (p *recordBench) readEverything(ctx context.Context, conn card.Conn) (elements int, err error) {
	c, err := card.Open(ctx, conn)
	if err == nil {
		err = c.VerifyPIN(ctx, card.PIN(demoPIN))
	}
	if err != nil {
		return 0, err
	}
	files, _, err := c.ReadFiles(ctx, p.kh)
	for _, f := range files {
		for _, r := range f.Records {
			elements += max(1, len(r.Members))
		}
	}
	return elements, err
}

// decoding measures how many elements are decoded in a second, with a card that
// answers from memory.
func (b *bench) decoding(ctx context.Context, p *recordBench) error {
	recording := &tape{}
	var elements int
	err := p.inserted(ctx, func(s *reader.Session, _ *recorder) (err error) {
		recording.conn, recording.atr = s, s.ATR()
		elements, err = p.readEverything(ctx, recording)
		return err
	})
	if err != nil {
		return err
	}
	name := terminal.Text{Chinese: fmt.Sprintf("整卡 %d 个数据元", elements), English: fmt.Sprintf("a whole card, %d elements", elements)}
	found, err := interleave(ctx, b.runs(300), side{name, func(ctx context.Context) ([]time.Duration, error) {
		playing := &tape{answers: recording.answers, atr: recording.atr}
		took, err := timed(func() error {
			n, err := p.readEverything(ctx, playing)
			if err == nil && n != elements {
				err = fmt.Errorf("%d elements, not %d", n, elements)
			}
			return err
		})
		return []time.Duration{took}, err
	}})
	if err != nil {
		return err
	}
	b.add(comparison{ID: "decode", Unit: "ms",
		Title:   terminal.Text{Chinese: "解码（卡片应答取自内存，含密钥计算）", English: "decoding, the card's answers from memory, the keys' computations with it"},
		Figures: []figure{summarise(name, found[0][0])},
		Note:    fmt.Sprintf(b.say("每秒 %.0f 个数据元", "%.0f elements a second"), float64(elements)*1000/found[0][0].quantile(0.5))})
	return nil
}
