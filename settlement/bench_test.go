package settlement

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func BenchmarkPrepare(b *testing.B) {
	c := newClient(b, "http://127.0.0.1:1")
	r := settleRequest()
	for b.Loop() {
		if _, err := c.Prepare(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJournalAppend(b *testing.B) {
	j := newJournal(b)
	e := anEntry("V")
	e.Request = []byte(strings.Repeat("x", 600))
	i := 0
	for b.Loop() {
		i++
		e.Visit, e.MsgID, e.MdtrtID = fmt.Sprint("V", i), fmt.Sprint("m", i), fmt.Sprint("M", i)
		intend(b, j, e)
	}
}

func BenchmarkJournalSettlement(b *testing.B) {
	j := newJournal(b)
	e := anEntry("V")
	e.Request = []byte(strings.Repeat("x", 600))
	answer := []byte(strings.Repeat("y", 1500))
	i := 0
	for b.Loop() {
		i++
		e.Visit, e.MsgID, e.MdtrtID = fmt.Sprint("V", i), fmt.Sprint("m", i), fmt.Sprint("M", i)
		id := intend(b, j, e)
		if err := j.Conclude(b.Context(), id, Conclusion{Outcome: Done, SetlID: "S", Booked: &agreed, Answer: answer}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJournalOpen(b *testing.B) {
	j := newJournal(b)
	for i := range 1000 {
		intend(b, j, anEntry(fmt.Sprint("V", i)))
	}
	path := j.path
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		j, err := OpenJournal(path, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSettle(b *testing.B) {
	s := httptest.NewServer(books(nil))
	defer s.Close()
	j := newJournal(b)
	ids, err := NewMsgIDs(testInstitution.Code, j, time.Now, 0, 1)
	if err != nil {
		b.Fatal(err)
	}
	c := newClient(b, s.URL, func(c *Config) { c.MsgIDs = ids })
	settler := NewSettler(c, j)
	in := aSettling()
	i := 0
	for b.Loop() {
		i++
		in.Visit = fmt.Sprint("V", i)
		if _, err := settler.Settle(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// What BenchmarkSettle is measured against: the same exchange without anything
// of this package, and one durable row.
func BenchmarkBareExchangeAndSync(b *testing.B) {
	s := httptest.NewServer(books(nil))
	defer s.Close()
	j := newJournal(b)
	p, err := newClient(b, s.URL).Prepare(b.Context(), settleRequest())
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	i := int64(0)
	for b.Loop() {
		i++
		if err := j.Reserve(b.Context(), i); err != nil {
			b.Fatal(err)
		}
		resp, err := client.Post(s.URL, "application/json", bytes.NewReader(p.Body))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}

// 64 terminals at once; compare with BenchmarkJournalAppend, one at a time.
func BenchmarkJournalAppend64(b *testing.B) {
	j := newJournal(b)
	request := []byte(strings.Repeat("x", 600))
	var n atomic.Int64
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			e, i := anEntry("V"), n.Add(1)
			e.Request = request
			e.Visit, e.MsgID, e.MdtrtID = fmt.Sprint("V", i), fmt.Sprint("m", i), fmt.Sprint("M", i)
			if _, err := j.Intend(context.Background(), e); err != nil {
				b.Error(err)
			}
		}
	})
}
