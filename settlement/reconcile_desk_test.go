package settlement_test

import (
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"onecard/settlement"
	"onecard/settlement/centersim"
)

// chinaZone is the one time of the centre.
var chinaZone = time.FixedZone("CST", 8*60*60)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, chinaZone)

// A hand is a clock that a test sets; both sides read it.
type hand struct {
	mu sync.Mutex
	t  time.Time

	ahead time.Duration // of the centre's clock
}

// theirs is the centre's clock.
func (h *hand) theirs() time.Time { return h.read().Add(h.ahead) }

func (h *hand) read() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.t
}

func (h *hand) set(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.t = t
}

// A bookkeeper is a desk whose books are compared with the centre's.
type bookkeeper struct {
	*desk
	*hand
	url string

	phantoms int // centres elsewhere so far
}

// newBookkeeper opens a centre and the first of the two desks of an institution.
func newBookkeeper(t *testing.T, at time.Time, ahead ...time.Duration) *bookkeeper {
	t.Helper()
	h := &hand{t: at}
	for _, a := range ahead {
		h.ahead = a
	}
	center, err := centersim.New(centersim.Config{Ledger: filepath.Join(t.TempDir(), "ledger.jsonl"), Now: h.theirs})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(center.Handler())
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if err := center.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bookkeeper{hand: h, url: server.URL}
	b.desk = b.at(t, center, b.url, nil, 0)
	return b
}

// at is a desk of a lane before a centre, with a journal of its own where it is
// given none.
func (b *bookkeeper) at(t *testing.T, center *centersim.Center, url string, journal *settlement.Journal, lane int) *desk {
	t.Helper()
	if journal == nil {
		var err error
		if journal, err = settlement.OpenJournal(filepath.Join(t.TempDir(), "journal.db"), b.read); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := journal.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	ids, err := settlement.NewMsgIDs("H51010000001", journal, b.read, lane, 3)
	if err != nil {
		t.Fatal(err)
	}
	client, err := settlement.NewClient(settlement.Config{
		URL: url + "/fsi/api/rsfComIfsService/callService", MsgIDs: ids, Now: b.read,
		Institution: settlement.Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"},
		Operator:    settlement.Operator{Type: "1", No: "0001", Name: "样例收费员"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &desk{center, client, journal, settlement.NewSettler(client, journal), b.read}
}

// beside is the institution's other desk, with a journal of its own.
func (b *bookkeeper) beside(t *testing.T) *bookkeeper {
	t.Helper()
	return &bookkeeper{desk: b.at(t, b.center, b.url, nil, 1), hand: b.hand, url: b.url}
}

// phantom settles before another centre: done here, with an answer, and the
// first centre has never heard of it. It returns the entry.
func (b *bookkeeper) phantom(t *testing.T, number string) int64 {
	t.Helper()
	b.set(b.now().Add(time.Minute))
	center, err := centersim.New(centersim.Config{Ledger: filepath.Join(t.TempDir(), "ledger.jsonl"), Now: b.read})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(center.Handler())
	defer func() {
		server.CloseClientConnections()
		server.Close()
		if err := center.Close(); err != nil {
			t.Error(err)
		}
	}()
	elsewhere := b.at(t, center, server.URL, b.journal, 2)
	// It has booked before: its numbers are not those of the first centre, nor of
	// another phantom.
	b.phantoms++
	for range 150 * b.phantoms {
		elsewhere.signed(t)
	}
	receipt, err := elsewhere.settler.Settle(t.Context(), elsewhere.visit(t, number))
	if err != nil {
		t.Fatal(err)
	}
	b.set(b.now().Add(time.Minute))
	return receipt.EntryID
}
