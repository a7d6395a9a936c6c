package terminal_test

import (
	"io"
	"os"
	"testing"

	"github.com/sirupsen/logrus"

	"onecard/card/cardsim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// Three people's cards come and go faster than a desk reads them, some at the
// moment when another was seen. Whatever the service shows of a card it shows with
// the insertion of that card.
func TestStorm(t *testing.T) {
	cycles := 100
	if os.Getenv("ONECARD_SOAK") != "" {
		cycles = 2000
	}
	versions := []string{"1.00", "2.00", "3.00"}
	people := make([]*cardsim.Card, len(versions))
	for i, name := range []string{"1.0", "2.0", "3.0"} {
		img, err := cardsim.Example(name)
		if err != nil {
			t.Fatal(err)
		}
		log := logrus.New()
		log.SetOutput(io.Discard)
		if people[i], err = cardsim.New(img, cardsim.WithLogger(log)); err != nil {
			t.Fatal(err)
		}
	}
	b := deskbed.New(t, deskbed.Options{Image: "none"})
	var was []string // the version of the card of every insertion
	insert := func(card int) {
		was = append(was, versions[card])
		if err := b.Reader.Insert(deskbed.Slot, people[card]); err != nil {
			t.Fatal(err)
		}
	}
	numbers := make(map[string]string) // by version
	seen, read, refused := 0, 0, 0
	look := func(s terminal.State) {
		if len(s.Readers) != 1 || s.Readers[0].Card == nil {
			return
		}
		seen++
		if c := s.Readers[0].Card; c.Insertion == 0 || c.Insertion > uint64(len(was)) || c.Version != was[c.Insertion-1] {
			t.Fatalf("insertion %d of %v is shown as a card of %s", c.Insertion, was, c.Version)
		}
	}
	news, end := b.Service.Subscribe()
	defer end()
	for n := range cycles {
		insert(n % 3)
		switch {
		case n%5 == 0: // stays until it is read
			now := uint64(len(was))
			b.Await("the card that stays", func(s terminal.State) bool {
				look(s)
				return len(s.Readers) == 1 && s.Readers[0].Card != nil && s.Readers[0].Card.Insertion == now
			})
			read++
		case n%5 == 1: // somebody asks while it is swapped: one of the two answers, whole
			<-news
			insert((n + 1) % 3)
			id, err := b.Service.Identity(t.Context(), "")
			if err != nil {
				refused++
				break
			}
			if number := numbers[id.Card.Version]; number == "" {
				numbers[id.Card.Version] = id.Card.Number
			} else if number != id.Card.Number {
				t.Fatalf("a card of %s has the number of another", id.Card.Version)
			}
		case n%2 == 0: // swapped by the next
			<-news
		default:
			<-news
			b.Remove()
		}
		look(b.Service.State())
	}
	t.Logf("%d insertions: %d cards read to the end, %d looks at a card, %d questions refused", len(was), read, seen, refused)
}
