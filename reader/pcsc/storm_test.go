package pcsc

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"onecard/apdu"
	"onecard/reader"
)

// numberedATR is the answer to reset of a card that tells its number, in it and in
// every answer.
func numberedATR(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0x3B, 0x68, 0x00, 0x00}, n)
}

// atrNumber returns the number in an answer to reset, 0 where it is another
// card's.
func atrNumber(atr []byte) uint64 {
	if len(atr) != 12 || !bytes.Equal(atr[:4], []byte{0x3B, 0x68, 0x00, 0x00}) {
		return 0
	}
	return binary.BigEndian.Uint64(atr[4:])
}

// A stormer is a program that asks every card it is told of for its number.
type stormer struct {
	t *testing.T
	w *reader.Watcher

	mu      sync.Mutex
	newest  [2]uint64 // by slot
	asked   int
	downs   int
	changed chan struct{} // closed and replaced with newest
}

func (s *stormer) watch(ctx context.Context) {
	for e := range s.w.Subscribe(ctx) {
		ok := e.Kind == reader.CardInserted && s.ask(ctx, e.Slot)
		s.mu.Lock()
		if e.Kind == reader.ServiceDown {
			s.downs++
		}
		if ok {
			s.asked++
		}
		if e.Kind == reader.CardInserted {
			n := atrNumber(e.Slot.ATR)
			s.newest[n%2] = max(s.newest[n%2], n)
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
}

// ask compares what a card says with what was told of it. A card that ends in the
// middle says nothing.
func (s *stormer) ask(ctx context.Context, told reader.SlotState) bool {
	session, err := s.w.Open(ctx, told.Slot, reader.Shared)
	if err != nil {
		return s.ended(ctx, "open", err)
	}
	defer session.Close()
	r, err := session.Exchange(ctx, apdu.Command{INS: 0x84, Le: 8})
	if err != nil {
		return s.ended(ctx, "exchange", err)
	}
	if len(r.Data) != 8 {
		s.t.Errorf("answer % X", r.Data)
		return false
	}
	answered, state := binary.BigEndian.Uint64(r.Data), session.State()
	if number := atrNumber(session.ATR()); number != answered {
		s.t.Errorf("card %d answered in the session of card %d", answered, number)
	}
	if state.Insertion == told.Insertion && atrNumber(told.ATR) != answered {
		s.t.Errorf("insertion %d was told with card %d and is card %d", told.Insertion, atrNumber(told.ATR), answered)
	}
	return true
}

// ended says whether an error is one of a card, a reader or a service that went.
func (s *stormer) ended(ctx context.Context, what string, err error) bool {
	for _, end := range []error{reader.ErrNoCard, reader.ErrCardRemoved, reader.ErrCardChanged, reader.ErrMute, reader.ErrReaderGone,
		reader.ErrNoReader, reader.ErrServiceDown, reader.ErrCardReset, reader.ErrFault, ctx.Err()} {
		if end != nil && errors.Is(err, end) {
			return false
		}
	}
	s.t.Errorf("%s: %v", what, err)
	return false
}

// follow waits until a card was asked, or gone is closed: it left before.
func (s *stormer) follow(card uint64, gone <-chan struct{}) {
	for {
		s.mu.Lock()
		newest, changed := s.newest[card%2], s.changed
		s.mu.Unlock()
		if newest >= card {
			return
		}
		select {
		case <-changed:
		case <-gone:
			return
		}
	}
}

// numberedCard puts a card into a slot, nil where there is no pcscd to put it in.
func numberedCard(address string, n uint64) *vcard {
	conn, err := net.Dial("tcp", os.Getenv(address))
	if err != nil {
		return nil
	}
	c := &vcard{atr: numberedATR(n), conn: conn, done: make(chan struct{}), arrived: make(chan struct{}, 1), answer: func([]byte) []byte {
		return append(binary.BigEndian.AppendUint64(nil, n), 0x90, 0x00)
	}}
	go func() {
		defer close(c.done)
		c.serve(conn)
		conn.Close()
	}()
	return c
}

// used is what a process holds when it is at rest.
type used struct {
	goroutines, files int
	heap              uint64
}

func measure(t *testing.T) used {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return used{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// Cards come and go in both of vpcd's readers while pcscd is killed at random
// moments. The readers go and come with it. Every card that stays is seen, none is
// taken for another, and nothing is left over.
func TestStorm(t *testing.T) {
	stack(t)
	cards, kills, limit := 12, 4, time.Minute
	if os.Getenv("ONECARD_SOAK") != "" {
		cards, kills, limit = 600, 200, 15*time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// The first round takes what a process takes once.
	stormRound(ctx, t, 0, 3, 1)
	before := measure(t)
	s := stormRound(ctx, t, 1000, cards, kills)
	after := measure(t)
	if after.goroutines > before.goroutines || after.files > before.files || after.heap > before.heap+2<<20 {
		t.Errorf("%+v before, %+v after", before, after)
	}
	t.Logf("%d cards, %d kills: %d cards asked, the service seen down %d times; %+v before, %+v after",
		2*cards, kills, s.asked, s.downs, before, after)
	if s.asked < cards/4 || s.downs < kills/2 {
		t.Error("too little was seen of the storm")
	}
}

// stormRound runs so many cards through each of the two slots.
func stormRound(ctx context.Context, t *testing.T, first uint64, cards, kills int) *stormer {
	d := New()
	s := &stormer{t: t, w: reader.NewWatcher([]reader.Driver{d}), changed: make(chan struct{})}
	running, stop := context.WithCancel(ctx)
	var programs, storm sync.WaitGroup
	programs.Go(func() { check(t, s.w.Run(running)) })
	programs.Go(func() { s.watch(running) })
	up := make(chan struct{}, 1) // a token while pcscd is not being killed
	up <- struct{}{}
	done := make(chan struct{}) // the cards have all been in
	var killed sync.WaitGroup
	killed.Go(func() {
		r := rand.New(rand.NewPCG(first, 7))
		for range kills {
			moment := time.NewTimer(time.Duration(r.IntN(400)) * time.Millisecond)
			select {
			case <-moment.C:
			case <-ctx.Done():
				moment.Stop()
				return
			}
			<-up
			pcscd(t, "restart")
			up <- struct{}{}
		}
		close(done)
	})
	for slot, address := range []string{"ONECARD_VPCD_ADDR", "ONECARD_VPCD_ADDR2"} {
		storm.Go(func() {
			// Cards go on for as long as pcscd is being killed.
			for n := uint64(1); ctx.Err() == nil; n++ {
				if n > uint64(cards) {
					select {
					case <-done:
						return
					default:
					}
				}
				number := (first+n)*2 + uint64(slot)
				c := numberedCard(address, number)
				if c == nil { // killed just now
					<-up
					up <- struct{}{}
					continue
				}
				s.follow(number, c.done)
				c.remove()
			}
		})
	}
	storm.Wait()
	killed.Wait()
	// A last card is seen, whatever was before.
	last := (first + 1_000_000) * 2
	c := numberedCard("ONECARD_VPCD_ADDR", last)
	if c == nil {
		t.Fatal("no reader at the end")
	}
	s.follow(last, ctx.Done())
	if ctx.Err() != nil {
		t.Errorf("the last card was not seen: %s", hex.EncodeToString(c.atr))
	}
	c.remove()
	stop()
	programs.Wait()
	check(t, d.Close(ctx))
	return s
}
