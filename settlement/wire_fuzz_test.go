package settlement

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzWire answers 2207 with whatever bytes, from the status line on. It is done
// only where an answer arrived whole, says so, and is about this request; and the
// journal says what the caller is told. {msgid} and {mdtrt_id} stand for those of
// the request.
func FuzzWire(f *testing.F) {
	info := aSetlInfo("{msgid}")
	info.MdtrtID = "{mdtrt_id}"
	good, err := json.Marshal(map[string]any{"infcode": 0, "inf_refmsgid": "R1", "output": Settlement{SetlInfo: Node[SetlInfo]{info, true}}})
	if err != nil {
		f.Fatal(err)
	}
	answer := func(status, header, body string) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 %s\r\n%s\r\n%s", status, header, body)
	}
	// The placeholders are shorter and longer than what stands for them; chunks
	// and the end of the connection need no length.
	for _, seed := range [][]byte{
		answer("200 OK", "Connection: close\r\n", string(good)),
		answer("200 OK", "Connection: close\r\n", strings.Replace(string(good), `"infcode":0`, `"infcode":"0"`, 1)),
		answer("200 OK", "Connection: close\r\n", string(good[:len(good)/2])),
		answer("200 OK", "Connection: close\r\n", strings.Replace(string(good), `"hifp_pay":55`, `"hifp_pay":56`, 1)),
		answer("200 OK", "Content-Length: 5000\r\n", string(good)),
		answer("200 OK", "Content-Length: 99999999999\r\n", string(good)),
		answer("200 OK", "Transfer-Encoding: chunked\r\n", "7\r\n{\"infco\r\n8\r\nde\":\"-1\"\r\n1\r\n}\r\n0\r\n\r\n"),
		answer("200 OK", "Transfer-Encoding: chunked\r\n", "7\r\n{\"infco\r\nffffffffffffffff\r\n"),
		answer("200 OK", "Content-Encoding: gzip\r\nConnection: close\r\n", "\x1f\x8b\x08"),
		answer("100 Continue", "", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+string(good)),
		answer("307 Moved", "Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n", ""),
		answer("401 Unauthorized", "Content-Length: 28\r\n", `{"code":401,"message":"sign"`),
		answer("502 Bad Gateway", "Connection: close\r\n", "<html>"),
		[]byte("HTTP/1.1 200 OK\r\n"), []byte("\x16\x03\x01"), {},
	} {
		f.Add(seed)
	}
	j := newJournal(f)
	ids, err := NewMsgIDs(testInstitution.Code, j, time.Now, 0, 1)
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	f.Fuzz(func(t *testing.T, said []byte) {
		n++
		in := aSettling()
		in.Visit, in.Input.MdtrtID = fmt.Sprint("V", n), fmt.Sprint("T", n)
		var wire []byte
		arrived := 0
		served := make(chan struct{})
		c := newClient(t, "http://center.invalid/", func(c *Config) {
			c.MsgIDs, c.AnswerLimit, c.AnswerTimeout = ids, 64<<10, 20*time.Second
			c.Dial = func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				go func() {
					defer close(served)
					defer there.Close()
					req, err := http.ReadRequest(bufio.NewReader(there))
					if err != nil {
						return
					}
					var e Envelope
					if err := json.NewDecoder(req.Body).Decode(&e); err != nil {
						return
					}
					arrived++
					wire = bytes.ReplaceAll(said, []byte("{msgid}"), []byte(e.Msgid))
					wire = bytes.ReplaceAll(wire, []byte("{mdtrt_id}"), []byte(in.Input.MdtrtID))
					_, _ = there.Write(wire) // who has heard enough hangs up
				}()
				return here, nil
			}
		})
		defer c.Close()
		receipt, err := NewSettler(c, j).Settle(t.Context(), in)
		<-served
		outcome := OutcomeOf(err)
		e, open, jerr := j.Unresolved(t.Context(), in.Visit)
		if jerr != nil || open != (outcome == Unknown) || arrived != 1 {
			t.Fatalf("told %s, in the journal: %v %v, %v; arrived %d times", outcome, open, e, jerr, arrived)
		}
		if err != nil {
			return
		}
		if e, err := j.Get(t.Context(), receipt.EntryID); err != nil || e.Outcome != Done || e.SetlID != receipt.SetlID {
			t.Errorf("done, and the journal: %v, %v", e, err)
		}
		// Read once more by nothing of this package.
		rest := bufio.NewReader(bytes.NewReader(wire))
		var body []byte
		for range 10 {
			resp, err := http.ReadResponse(rest, nil)
			if err != nil {
				t.Fatalf("done without an answer: %v", err)
			}
			if resp.StatusCode < 200 {
				continue // 100 and its kin come before
			}
			if body, err = io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("done by half an answer, or one of status %d: %v", resp.StatusCode, err)
			}
			break
		}
		if !bytes.Contains(body, []byte(receipt.MsgID)) {
			t.Errorf("done by an answer about something else: %q", body)
		}
	})
}
