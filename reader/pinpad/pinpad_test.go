package pinpad

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSimulatedEntersWhatItsFileHolds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pin")
	pad := Simulated{File: file}
	if _, err := pad.Enter(context.Background(), Enter); !errors.Is(err, ErrNone) {
		t.Errorf("missing file: %v, want ErrNone", err)
	}
	for _, c := range []struct {
		text, want string
		err        error
	}{
		{"123456\n", "123456", nil},
		{"cancel\n", "", ErrCancelled},
		{"timeout", "", ErrTimeout},
		{strings.Repeat("1", 65), "", ErrNone},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := pad.Enter(context.Background(), Enter)
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.10q: %q, %v; want %q, %v", c.text, got, err, c.want, c.err)
		}
	}
}

func TestNoPadSaysSo(t *testing.T) {
	if _, err := (None{}).Enter(context.Background(), Enter); !errors.Is(err, ErrNone) {
		t.Fatal(err)
	}
}

func TestEnterEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (Simulated{File: "unused"}).Enter(ctx, Enter); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
}
