//go:build linux

package settlement

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"onecard/settlement/centersim"
)

// playPost sends the outbox of a journal to the centre at ONECARD_TEST_CENTER
// until it is killed.
func playPost(path string) error {
	j, err := OpenJournal(path, nil)
	if err != nil {
		return err
	}
	ids, err := NewMsgIDs("H51010000001", j, time.Now, 0, 0)
	if err != nil {
		return err
	}
	client, err := NewClient(Config{
		URL: os.Getenv("ONECARD_TEST_CENTER"), MsgIDs: ids,
		Institution: Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"}, Operator: Operator{No: "0001", Name: "收费一"},
	})
	if err != nil {
		return err
	}
	signed, err := client.SignIn(context.Background(), SignIn{OpterNo: "0001", Mac: "00-00-00-00-00-00", IP: "127.0.0.1"})
	if err != nil {
		return err
	}
	post := NewDispatcher(j.Outbox(), Dispatch{
		Attempts: 1000, First: time.Millisecond, Longest: 5 * time.Millisecond, Parallel: 3,
		Changed: func() {
			if counts, err := j.Outbox().Counts(context.Background()); err == nil && len(counts) == 0 {
				fmt.Println("done")
			}
		},
	})
	post.Handle("upload", func(ctx context.Context, item Item) error {
		_, err := client.Call(ctx, Request{Infno: "3401", SignNo: string(signed.SignNo), Input: json.RawMessage(item.Body)})
		return err
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- post.Run(ctx) }()
	fmt.Println("sending")
	_, err = io.Copy(io.Discard, os.Stdin) // until the end
	stop()
	return errors.Join(err, <-ended)
}

func departmentOf(number string) []byte {
	return []byte(`{"deptinfo":{"hosp_dept_codg":"` + number + `","caty":"A03","hosp_dept_name":"内科","begntime":"2026-01-01 08:00:00","itro":"内科","dept_resper_name":"李医生","dept_resper_tel":"02800000000","dept_estbdat":"2026-01-01 08:00:00","aprv_bed_cnt":0,"hi_crtf_bed_cnt":0,"poolarea_no":"510100","dr_psncnt":1,"phar_psncnt":0,"nurs_psncnt":0,"tecn_psncnt":0}}`)
}

// arrivals stand before a centre, note what arrives and kill who sends it.
type arrivals struct {
	center http.Handler

	mu    sync.Mutex
	seen  []string // what arrived, in order
	when  int      // the arrival that is the sender's last
	after bool     // it is answered by the centre before the sender is killed
	kill  func()   // the sender
}

func (a *arrivals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender died in the middle of it
	}
	var in struct {
		Input struct {
			Dept struct {
				Number string `json:"hosp_dept_codg"`
			} `json:"deptinfo"`
		} `json:"input"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if in.Input.Dept.Number == "" { // the sign-in
		a.center.ServeHTTP(w, r)
		return
	}
	a.mu.Lock()
	a.seen = append(a.seen, in.Input.Dept.Number)
	last := len(a.seen) == a.when
	kill, after := a.kill, a.after
	a.mu.Unlock()
	if !last {
		a.center.ServeHTTP(w, r)
		return
	}
	if after {
		a.center.ServeHTTP(httptest.NewRecorder(), r) // booked, and nobody hears it
	}
	kill()
}

// Killed again and again while it sends, the outbox loses nothing, keeps the order
// of every lane, and sends nothing again that was acknowledged.
func TestOutboxKilledAtWork(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	center, err := centersim.New(centersim.Config{Ledger: filepath.Join(dir, "ledger.jsonl")})
	if err != nil {
		t.Fatal(err)
	}
	a := &arrivals{center: center.Handler()}
	server := httptest.NewServer(a)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if err := center.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("ONECARD_TEST_CENTER", server.URL+"/fsi/api/rsfComIfsService/callService")

	const lanes, each = 4, 4
	j, err := OpenJournal(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var letters []Letter
	for n := range each {
		for l := range lanes {
			number := fmt.Sprintf("%d-%d", l, n)
			letters = append(letters, Letter{Lane: fmt.Sprint("lane ", l), Kind: "upload", Once: number, Body: departmentOf(number)})
		}
	}
	if _, err := j.Outbox().Put(t.Context(), letters...); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	acknowledged := make(map[string]bool)
	for round, last := range []int{1, 4, 9, 16, 0} {
		var cmd *exec.Cmd
		killed := make(chan struct{})
		ready := make(chan struct{})
		a.mu.Lock()
		from := len(a.seen)
		a.when, a.after = 0, round%2 == 0
		if last > 0 {
			a.when = from + max(1, last-from)
		}
		a.kill = func() {
			<-ready
			close(killed) // first: it is seen before the process has ended
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		a.mu.Unlock()
		started, lines, in := process(t, "post", path)
		cmd = started
		close(ready)
		if !lines.Scan() || lines.Text() != "sending" {
			t.Fatalf("the process says %q", lines.Text())
		}
		if last > 0 {
			exited := make(chan error, 1)
			go func() { exited <- cmd.Wait() }()
			select {
			case <-killed:
				<-exited
			case err := <-exited:
				t.Fatalf("round %d: the process ended by itself: %v", round, err)
			case <-time.After(2 * time.Minute): // a test that hangs says where
				t.Fatalf("round %d: arrival %d has not come", round, a.when)
			}
		} else {
			// Nobody dies any more: it ends when everything was acknowledged.
			if !lines.Scan() || lines.Text() != "done" {
				t.Fatalf("the process says %q", lines.Text())
			}
			if err := in.Close(); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		in.Close()
		a.mu.Lock()
		seen := slices.Clone(a.seen[from:])
		a.mu.Unlock()
		for _, number := range seen {
			if acknowledged[number] {
				t.Errorf("round %d: %s was acknowledged and is sent again", round, number)
			}
		}
		if j, err = OpenJournal(path, nil); err != nil {
			t.Fatal(err)
		}
		list, err := j.Outbox().List(t.Context(), OutboxFilter{All: true})
		if err != nil || len(list) != lanes*each {
			t.Fatalf("round %d: %d items, %v", round, len(list), err)
		}
		for _, i := range list {
			if i.State == OutboxSent {
				acknowledged[i.Once] = true
			} else if acknowledged[i.Once] || i.State == OutboxDead {
				t.Fatalf("round %d: %s: %s %s %s", round, i, i.Fault, i.Note, i.Message)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acknowledged) != lanes*each {
		t.Errorf("%d acknowledged, not %d", len(acknowledged), lanes*each)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	latest := make(map[string]string)
	for _, number := range a.seen {
		lane, _, _ := strings.Cut(number, "-")
		if number < latest[lane] {
			t.Errorf("%s arrived after %s", number, latest[lane])
		}
		latest[lane] = number
	}
}

// playOutboxFull is outboxFills with a quota in the place of a full disk.
func playOutboxFull(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	room := limit.Cur
	fill := func(bytes uint64) error {
		limit.Cur = bytes
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	}
	return outboxFills(path, func() error { return fill(256 << 10) }, func() error { return fill(room) })
}

// outboxFills has upstream acknowledge an item while the disk is full: what was
// acknowledged is written down when there is room again, is not sent a second
// time, and what could not be queued meanwhile was refused.
func outboxFills(path string, fill, free func() error) error {
	ctx := context.Background()
	j, err := OpenJournal(path, nil)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var sent []string
	began, answer, refused, done := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1), make(chan struct{}, 1)
	post := NewDispatcher(j.Outbox(), Dispatch{
		Changed: func() {
			select {
			case done <- struct{}{}:
			default:
			}
		},
		Later: func(time.Duration) (<-chan time.Time, func()) {
			select {
			case refused <- struct{}{}:
			default:
			}
			soon := time.NewTimer(5 * time.Millisecond)
			return soon.C, func() { soon.Stop() }
		},
	})
	post.Handle("k", func(_ context.Context, item Item) error {
		mu.Lock()
		sent = append(sent, item.Once)
		first := len(sent) == 1
		mu.Unlock()
		if first {
			close(began)
			<-answer
		}
		return nil
	})
	ids, err := j.Outbox().Put(ctx, letter("a", "a1"), letter("a", "a2"))
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- post.Run(running) }()
	<-began
	if err := fill(); err != nil {
		return err
	}
	queued := 2
	var full error
	for i := 0; i < 5000 && full == nil; i++ {
		l := letter("elsewhere", fmt.Sprint("more ", i))
		l.Kind, l.Body = "nobody's", bytes.Repeat([]byte("x"), 3000)
		if _, full = j.Outbox().Put(ctx, l); full == nil {
			queued++
		}
	}
	if !errors.Is(full, ErrJournalUnavailable) {
		return fmt.Errorf("full disk: %v", full)
	}
	for len(refused) > 0 {
		<-refused
	}
	close(answer)
	<-refused // the loop waits: for the disk, or because it was lucky and is done
	if err := free(); err != nil {
		return err
	}
	for {
		i, err := j.Outbox().Get(ctx, ids[1])
		if err != nil {
			return err
		}
		if i.State == OutboxSent {
			break
		}
		<-done
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(sent, []string{"a1", "a2"}) {
		return fmt.Errorf("sent %v", sent)
	}
	counts, err := j.Outbox().Counts(ctx)
	if err != nil || len(counts) != 1 || counts[0].Wait != queued-2 {
		return fmt.Errorf("%d were queued, there are %+v, %v", queued-2, counts, err)
	}
	return j.Close()
}

func TestOutboxDiskQuota(t *testing.T) {
	cmd, lines, in := process(t, "outboxfull", filepath.Join(t.TempDir(), "journal.db"))
	defer in.Close()
	for lines.Scan() {
		t.Log(lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestOutboxDiskFull(t *testing.T) {
	dir := smallDisk(t)
	ballast := filepath.Join(dir, "ballast")
	err := outboxFills(filepath.Join(dir, "journal.db"), func() error {
		f, err := os.Create(ballast)
		if err != nil {
			return err
		}
		defer f.Close()
		for b := make([]byte, 64<<10); ; {
			if _, err := f.Write(b); err != nil {
				return f.Truncate(3 << 20) // a MiB stays free
			}
		}
	}, func() error { return os.Remove(ballast) })
	if err != nil {
		t.Error(err)
	}
}
