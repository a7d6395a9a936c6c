//go:build linux

package settlement

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"onecard/fault"
)

// playRole is this test binary as another process.
func playRole(role string) int {
	path := os.Getenv("ONECARD_TEST_JOURNAL")
	play := map[string]func(string) error{"intend": playIntend, "work": playWork, "second": playSecond, "full": playFull, "post": playPost, "outboxfull": playOutboxFull}[role]
	if err := play(path); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	return 0
}

// playIntend writes an intention and is then killed.
func playIntend(path string) error {
	j, err := OpenJournal(path, nil)
	if err != nil {
		return err
	}
	id, err := j.Intend(context.Background(), anEntry("V1"))
	if err != nil {
		return err
	}
	fmt.Println("intended", id)
	_, err = io.Copy(io.Discard, os.Stdin) // until the end
	return err
}

// playWork settles visits for ever and says what is durable.
func playWork(path string) error {
	j, err := OpenJournal(path, nil)
	if err != nil {
		return err
	}
	outcomes := []Outcome{Done, Refused, Unknown}
	for i := 0; ; i++ {
		visit := fmt.Sprintf("%d-%d", os.Getpid(), i)
		id, err := j.Intend(context.Background(), anEntry(visit))
		if err != nil {
			return err
		}
		fmt.Println(id, Intended)
		o := outcomes[i%len(outcomes)]
		if err := j.Conclude(context.Background(), id, Conclusion{Outcome: o, SetlID: "S"}); err != nil {
			return err
		}
		fmt.Println(id, o)
	}
}

// playSecond wants a journal that another process holds.
func playSecond(path string) error {
	if _, err := OpenJournal(path, nil); fault.Of(err).Code != fault.AlreadyRunning {
		return fmt.Errorf("want OC-3106: %w", err)
	}
	return nil
}

// playFull fills its quota (RLIMIT_FSIZE, which fails as a full disk does) and
// gets room again.
func playFull(path string) error {
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
	return diskFills(path, func() error { return fill(256 << 10) }, func() error { return fill(room) })
}

// diskFills journals until the disk refuses and again when it does not, and
// checks that nothing acknowledged is lost.
func diskFills(path string, fill, free func() error) error {
	ctx := context.Background()
	j, err := OpenJournal(path, nil)
	if err != nil {
		return err
	}
	if err := fill(); err != nil {
		return err
	}
	var ids []int64
	var refused error
	for i := 0; i < 5000 && refused == nil; i++ {
		e := anEntry(fmt.Sprint("V", i))
		e.Request = []byte(strings.Repeat("x", 3000))
		var id int64
		if id, refused = j.Intend(ctx, e); refused == nil {
			ids = append(ids, id)
		}
	}
	if !errors.Is(refused, ErrJournalUnavailable) || fault.Of(refused).Code != fault.JournalUnavailable {
		return fmt.Errorf("full disk after %d entries: %v", len(ids), refused)
	}
	// The last one's answer arrives now. What fits is written, what does not
	// waits.
	last := ids[len(ids)-1]
	err = j.Conclude(ctx, last, Conclusion{Outcome: Done, SetlID: "S1", Answer: []byte(strings.Repeat("y", 200_000))})
	if !errors.Is(err, ErrJournalUnavailable) {
		return fmt.Errorf("conclusion on a full disk: %v", err)
	}
	if e, err := j.Get(ctx, last); err != nil || e.Outcome != Intended {
		return fmt.Errorf("a conclusion that was refused shows: %v, %v", e, err)
	}
	// A backup that finds no room leaves nothing that looks like one.
	copied := path + ".copy"
	if _, err := j.Backup(ctx, copied); err != nil {
		if _, left := os.Stat(copied); !errors.Is(err, ErrBackup) || left == nil {
			return fmt.Errorf("backup on a full disk: %v", err)
		}
	}
	if err := free(); err != nil {
		return err
	}
	id, err := j.Intend(ctx, anEntry("later"))
	if err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if e, err := j.Get(ctx, last); err != nil || e.Outcome != Done || e.SetlID != "S1" {
		return fmt.Errorf("the conclusion did not follow: %v, %v", e, err)
	}
	if err := j.Close(); err != nil {
		return err
	}
	if j, err = OpenJournal(path, nil); err != nil {
		return err
	}
	for _, id := range append(ids, id) {
		e, err := j.Get(ctx, id)
		if err != nil || id != last && e.Outcome != Unknown {
			return fmt.Errorf("entry %d: %v, %v", id, e, err)
		}
	}
	if v, err := j.Verify(ctx); err != nil || v.Entries != int64(len(ids)+1) {
		return fmt.Errorf("after a full disk: %+v, %v", v, err)
	}
	return j.Close()
}

func process(t *testing.T, role, path string) (*exec.Cmd, *bufio.Scanner, io.WriteCloser) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "ONECARD_TEST_ROLE="+role, "ONECARD_TEST_JOURNAL="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out), in
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("not killed: %v", err)
	}
}

func TestKilledBeforeTheAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	cmd, lines, in := process(t, "intend", path)
	defer in.Close()
	if !lines.Scan() || lines.Text() != "intended 1" {
		t.Fatalf("the process says %q", lines.Text())
	}
	if _, err := OpenJournal(path, nil); !errors.Is(err, ErrAlreadyRunning) {
		t.Errorf("opened beside a living process: %v", err)
	}
	kill(t, cmd)
	j := openJournal(t, path)
	e, err := j.Get(t.Context(), 1)
	if err != nil || e.Outcome != Unknown || e.Fault != fault.AnswerLost || e.Note == "" || e.ClosedAt.IsZero() {
		t.Errorf("%+v, %v", e, err)
	}
	again := anEntry("V1")
	again.MsgID += "2"
	if _, err := j.Intend(t.Context(), again); !errors.Is(err, ErrUnknownUnresolved) {
		t.Errorf("settled again after a crash: %v", err)
	}
}

func TestLockedAgainstAnotherProcess(t *testing.T) {
	j := newJournal(t)
	cmd, lines, in := process(t, "second", j.path)
	defer in.Close()
	for lines.Scan() {
		t.Log(lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Killed at random moments, a journal keeps what it acknowledged.
func TestKilledAtWork(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	said := make(map[int64]Outcome)
	for range 8 {
		cmd, lines, in := process(t, "work", path)
		stop := 1 + rand.IntN(200)
		for n := 0; n < stop && lines.Scan(); n++ {
			number, o, _ := strings.Cut(lines.Text(), " ")
			id, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				t.Fatalf("the process says %q", lines.Text())
			}
			said[id] = Outcome(o)
		}
		kill(t, cmd)
		in.Close()
		j, err := OpenJournal(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for id, o := range said {
			got := outcome(t, j, id)
			switch {
			case o == Intended && got == Intended:
				t.Errorf("entry %d is still intended", id)
			case o != Intended && got != o:
				t.Errorf("entry %d was %s and is %s", id, o, got)
			}
			said[id] = got
		}
		if n, err := j.Count(t.Context(), Intended); err != nil || n != 0 {
			t.Errorf("%d intended, %v", n, err)
		}
		if v, err := j.Verify(t.Context()); err != nil || v.Entries < int64(len(said)) {
			t.Errorf("%+v, %v", v, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDiskQuota(t *testing.T) {
	cmd, lines, in := process(t, "full", filepath.Join(t.TempDir(), "journal.db"))
	defer in.Close()
	for lines.Scan() {
		t.Log(lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestDiskFull(t *testing.T) {
	dir := smallDisk(t)
	ballast := filepath.Join(dir, "ballast")
	err := diskFills(filepath.Join(dir, "journal.db"), func() error {
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

func TestClockThatGoesBack(t *testing.T) {
	// A clock that stands still or goes back does not disturb the journal.
	now := testTime
	j, err := OpenJournal(filepath.Join(t.TempDir(), "journal.db"), func() time.Time { now = now.Add(-time.Hour); return now })
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	id := intend(t, j, anEntry("V1"))
	if err := j.Conclude(t.Context(), id, Conclusion{Outcome: Refused}); err != nil {
		t.Fatal(err)
	}
}
