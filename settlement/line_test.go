package settlement

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// A server that answers and then closes the kept connection, at once or when
// the next request is on its way: every call arrives at most once, and whatever
// arrived is never reported as not sent.
func TestKeptConnectionsThatClose(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"infcode\":0}"
	for name, closeOn := range map[string]func(n int) bool{
		"after every answer":    func(int) bool { return true },
		"without an answer":     func(n int) bool { return n%2 == 0 },
		"after every third one": func(n int) bool { return n%3 == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			arrived := make(map[string]int)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			n := 0
			wg.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					wg.Go(func() {
						defer conn.Close()
						r := bufio.NewReader(conn)
						for {
							req, err := http.ReadRequest(r)
							if err != nil {
								return
							}
							var e Envelope
							if err := json.NewDecoder(req.Body).Decode(&e); err != nil {
								return
							}
							_, _ = io.Copy(io.Discard, req.Body)
							mu.Lock()
							n++
							this := n
							arrived[e.Msgid]++
							mu.Unlock()
							if name != "without an answer" || !closeOn(this) {
								_, _ = io.WriteString(conn, answer)
							}
							if closeOn(this) {
								return
							}
						}
					})
				}
			})
			c := newClient(t, "http://"+l.Addr().String())
			for range 300 {
				p, err := c.Prepare(t.Context(), settleRequest())
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.Do(t.Context(), p)
				mu.Lock()
				times := arrived[p.MsgID]
				mu.Unlock()
				switch o := OutcomeOf(err); {
				case times > 1:
					t.Fatalf("%s arrived %d times", p.MsgID, times)
				case o == NotSent && times != 0:
					t.Fatalf("%s arrived and is reported as not sent: %v", p.MsgID, err)
				case o == Done && times != 1:
					t.Fatalf("%s did not arrive and is reported as done", p.MsgID)
				case o == Refused:
					t.Fatalf("%s: %v", p.MsgID, err)
				}
			}
			c.Close()
			l.Close()
			wg.Wait()
		})
	}
}

// A connection that dies without a byte handed to it is not held against the
// request; one that took a byte is.
func TestVerdictCountsBytes(t *testing.T) {
	for _, x := range []struct {
		give int
		want error
	}{{0, ErrUnreachable}, {1, ErrAnswerLost}} {
		var line sightings
		a, b := net.Pipe()
		defer b.Close()
		w := &watchedConn{Conn: a}
		line.add(w, false)
		if x.give > 0 {
			go func() { _, _ = io.ReadFull(b, make([]byte, x.give)) }()
			if _, err := w.Write(make([]byte, x.give)); err != nil {
				t.Fatal(err)
			}
		}
		if unused := line.unused(); unused != (x.want == ErrUnreachable) {
			t.Errorf("after %d bytes: unused is %v", x.give, unused)
		}
		if _, err := w.Write([]byte("late")); err == nil {
			t.Error("a sealed connection took more")
		}
	}
	var line sightings
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	line.add(a, false)
	if line.unused() {
		t.Error("a connection that cannot be watched counts as unused")
	}
}
