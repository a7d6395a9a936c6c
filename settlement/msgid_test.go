package settlement

import (
	"context"
	"errors"
	"regexp"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// mark is a HighWater in memory that outlives its source, as the journal's
// does.
type mark struct {
	mu      sync.Mutex
	second  int64
	broken  error
	written int
}

func (m *mark) Reserve(_ context.Context, second int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	m.second = max(m.second, second)
	m.written++
	return nil
}

func (m *mark) Reserved(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.second, m.broken
}

func TestMsgIDForm(t *testing.T) {
	m, err := NewMsgIDs("H51010000001", &mark{}, func() time.Time { return testTime }, 3, 100)
	if err != nil {
		t.Fatal(err)
	}
	id, err := m.Next(t.Context())
	if err != nil || id != "H51010000001"+"20260309103000"+"0300" {
		t.Errorf("first number %s, %v", id, err)
	}
}

// No restart, no crash and no turned clock repeats a number, and terminals
// with lanes never meet.
func TestMsgIDsNeverRepeat(t *testing.T) {
	form := regexp.MustCompile(`^H51010000001\d{14}\d{4}$`)
	rapid.Check(t, func(t *rapid.T) {
		now := testTime
		clock := func() time.Time { return now }
		lanes := rapid.SampledFrom([]int{0, 1, 1000, 1000}).Draw(t, "lanes")
		terminals := 1
		if lanes > 1 {
			terminals = 3
		}
		marks := make([]mark, terminals)
		sources := make([]*MsgIDs, terminals)
		start := func(i int) {
			m, err := NewMsgIDs("H51010000001", &marks[i], clock, i, lanes)
			if err != nil {
				t.Fatal(err)
			}
			sources[i] = m
		}
		for i := range sources {
			start(i)
		}
		seen := make(map[string]bool)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, terminals-1).Draw(t, "terminal")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				start(i)
			case 1:
				now = now.Add(time.Duration(rapid.IntRange(-20_000, 20_000).Draw(t, "ms")) * time.Millisecond)
			default:
				for range rapid.IntRange(1, 25).Draw(t, "numbers") {
					id, err := sources[i].Next(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					if seen[id] || !form.MatchString(id) {
						t.Fatalf("%s again, or malformed", id)
					}
					seen[id] = true
				}
			}
		}
	})
}

func TestMsgIDsNeedTheirMark(t *testing.T) {
	broken := errors.New("disk full")
	hw := &mark{broken: broken}
	m, err := NewMsgIDs("H51010000001", hw, time.Now, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := m.Next(t.Context()); !errors.Is(err, broken) {
		t.Errorf("%s, %v", id, err)
	}
	hw.broken = nil
	for range 100 {
		if _, err := m.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if hw.written > 2 {
		t.Errorf("%d durable writes for 100 numbers", hw.written)
	}
	for _, bad := range []struct {
		code        string
		lane, lanes int
	}{{"", 0, 0}, {"H510100000011", 0, 0}, {"H", 1, 1}, {"H", -1, 2}, {"H", 0, 1001}, {"H", 1, 0}} {
		if bad.lanes == 0 && bad.lane == 1 {
			continue // without lanes the lane is not looked at
		}
		if _, err := NewMsgIDs(bad.code, nil, time.Now, bad.lane, bad.lanes); err == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
}
