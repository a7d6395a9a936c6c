package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"onecard/apdu"
	"onecard/reader"
	"onecard/reader/serial"
	"onecard/reader/serial/serialsim"
	"onecard/terminal"
)

const (
	benchBaud   = 115200
	benchAnswer = 248 // bytes of data, a long record
)

// echoCard answers every command with as many bytes as a long record has.
type echoCard struct{}

func (echoCard) PowerOn() []byte { return []byte{0x3B, 0x60, 0x00, 0x00} }
func (echoCard) PowerOff()       {}
func (echoCard) Transmit([]byte) []byte {
	return append(make([]byte, benchAnswer, benchAnswer+2), 0x90, 0x00)
}

// serialLine measures one command through the driver of serial readers, on a
// pseudo-terminal whose simulated reader lets no more than 115200 bit/s pass,
// against the time that the bytes of command and answer take at that rate.
func (b *bench) serialLine(ctx context.Context) (err error) {
	title := terminal.Text{Chinese: fmt.Sprintf("串口读卡器上的一条指令（%d 字节应答，%d bit/s）", benchAnswer, benchBaud),
		English: fmt.Sprintf("one command on a serial reader (%d bytes of answer, %d bit/s)", benchAnswer, benchBaud)}
	if runtime.GOOS != "linux" {
		b.add(comparison{ID: "serial", Unit: "ms", Title: title, Skip: "pseudo-terminals are made on Linux"})
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	sim := serialsim.New(serialsim.Config{Baud: benchBaud})
	sim.Insert(echoCard{})
	port := filepath.Join(b.dir, "serial")
	line, err := serialsim.OpenPty(port)
	if err != nil {
		cancel()
		return err
	}
	d, err := serial.New([]serial.Port{{Name: port, Baud: benchBaud}})
	if err != nil {
		cancel()
		return errors.Join(err, line.Close())
	}
	w := reader.NewWatcher([]reader.Driver{d})
	ended := make(chan error, 2)
	go func() { ended <- sim.Serve(ctx, line) }()
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		cancel()
		late, stop := context.WithTimeout(context.WithoutCancel(ctx), demoTime)
		defer stop()
		err = errors.Join(err, <-ended, <-ended, d.Close(late))
	}()
	wait, stop := context.WithTimeout(ctx, demoTime)
	defer stop()
	there := false
	for e := range w.Subscribe(wait) {
		if there = e.Kind == reader.CardInserted; there {
			break
		}
	}
	if !there {
		return fmt.Errorf("serial: %w", reader.ErrNoCard)
	}
	s, err := w.Open(ctx, serial.SlotName(port), reader.Exclusive)
	if err != nil {
		return err
	}
	defer s.Close()
	const frames = 13 + 5 + 13 + benchAnswer + 2 // both frames: header, checksum and what is in them
	theory := time.Duration(frames) * 10 * time.Second / benchBaud
	names := []terminal.Text{
		{Chinese: "经 onecard 的会话", English: "through onecard's session"},
		{Chinese: "线路传送这些字节的时间", English: "the line's time for these bytes"},
	}
	one := func(context.Context) ([]time.Duration, error) {
		took, err := timed(func() error {
			_, err := s.Exchange(ctx, apdu.Command{INS: 0xB0, Le: benchAnswer})
			return err
		})
		return []time.Duration{took}, err
	}
	bare := func(context.Context) ([]time.Duration, error) { return []time.Duration{theory}, nil }
	found, err := interleave(ctx, b.runs(100), side{names[0], one}, side{names[1], bare})
	if err != nil {
		return err
	}
	b.add(comparison{ID: "serial", Unit: "ms", Title: title,
		Figures: []figure{summarise(names[0], found[0][0]), summarise(names[1], found[1][0])},
		Note: fmt.Sprintf(b.say("线路理论速率的 %.1f%%；线路为限速的伪终端", "%.1f%% of the line's theoretical rate; the line is a pseudo-terminal held to it"),
			100*theory.Seconds()*1000/found[0][0].quantile(0.5)),
	})
	return nil
}
