package hsmsim_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"onecard/card/keys"
	hsmsim "onecard/hsm-sim"
)

// An example is one block of the document: bytes to and fro.
type example struct {
	line           int
	sent, received []byte
	closes         bool
}

func readExamples(t *testing.T) []example {
	t.Helper()
	text, err := os.ReadFile("../docs/hsm-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples []example
	var current *example
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case line == "```wire":
			current = &example{line: i + 1}
			continue
		case current == nil:
			continue
		case line == "```":
			examples = append(examples, *current)
			current = nil
			continue
		}
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(line[1:], " ", ""))
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		switch line[0] {
		case '>':
			current.sent = append(current.sent, b...)
		case '<':
			current.received = append(current.received, b...)
		case '!':
			current.closes = true
		default:
			t.Fatalf("line %d: %q", i+1, line)
		}
	}
	if current != nil {
		t.Fatal("a block is not closed")
	}
	return examples
}

func TestExamplesOfTheDocument(t *testing.T) {
	table, err := keys.ParseTable("name\tid\tuse\tnote\nIRK\t00\tinternal\t\nRKSSSE\t0A\texternal\t\nSTK\t02\tsecure\t\nDPK\t-\tdebit\t\n")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 9, 30, 15, 0, time.UTC)
	_, addr := start(t, hsmsim.WithKeys(keys.TestRing(table)), hsmsim.WithClock(func() time.Time { return now }))
	examples := readExamples(t)
	if len(examples) < 8 {
		t.Fatalf("the document has %d examples", len(examples))
	}
	for _, e := range examples {
		t.Run(fmt.Sprintf("line %d", e.line), func(t *testing.T) {
			nc := dial(t, addr)
			if _, err := nc.Write(e.sent); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(e.received))
			if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, e.received) {
				t.Fatalf("received % X, %v", got, err)
			}
			if e.closes {
				rest, err := io.ReadAll(nc)
				if len(rest) != 0 {
					t.Errorf("instead of closing: % X, %v", rest, err)
				}
				return
			}
			// Nothing more has come, and the connection goes on: the echo is next.
			echo := []byte("\x00\x00\x00\x0E\x01\x01HE\x00\x00\xFF\xFF\x00\x00\x00\x0A\x00\x00")
			if _, err := nc.Write(echo); err != nil {
				t.Fatal(err)
			}
			echo[5] = 2
			got = make([]byte, len(echo))
			if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, echo) {
				t.Fatalf("after the example: % X, %v", got, err)
			}
		})
	}
}

// dial connects without a client; nothing on the connection may take longer
// than a test.
func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}
