package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"onecard/card/cardsim"
	"onecard/cmd/internal/daemon"
	"onecard/reader/serial/serialsim"
	"onecard/reader/transport/transportsim"
)

type simTransportCmd struct {
	Image   []string `help:"Card image: 1.0, 2.0, 3.0 or a file; may be repeated: the cards that are pushed in, one after the other. A 3.0 card has an antenna, too." sep:"none"`
	Hopper  []string `help:"Card image of a card in the hopper; may be repeated." sep:"none"`
	Inside  string   `help:"Card image of a card that is inside, as after a power failure."`
	PSAM    bool     `name:"psam" help:"Put a PSAM into SAM slot 1."`
	Bin     int      `help:"How many cards fit the reject bin." default:"20"`
	LetterE bool     `name:"letter-e" help:"Spell failures with E, as some firmware does, not N."`
	Fault   []string `help:"A fault to order, KIND[=VALUE][:CM][@AT][xTIMES]; may be repeated. --fault=list shows the kinds." sep:"none"`
	PtyLink string   `name:"pty-link" help:"Symbolic link to make to the pseudo-terminal." type:"path"`
	Wait    bool     `help:"Push no card in before the input says insert."`
}

// Validate refuses a fault that there is not, as part of the command line.
func (c *simTransportCmd) Validate() error {
	if c.Bin < 0 || c.Bin > 999 {
		return errors.New("--bin is from 0 to 999")
	}
	_, _, err := c.faults()
	return err
}

func (c *simTransportCmd) faults() (list bool, faults []transportsim.Fault, err error) {
	for _, text := range c.Fault {
		if text == "list" {
			return true, nil, nil
		}
		f, err := transportsim.ParseFault(text)
		if err != nil {
			return false, nil, err
		}
		faults = append(faults, f)
	}
	return false, faults, nil
}

// movable makes a card that a motor can move.
func movable(name string, log *logrus.Logger) (*transportsim.Card, error) {
	image, err := daemon.LoadImage(name)
	if err != nil {
		return nil, err
	}
	contact, err := cardsim.New(image, cardsim.WithLogger(log))
	if err != nil {
		return nil, err
	}
	c := &transportsim.Card{Contact: contact}
	if field, err := cardsim.New(image, cardsim.WithLogger(log), cardsim.WithContactless()); err == nil {
		c.Field = field // cards before 3.0 have no antenna
	}
	return c, nil
}

// Run is a card unit until it is told to stop.
func (c *simTransportCmd) Run(a *app) error {
	list, faults, err := c.faults()
	if err != nil {
		return err // Validate has seen them
	}
	if list {
		for _, k := range transportsim.Faults() {
			a.print("%s\n", k)
		}
		return nil
	}
	log := a.simulatorLog()
	unit, cards, err := c.unit(log)
	if err != nil {
		return err
	}
	unit.Order(faults...)
	line, err := serialsim.OpenPty(c.PtyLink)
	if err != nil {
		return fmt.Errorf("%w: %w", errSimulator, err)
	}
	path := line.Port()
	if c.PtyLink != "" {
		path = c.PtyLink
	}
	// Scripts read the first line and take its last word.
	a.print("%s %s\n", a.say("模拟卡片传输机构（测试密钥，虚构人员，切勿用于真实业务）串口", "simulated card unit with TEST KEYS and synthetic people, never for real business, on"), path)
	hands := &hands{unit: unit, cards: cards, say: a.print}
	ctx, stop := context.WithCancel(a.ctx)
	defer stop()
	if !c.Wait {
		hands.insert(ctx)
	}
	// The input is read by a goroutine that ends with the process: a read from a
	// terminal cannot be called back.
	go hands.follow(ctx, a.in)
	err = unit.Serve(ctx, line)
	stop()
	hands.busy.Wait()
	if err != nil && a.ctx.Err() == nil {
		return fmt.Errorf("%w: %w", errSimulator, err)
	}
	return nil
}

func (c *simTransportCmd) unit(log *logrus.Logger) (*transportsim.Unit, []*transportsim.Card, error) {
	var sets [2][]*transportsim.Card
	for i, names := range [][]string{c.Image, c.Hopper} {
		for _, name := range names {
			card, err := movable(name, log)
			if err != nil {
				return nil, nil, err
			}
			sets[i] = append(sets[i], card)
		}
	}
	opts := []transportsim.Option{transportsim.WithHopper(sets[1]...), transportsim.WithBin(c.Bin)}
	if c.LetterE {
		opts = append(opts, transportsim.WithLetterE())
	}
	if c.Inside != "" {
		card, err := movable(c.Inside, log)
		if err != nil {
			return nil, nil, err
		}
		opts = append(opts, transportsim.WithInside(card))
	}
	if c.PSAM {
		image, err := cardsim.ExamplePSAM()
		if err != nil {
			return nil, nil, err
		}
		psam, err := cardsim.NewPSAM(image, cardsim.PSAMWithLogger(log))
		if err != nil {
			return nil, nil, err
		}
		opts = append(opts, transportsim.WithSAM(0, psam))
	}
	return transportsim.New(opts...), sets[0], nil
}

// hands are the holder's.
type hands struct {
	unit *transportsim.Unit
	say  func(format string, args ...any)
	busy sync.WaitGroup

	mu    sync.Mutex
	cards []*transportsim.Card // the next to push in is the first; it comes to the end then
}

// insert pushes the next card in as soon as the mouth is open.
func (h *hands) insert(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.cards) == 0 || ctx.Err() != nil {
		return
	}
	next := h.cards[0]
	h.cards = append(h.cards[1:], next)
	h.busy.Go(func() {
		if err := h.unit.InsertWhenOpen(ctx, next); err != nil {
			return // ctx ended
		}
	})
}

// follow does what the input says.
func (h *hands) follow(ctx context.Context, input io.Reader) {
	lines := bufio.NewScanner(input)
	for lines.Scan() && ctx.Err() == nil {
		word, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		switch word {
		case "fault":
			f, err := transportsim.ParseFault(strings.TrimSpace(rest))
			if err != nil {
				h.say("%v\n", err)
				continue
			}
			h.unit.Order(f)
		case "insert":
			h.insert(ctx)
		case "pull":
			if err := h.unit.Pull(); err != nil {
				h.say("%v\n", err)
			}
		case "power":
			h.unit.PowerFail()
		case "clear":
			h.unit.Clear()
		case "state":
			s := h.unit.State()
			h.say("position %c, hopper %d, bin %d, open %t, commands %d\n", s.Position, s.Hopper, s.Bin, s.Open, s.Commands)
		}
	}
}
