//go:build linux

package serial_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onecard/apdu"
	"onecard/card"
	"onecard/card/cardsim"
	"onecard/card/keys"
	hsmsim "onecard/hsm-sim"
	"onecard/hsm-sim/hsm"
	"onecard/reader"
	"onecard/reader/serial"
	"onecard/reader/serial/serialsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits that are expected to end at once.
const patience = 30 * time.Second

// A bench is a simulated reader on a real pseudo-terminal with the driver at its
// other end.
type bench struct {
	*testing.T
	sim    *serialsim.Reader
	link   string // the port's name
	driver *serial.Driver
	watch  *reader.Watcher
	events chan reader.Event
	pull   func() // the cable
}

// plug connects the simulated reader to a new pseudo-terminal under the same name.
func (b *bench) plug() {
	b.Helper()
	line, err := serialsim.OpenPty(b.link)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.sim.Serve(ctx, line) }()
	pulled := false
	b.pull = func() {
		if !pulled {
			pulled = true
			cancel()
			if err := <-done; err != nil && !errors.Is(err, serialsim.ErrDisappeared) {
				b.Log("the simulated reader:", err) // a hang-up on its side is one
			}
		}
	}
	b.Cleanup(b.pull)
}

func newBench(t *testing.T, image string, config serialsim.Config, port serial.Port, opts ...reader.SessionOption) *bench {
	t.Helper()
	b := &bench{T: t, sim: serialsim.New(config), link: filepath.Join(t.TempDir(), "reader"), events: make(chan reader.Event, 64)}
	if image != "" {
		b.sim.Insert(chip(t, image))
	}
	b.plug()
	port.Name = b.link
	var err error
	b.driver, err = serial.New([]serial.Port{port}, serial.WithLook(20*time.Millisecond), serial.WithNotice(func(i serial.Info, err error) { t.Log(i, err) }))
	if err != nil {
		t.Fatal(err)
	}
	b.watch = reader.NewWatcher([]reader.Driver{b.driver}, reader.WithSessions(opts...))
	ctx, cancel := context.WithCancel(context.Background())
	run := make(chan error, 2)
	go func() { run <- b.watch.Run(ctx) }()
	go func() {
		for e := range b.watch.Subscribe(ctx) {
			select {
			case b.events <- e:
			case <-ctx.Done():
			}
		}
		run <- nil
	}()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-run; err != nil {
				t.Error(err)
			}
		}
		late, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		if err := b.driver.Close(late); err != nil {
			t.Error(err)
		}
	})
	return b
}

func chip(t testing.TB, version string) *cardsim.Card {
	t.Helper()
	image, err := cardsim.Example(version)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cardsim.New(image)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// await waits for an event.
func (b *bench) await(want func(reader.Event) bool) reader.Event {
	b.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case e := <-b.events:
			if want(e) {
				return e
			}
		case <-late.C:
			b.Fatal("what was waited for did not come")
		}
	}
}

func is(k reader.Kind) func(reader.Event) bool {
	return func(e reader.Event) bool { return e.Kind == k }
}

func ready(e reader.Event) bool { return e.Slot.Present && len(e.Slot.ATR) > 0 && !e.Slot.Stuck }

func (b *bench) open() *reader.Session {
	b.Helper()
	s, err := b.watch.Open(b.Context(), serial.SlotName(b.link), reader.Shared)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// vault is the simulated HSM.
func vault(t testing.TB) *hsm.Client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- hsmsim.Serve(ctx, ln, hsmsim.WithKeys(keys.TestRing(keys.Reference()))) }()
	client := hsm.New([]string{ln.Addr().String()})
	t.Cleanup(func() {
		client.Close()
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return client
}

var holders = map[string]string{"1.0": "王秀英", "2.0": "张三", "3.0": "欧阳海燕"}

// identify reads a card and fails unless everything is right.
func (b *bench) identify(s *reader.Session, image string, kh card.KeyHolder) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	c, err := card.Open(ctx, s)
	if err != nil {
		b.Fatal(err)
	}
	id, err := c.Identity(ctx, kh)
	if err != nil {
		b.Fatal(err)
	}
	if id.Holder.Name != holders[image] || !id.Authenticated {
		b.Errorf("%q, authenticated %v", id.Holder.Name, id.Authenticated)
	}
}

func TestReadsEveryCard(t *testing.T) {
	kh := vault(t)
	for name, config := range map[string]serialsim.Config{
		"echo":           {Echo: true},
		"no echo":        {},
		"fragments":      {Fragment: 1},
		"echo fragments": {Echo: true, Fragment: 1},
		"three bytes":    {Echo: true, Fragment: 3},
	} {
		for _, lib := range []string{"bugst", "tarm"} {
			for image := range holders {
				t.Run(name+"/"+lib+"/"+image, func(t *testing.T) {
					config.Firmware = "GemTest 1.0"
					opener, err := serial.OpenerNamed(lib)
					if err != nil {
						t.Fatal(err)
					}
					b := newBench(t, image, config, serial.Port{Open: opener})
					b.await(ready)
					b.identify(b.open(), image, kh)
					info := b.driver.Readers()
					if len(info) != 1 || info[0].Firmware != "GemTest 1.0" || info[0].Echo != config.Echo || info[0].Baud != 115200 {
						t.Errorf("%+v", info)
					}
				})
			}
		}
	}
}

// Faults from which the driver recovers by itself: the data are right and no
// command reached the card twice.
func TestRecovers(t *testing.T) {
	kh := vault(t)
	for _, echo := range []bool{false, true} {
		for _, fault := range []string{"nak:3", "corrupt:3", "cut:2", "stale", "garble-echo:2", "nak:2@3", "corrupt@4", "cut@5", "stale:3@2"} {
			if f, err := serialsim.ParseFault(fault); err != nil || f.Kind == serialsim.GarbleEcho && !echo {
				continue
			}
			t.Run(fault, func(t *testing.T) {
				b := newBench(t, "3.0", serialsim.Config{Echo: echo}, serial.Port{Baud: 9600})
				b.await(ready)
				s := b.open()
				f, err := serialsim.ParseFault(fault)
				if err != nil {
					t.Fatal(err)
				}
				before := b.sim.Carried()
				b.sim.Order(f)
				b.identify(s, "3.0", kh)
				if n := b.sim.Carried() - before; n != s.Commands() {
					t.Errorf("%d commands were sent, the card carried out %d", s.Commands(), n)
				}
			})
		}
	}
}

// read sends commands until one fails and returns the error.
func read(ctx context.Context, s *reader.Session) error {
	for range 100 {
		if _, err := s.Exchange(ctx, apdu.Command{INS: 0x84, Le: 8}); err != nil {
			return err
		}
	}
	return nil
}

func TestDisappears(t *testing.T) {
	kh := vault(t)
	for _, lib := range []string{"bugst", "tarm"} {
		for _, fault := range []string{"disappear@5", "disappear-after@5"} {
			t.Run(lib+"/"+fault, func(t *testing.T) {
				opener, err := serial.OpenerNamed(lib)
				if err != nil {
					t.Fatal(err)
				}
				b := newBench(t, "3.0", serialsim.Config{Echo: true}, serial.Port{Open: opener})
				first := b.await(ready)
				s := b.open()
				f, err := serialsim.ParseFault(fault)
				if err != nil {
					t.Fatal(err)
				}
				b.sim.Order(f)
				if err := read(t.Context(), s); !errors.Is(err, reader.ErrCardRemoved) {
					t.Fatal(err)
				}
				b.await(is(reader.SlotRemoved))
				if _, err := b.driver.Open(t.Context(), serial.SlotName(b.link), reader.Shared); !errors.Is(err, reader.ErrReaderGone) {
					t.Error(err)
				}
				if err := read(t.Context(), s); !errors.Is(err, reader.ErrCardRemoved) {
					t.Error("the old session:", err)
				}
				b.pull()
				b.plug()
				if again := b.await(ready); again.Slot.Insertion == first.Slot.Insertion {
					t.Error("the same insertion after the reader was plugged in again")
				}
				b.identify(b.open(), "3.0", kh)
			})
		}
	}
}

func TestStalls(t *testing.T) {
	kh := vault(t)
	for _, fault := range []string{"stall@4", "silent@4"} {
		t.Run(fault, func(t *testing.T) {
			b := newBench(t, "3.0", serialsim.Config{Echo: true}, serial.Port{}, reader.WithDeadline(700*time.Millisecond))
			first := b.await(ready)
			s := b.open()
			f, err := serialsim.ParseFault(fault)
			if err != nil {
				t.Fatal(err)
			}
			b.sim.Order(f)
			err = read(t.Context(), s)
			if !errors.Is(err, reader.ErrStuck) {
				t.Fatal(err)
			}
			b.await(func(e reader.Event) bool { return e.Slot.Stuck })
			if err := read(t.Context(), s); !errors.Is(err, reader.ErrStuck) {
				t.Error("the old session:", err)
			}
			b.sim.Clear()
			if again := b.await(ready); again.Slot.Insertion == first.Slot.Insertion {
				t.Error("the card counts as the same after its reader was stuck")
			}
			b.identify(b.open(), "3.0", kh)
		})
	}
}

func TestCancelled(t *testing.T) {
	b := newBench(t, "3.0", serialsim.Config{}, serial.Port{})
	b.await(ready)
	s := b.open()
	b.sim.Order(serialsim.Fault{Kind: serialsim.Stall})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- read(ctx, s) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, reader.ErrStuck) {
		t.Error(err)
	}
}

func TestCardsComeAndGo(t *testing.T) {
	kh := vault(t)
	b := newBench(t, "", serialsim.Config{Echo: true}, serial.Port{})
	b.await(is(reader.SlotAdded))
	if _, err := b.driver.Open(t.Context(), serial.SlotName(b.link), reader.Shared); !errors.Is(err, reader.ErrNoCard) {
		t.Error(err)
	}
	b.sim.Insert(chip(t, "2.0"))
	first := b.await(ready)
	s := b.open()
	b.identify(s, "2.0", kh)
	// Another card between two looks, in the middle of a session.
	b.sim.Insert(chip(t, "1.0"))
	if err := read(t.Context(), s); !errors.Is(err, reader.ErrCardRemoved) {
		t.Fatal(err)
	}
	second := b.await(func(e reader.Event) bool { return ready(e) && e.Slot.Insertion != first.Slot.Insertion })
	if string(second.Slot.ATR) == string(first.Slot.ATR) {
		t.Error("the old card's answer to reset")
	}
	s = b.open()
	b.identify(s, "1.0", kh)
	b.sim.Remove()
	if err := read(t.Context(), s); !errors.Is(err, reader.ErrCardRemoved) {
		t.Error(err)
	}
	b.await(func(e reader.Event) bool { return e.Kind == reader.CardRemoved })
}

func TestMuteCard(t *testing.T) {
	b := newBench(t, "3.0", serialsim.Config{Mute: true}, serial.Port{})
	e := b.await(is(reader.CardInserted))
	if !e.Slot.Mute {
		t.Errorf("%+v", e.Slot)
	}
	if _, err := b.driver.Open(t.Context(), serial.SlotName(b.link), reader.Shared); !errors.Is(err, reader.ErrMute) {
		t.Error(err)
	}
}

// Links share a card as programs do.
func TestSharing(t *testing.T) {
	b := newBench(t, "3.0", serialsim.Config{}, serial.Port{})
	b.await(ready)
	one, two := b.open(), b.open()
	slot := serial.SlotName(b.link)
	if _, err := b.driver.Open(t.Context(), slot, reader.Exclusive); !errors.Is(err, reader.ErrBusy) {
		t.Error(err)
	}
	if err := one.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := two.Begin(ctx); !errors.Is(err, reader.ErrBusy) {
		t.Error(err)
	}
	if err := one.End(); err != nil {
		t.Fatal(err)
	}
	if err := read(t.Context(), two); err != nil {
		t.Error(err)
	}
	if err := one.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := read(t.Context(), two); !errors.Is(err, reader.ErrCardReset) {
		t.Error(err)
	}
	if err := errors.Join(read(t.Context(), two), read(t.Context(), one), one.Close(), two.Close(), two.Close()); err != nil {
		t.Error(err)
	}
	l, err := b.driver.Open(t.Context(), slot, reader.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.driver.Open(t.Context(), slot, reader.Shared); !errors.Is(err, reader.ErrBusy) {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// deafLine is a line at the wrong rate, on which nothing comes.
type deafLine struct{}

func (deafLine) Read(p []byte) (int, error)  { return 0, serial.ErrNothing }
func (deafLine) Write(p []byte) (int, error) { return len(p), nil }
func (deafLine) Close() error                { return nil }

func TestFindsTheRate(t *testing.T) {
	kh := vault(t)
	b := newBench(t, "3.0", serialsim.Config{Echo: true}, serial.Port{Open: func(port string, baud int) (serial.Line, error) {
		if baud != 19200 {
			return deafLine{}, nil
		}
		return serial.OpenBugst(port, baud)
	}})
	b.await(ready)
	if info := b.driver.Readers(); len(info) != 1 || info[0].Baud != 19200 {
		t.Errorf("%+v", info)
	}
	b.identify(b.open(), "3.0", kh)
}

// fullLine takes no byte before it is closed.
type fullLine struct{ closed chan struct{} }

func (l fullLine) Read([]byte) (int, error) { return 0, serial.ErrNothing }
func (l fullLine) Write([]byte) (int, error) {
	<-l.closed
	return 0, errors.New("closed")
}
func (l fullLine) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

// A line that blocks holds nobody up for ever, and leaves no goroutine.
func TestBlockedLine(t *testing.T) {
	d, err := serial.New([]serial.Port{{Name: "full", Baud: 9600, Open: func(string, int) (serial.Line, error) { return fullLine{make(chan struct{})}, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reported := make(chan struct{}, 16)
	done := make(chan error, 1)
	go func() { done <- d.Watch(ctx, func(reader.Snapshot) { reported <- struct{}{} }) }()
	<-reported
	if err := d.Watch(ctx, nil); !errors.Is(err, reader.ErrBusy) {
		t.Error(err)
	}
	cancel()
	late, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	if err := errors.Join(<-done, d.Close(late)); err != nil {
		t.Error(err)
	}
}
