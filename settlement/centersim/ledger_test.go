package centersim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
)

// aLedger writes a ledger with one settled visit and returns its lines.
func aLedger(t *testing.T, name string) []byte {
	t.Helper()
	c, err := New(Config{Ledger: name, Now: noon().now})
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(c)
	d.signIn(t)
	v := d.register(t, "张三", "MZ1")
	o := d.call(t, "2204", v.area, v.feeInput("B1", fee{"001102000010000-110200001", "15.00", "20", "300.00"}))
	d.call(t, "2207", v.area, v.settleInput("B1", sumsOf(t, o), true))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLedgerReplays(t *testing.T) {
	name := filepath.Join(t.TempDir(), "center.jsonl")
	before := aLedger(t, name)
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	c := start(t, Config{Ledger: name})
	if n := bytes.Count(before, []byte("\n")); int64(n) != c.ledger.seq || n != 6 {
		t.Errorf("%d lines, %d events", n, c.ledger.seq)
	}
	d := newDesk(c)
	d.n = 100
	d.signIn(t)
	p, id := d.patient("张三")
	o := d.call(t, "1101", "", msg{"data": id})
	if b := o["insuinfo"].([]any)[0].(map[string]any)["balc"].(interface{ String() string }).String(); b != "0" {
		t.Errorf("the account holds %s after a restart", b)
	}
	if u := c.state.used[yearKey{accountKey{p.PsnNo, "310"}, 2026, outpatient}]; u != (used{20000, 7000}) {
		t.Errorf("used %+v after a restart", u)
	}
	after, err := os.ReadFile(name)
	if err != nil || !bytes.HasPrefix(after, before) {
		t.Errorf("the ledger was rewritten: %v", err)
	}
	for _, secret := range []string{p.PsnName, p.Certno, p.Card.Number, p.Card.IdentificationCode} {
		if bytes.Contains(after, []byte(secret)) {
			t.Errorf("the ledger holds personal data")
		}
	}
}

// TestTornLedger cuts the ledger inside its last line: the torn line is cut off
// and reported, the rest is kept.
func TestTornLedger(t *testing.T) {
	dir := t.TempDir()
	whole := aLedger(t, filepath.Join(dir, "whole"))
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := last; cut <= len(whole); cut++ {
		if cut > last+5 && cut < len(whole)-5 && cut%41 != 0 {
			continue
		}
		name := filepath.Join(dir, "torn")
		if err := os.WriteFile(name, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := New(Config{Ledger: name, Now: noon().now})
		if err != nil {
			t.Fatalf("cut at %d of %d: %v", cut, len(whole), err)
		}
		settled, torn := 0, cut-last
		if cut == len(whole) {
			settled, torn = 1, 0
		}
		if len(c.Settlements()) != settled || c.CutBytes() != int64(torn) {
			t.Errorf("cut at %d: %d settlements, %d bytes cut off", cut, len(c.Settlements()), c.CutBytes())
		}
		// It goes on where the whole lines end.
		d := newDesk(c)
		d.n = 100
		d.signIn(t)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if c, err = New(Config{Ledger: name, Now: noon().now}); err != nil {
			t.Fatalf("cut at %d, second start: %v", cut, err)
		}
		if c.CutBytes() != 0 {
			t.Error("the torn line came back")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCorruptLedger changes bytes all over the file, takes lines out and puts
// them in twice: nothing is swallowed.
func TestCorruptLedger(t *testing.T) {
	dir := t.TempDir()
	whole := aLedger(t, filepath.Join(dir, "whole"))
	name := filepath.Join(dir, "corrupt")
	refused := func(b []byte, what string) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := New(Config{Ledger: name, Now: noon().now})
		if err == nil {
			c.Close()
			t.Errorf("%s was accepted", what)
		} else if !errors.Is(err, ErrLedger) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range whole {
		if i%23 != 0 && i < len(whole)-80 {
			continue
		}
		b := bytes.Clone(whole)
		b[i] ^= 1
		refused(b, fmt.Sprintf("a flipped bit in byte %d of %d", i, len(whole)))
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	lines = lines[:len(lines)-1]
	for i := range lines {
		if i < len(lines)-1 {
			b := bytes.Join(append(append([][]byte{}, lines[:i]...), lines[i+1:]...), nil)
			refused(b, fmt.Sprintf("a ledger without line %d", i+1))
		}
		b := bytes.Join(append(append(append([][]byte{}, lines[:i+1]...), lines[i]), lines[i+1:]...), nil)
		refused(b, fmt.Sprintf("a ledger with line %d twice", i+1))
	}
	refused(append(bytes.Clone(whole), make([]byte, 100)...), "a tail of zeros")
	refused(append(bytes.Clone(whole), "\n"...), "an empty line")
	refused([]byte("hello\n"), "a text file")
	refused(bytes.Repeat([]byte("x"), maxLine+1), "an endless line")

	if err := os.WriteFile(name, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	strangers := fstest.MapFS{"people.json": {Data: []byte(`{"people":[]}`)}}
	if _, err := New(Config{Ledger: name, Data: strangers}); !errors.Is(err, ErrLedger) {
		t.Errorf("a ledger of other people: %v", err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Ledger: name}); !errors.Is(err, ErrLedger) {
		t.Errorf("a ledger that others read: %v", err)
	}
}

func TestLedgerHasOneCentre(t *testing.T) {
	name := filepath.Join(t.TempDir(), "l")
	start(t, Config{Ledger: name})
	if _, err := New(Config{Ledger: name}); !errors.Is(err, ErrLedger) {
		t.Errorf("a second centre: %v", err)
	}
}

// disk is storage that fails when told.
type disk struct {
	bytes.Buffer
	short, syncs, truncates error // what the next Write, Sync, Truncate fails with
}

func (d *disk) Write(b []byte) (int, error) {
	if d.short != nil {
		d.Buffer.Write(b[:len(b)/2])
		return len(b) / 2, d.short
	}
	return d.Buffer.Write(b)
}
func (d *disk) Sync() error { return d.syncs }
func (d *disk) Truncate(n int64) error {
	if d.truncates == nil {
		d.Buffer.Truncate(int(n))
	}
	return d.truncates
}
func (d *disk) Close() error { return nil }

func TestDiskFull(t *testing.T) {
	c := start(t, Config{})
	failing := &disk{}
	c.ledger.store = &fileStore{file: failing}
	d := newDesk(c)
	d.signIn(t)
	failing.short = syscall.ENOSPC
	e := d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})
	d.refused(t, e, "未记账")
	failing.short = nil
	d.signIn(t)
	if n := strings.Count(failing.String(), "\n"); n != 2 || !strings.HasSuffix(failing.String(), "\n") {
		t.Errorf("half a line stayed in front of the next: %q", failing.String())
	}
	// Where even the half line cannot be taken back, nothing may follow it.
	failing.short, failing.truncates = syscall.ENOSPC, syscall.EIO
	if w := d.post(callService, encode(e)); w.Code != 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	failing.short = nil
	if w := d.post(callService, encode(e)); w.Code != 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := strings.Count(failing.String(), "\n"); n != 2 {
		t.Errorf("%d lines", n)
	}
}

// TestFlushFails: after a failed flush nobody is told "done".
func TestFlushFails(t *testing.T) {
	c := start(t, Config{})
	failing := &disk{syncs: syscall.EIO}
	c.ledger.store = &fileStore{file: failing}
	d := newDesk(c)
	e := d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})
	for range 2 {
		if w := d.post(callService, encode(e)); w.Code != 500 || !strings.Contains(w.Body.String(), "结果未知") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		failing.syncs = nil // a later success proves nothing
	}
}

// TestOneBatchIsSettledOnce lets many desks settle the same batches at once.
func TestOneBatchIsSettledOnce(t *testing.T) {
	settlesOnce(t, Config{Ledger: filepath.Join(t.TempDir(), "l"), Now: noon().now})
}

func settlesOnce(t *testing.T, config Config) {
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(c)
	d.signIn(t)
	v := d.register(t, "欧阳海燕", "MZ1")
	var envelopes [][]byte
	const batches, desks = 8, 8
	for i := range batches {
		b := fmt.Sprintf("B%d", i)
		o := d.call(t, "2204", v.area, v.feeInput(b, fee{"001102000010000-110200001", "15.00", "20", "300.00"}))
		for range desks {
			envelopes = append(envelopes, encode(d.envelope("2207", v.area, v.settleInput(b, sumsOf(t, o), true))))
		}
	}
	var wait sync.WaitGroup
	answers := make([][]byte, len(envelopes))
	for i, e := range envelopes {
		wait.Go(func() { answers[i] = d.post(callService, e).Body.Bytes() })
	}
	wait.Wait()
	done, account := 0, fen(0)
	for _, b := range answers {
		a, err := parseObject(b)
		if err != nil {
			t.Fatal(err)
		}
		if output, ok := a["output"].(map[string]any); ok {
			done++
			checkIdentities(t, setlinfo(output))
			x, _ := setlinfo(output).amount("acct_pay")
			account += x
		}
	}
	if done != batches || len(c.Settlements()) != batches {
		t.Errorf("%d answered, %d booked, want %d", done, len(c.Settlements()), batches)
	}
	i := v.p.Insurance[0]
	if left := c.state.balance(v.p, i); left != i.Balance-account || left < 0 {
		t.Errorf("account %s of %s left, %s paid", left.yuan(), i.Balance.yuan(), account.yuan())
	}
	was := c.Settlements()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, config)
	if !bytes.Equal(encode(again.Settlements()), encode(was)) {
		t.Error("the replayed settlements differ")
	}
}

func TestDataFiles(t *testing.T) {
	person := `{"psn_no":"1","psn_name":"赵六","psn_cert_type":"01","certno":"110101199003074530","gend":"1","naty":"01","brdy":"1990-03-07","insurance":[]}`
	for name, x := range map[string]struct {
		files fstest.MapFS
		ok    bool
	}{
		"own people":      {fstest.MapFS{"people.json": {Data: []byte(`{"people":[` + person + `]}`)}}, true},
		"twice":           {fstest.MapFS{"people.json": {Data: []byte(`{"people":[` + person + `,` + person + `]}`)}}, false},
		"misspelt key":    {fstest.MapFS{"people.json": {Data: []byte(`{"peopel":[]}`)}}, false},
		"two values":      {fstest.MapFS{"people.json": {Data: []byte(`{"people":[]}{}`)}}, false},
		"null person":     {fstest.MapFS{"people.json": {Data: []byte(`{"people":[null]}`)}}, false},
		"check digit":     {fstest.MapFS{"people.json": {Data: []byte(`{"people":[` + strings.Replace(person, "4530", "4531", 1) + `]}`)}}, false},
		"birth date":      {fstest.MapFS{"people.json": {Data: []byte(`{"people":[` + strings.Replace(person, "1990-03-07", "1990-02-30", 1) + `]}`)}}, false},
		"card state":      {fstest.MapFS{"people.json": {Data: []byte(`{"people":[` + strings.Replace(person, `"insurance"`, `"card":{"number":"A00000011","identification_code":"410100D15600000500BF7C7A48FB4966","state":"gone"},"insurance"`, 1) + `]}`)}}, false},
		"class A that":    {fstest.MapFS{"catalogue.json": {Data: []byte(`{"items":[{"code":"1","name":"x","med_chrgitm_type":"09","class":"A","selfpay":"0.1","ceiling":"0"}]}`)}}, false},
		"ratio in binary": {fstest.MapFS{"catalogue.json": {Data: []byte(`{"items":[{"code":"1","name":"x","med_chrgitm_type":"09","class":"B","selfpay":0.1,"ceiling":"0"}]}`)}}, false},
		"five decimals":   {fstest.MapFS{"catalogue.json": {Data: []byte(`{"items":[{"code":"1","name":"x","med_chrgitm_type":"09","class":"B","selfpay":"0.12345","ceiling":"0"}]}`)}}, false},
		"ratio above 1":   {fstest.MapFS{"policy.json": {Data: []byte(`{"insurance":{"310":{"deductible":"0","ratio":"1.1","ceiling":"1","fund_pay_type":"x"}}}`)}}, false},
		"null insurance":  {fstest.MapFS{"policy.json": {Data: []byte(`{"insurance":{"310":null}}`)}}, false},
		"own field":       {fstest.MapFS{"policy.json": {Data: []byte(`{"insurance":{"310":{"deductible":"0","ratio":"1","ceiling":"1","fund_pay_type":"x","supplement":{"field":"acct_pay","ratio":"1","fund_pay_type":"x"}}}}`)}}, false},
	} {
		c, err := New(Config{Data: x.files})
		if (err == nil) != x.ok || (err != nil && !errors.Is(err, ErrConfig)) {
			t.Errorf("%s: %v", name, err)
		}
		if c != nil {
			c.Close()
		}
	}
	if _, err := New(Config{Data: os.DirFS("data")}); err != nil {
		t.Errorf("the embedded files as a directory: %v", err)
	}
	if r, err := loadRules(nil); err != nil || len(r.items) < 40 {
		t.Errorf("%d items, %v", len(r.items), err)
	}
}
