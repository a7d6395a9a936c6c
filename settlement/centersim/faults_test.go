package centersim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// wire is a real connection to a centre, for what only a connection shows.
type wire struct {
	*desk
	server *httptest.Server
	visit  *aVisit
	sums   sums
}

func newWire(t *testing.T, config Config) *wire {
	t.Helper()
	d := newDesk(start(t, config))
	s := httptest.NewServer(d.handler)
	t.Cleanup(s.Close)
	d.signIn(t)
	w := &wire{desk: d, server: s, visit: d.register(t, "欧阳海燕", "MZ1")}
	w.sums = sumsOf(t, d.call(t, "2204", w.visit.area, w.visit.feeInput("B1", fee{"001102000010000-110200001", "15.00", "20", "300.00"})))
	return w
}

func (w *wire) settle(ctx context.Context) (*http.Response, []byte, error) {
	body := encode(w.envelope("2207", w.visit.area, w.visit.settleInput("B1", w.sums, true)))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.server.URL+paths["2207"], bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a, err := client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return a, b, err
}

func TestFaults(t *testing.T) {
	for _, x := range []struct {
		fault  string
		booked int
		check  func(*testing.T, *http.Response, []byte, error)
	}{
		{"2207:drop-before", 0, wantLost},
		{"2207:drop-after", 1, wantLost},
		{"any:cut", 1, func(t *testing.T, a *http.Response, b []byte, err error) {
			if !errors.Is(err, io.ErrUnexpectedEOF) || len(b) == 0 {
				t.Errorf("%q, %v", b, err)
			}
		}},
		{"2207:truncate", 1, func(t *testing.T, a *http.Response, b []byte, err error) {
			if err != nil || a.StatusCode != 200 || json.Valid(b) || len(b) == 0 {
				t.Errorf("%q, %v", b, err)
			}
		}},
		{"2207:http-before=503", 0, wantStatus(503)},
		{"2207:http-after=502", 1, wantStatus(502)},
		{"2207:html-before", 0, wantPage},
		{"2207:html-after", 1, wantPage},
		{"2207:delay=1ms", 1, wantInfo(func(t *testing.T, i record) { checkIdentities(t, i) })},
		{"2207:identity=1", 1, wantInfo(func(t *testing.T, i record) { wantBroken(t, i, 1) })},
		{"2207:identity=2", 1, wantInfo(func(t *testing.T, i record) { wantBroken(t, i, 2) })},
		{"2207:identity=3", 1, wantInfo(func(t *testing.T, i record) { wantBroken(t, i, 3) })},
		{"2207:identity=4", 1, wantInfo(func(t *testing.T, i record) { wantBroken(t, i, 4) })},
		{"2207:wrong-setl", 1, wantInfo(func(t *testing.T, i record) {
			if !strings.HasPrefix(i.text("medins_setl_id"), "H000000") {
				t.Error(i)
			}
		})},
		{"2207:text-code", 1, func(t *testing.T, a *http.Response, b []byte, err error) {
			if !bytes.Contains(b, []byte(`"infcode":"0"`)) {
				t.Errorf("%s %v", b, err)
			}
		}},
		{"2207:sloppy", 1, func(t *testing.T, a *http.Response, b []byte, err error) {
			if !bytes.Contains(b, []byte(`"pdn_cash_pay":"`)) || !bytes.Contains(b, []byte(`"err_msg":"NULL"`)) || !json.Valid(b) {
				t.Errorf("%s %v", b, err)
			}
		}},
		{"2207:refuse=目录停用@2", 0, func(t *testing.T, a *http.Response, b []byte, err error) {
			if !bytes.Contains(b, []byte(`"err_msg":"目录停用"`)) || !bytes.Contains(b, []byte(`"infcode":-1`)) {
				t.Errorf("%s %v", b, err)
			}
		}},
		{"2207:clock=-40m", 1, func(t *testing.T, a *http.Response, b []byte, err error) {
			if want := noon().t.Add(-40 * time.Minute).UTC().Format(http.TimeFormat); a.Header.Get("Date") != want {
				t.Errorf("Date %s, want %s", a.Header.Get("Date"), want)
			}
		}},
		{"2207:oversize=3000000", 1, func(t *testing.T, a *http.Response, b []byte, err error) {
			if err != nil || len(b) < 3000000 || !json.Valid(b) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		}},
		{"2207:broken-json", 1, func(t *testing.T, a *http.Response, b []byte, err error) {
			if err != nil || json.Valid(b) || !bytes.HasSuffix(b, []byte("}")) || a.ContentLength != int64(len(b)) {
				t.Errorf("%q, %v", b, err)
			}
		}},
		{"2207:foreign-msgid", 1, wantInfo(func(t *testing.T, i record) {
			if id := i.text("medins_setl_id"); len(id) != 30 || strings.HasPrefix(id, "H51010000001") {
				t.Error(i)
			}
		})},
		{"2207:maintenance", 0, wantRefusal("系统维护中")},
		{"2207:lost-card", 0, wantRefusal("已挂失")},
		{"any:unknown-person", 0, wantRefusal("未查询到该人员")},
		{"2207:flap=2@2", 0, wantLost},
		{"2204:drop-before", 1, wantInfo(func(t *testing.T, i record) { checkIdentities(t, i) })},
	} {
		t.Run(x.fault, func(t *testing.T) {
			w := newWire(t, Config{})
			f, err := ParseFault(x.fault)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.c.Order(f); err != nil {
				t.Fatal(err)
			}
			a, b, err := w.settle(context.Background())
			x.check(t, a, b, err)
			if n := len(w.c.Settlements()); n != x.booked {
				t.Errorf("%d settlements booked, want %d", n, x.booked)
			}
			if f.Count == 1 && f.Infno != "2204" && len(w.c.Ordered()) != 0 {
				t.Errorf("still ordered: %v", w.c.Ordered())
			}
			// The fault is used up: the centre is itself again.
			if f.Count == 1 && x.booked == 0 {
				a, b, err := w.settle(context.Background())
				wantInfo(func(t *testing.T, i record) { checkIdentities(t, i) })(t, a, b, err)
			}
		})
	}
}

func wantLost(t *testing.T, a *http.Response, _ []byte, err error) {
	t.Helper()
	if err == nil || a != nil {
		t.Errorf("an answer came: %v", err)
	}
}

func wantStatus(status int) func(*testing.T, *http.Response, []byte, error) {
	return func(t *testing.T, a *http.Response, b []byte, err error) {
		t.Helper()
		if err != nil || a.StatusCode != status || json.Valid(b) {
			t.Errorf("%v %s", err, b)
		}
	}
}

func wantRefusal(words string) func(*testing.T, *http.Response, []byte, error) {
	return func(t *testing.T, a *http.Response, b []byte, err error) {
		t.Helper()
		if err != nil || a.StatusCode != 200 || !bytes.Contains(b, []byte(`"infcode":-1`)) || !bytes.Contains(b, []byte(words)) {
			t.Errorf("%v %s", err, b)
		}
	}
}

func wantPage(t *testing.T, a *http.Response, b []byte, err error) {
	t.Helper()
	if err != nil || a.StatusCode != 200 || !bytes.HasPrefix(b, []byte("<!DOCTYPE")) {
		t.Errorf("%v %s", err, b)
	}
}

func wantInfo(check func(*testing.T, record)) func(*testing.T, *http.Response, []byte, error) {
	return func(t *testing.T, _ *http.Response, b []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseObject(b)
		output, ok := a["output"].(map[string]any)
		if err != nil || !ok {
			t.Fatalf("%v: %s", err, b)
		}
		check(t, setlinfo(output))
	}
}

// recorder turns Fatalf into a value.
type recorder struct{ text string }

func (*recorder) Helper() {}
func (r *recorder) Fatalf(f string, a ...any) {
	r.text = f
	panic(r)
}

// wantBroken expects that identity, and no other, is broken.
func wantBroken(t *testing.T, info record, n int) {
	t.Helper()
	r := &recorder{}
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(r) {
				panic(p)
			}
		}()
		checkIdentities(r, info)
	}()
	if want := []string{"1", "2", "3", "4"}[n-1]; !strings.HasPrefix(r.text, "identity "+want) {
		t.Errorf("identity %d is to be broken, found %q", n, r.text)
	}
	// Undone, the rest holds.
	name := []string{"hosp_part_amt", "hifp_pay", "psn_cash_pay", "preselfpay_amt"}[n-1]
	a, err := info.amount(name)
	if err != nil {
		t.Fatal(err)
	}
	info[name] = num(a - 1)
	checkIdentities(t, info)
}

func TestHangBefore(t *testing.T) {
	w := newWire(t, Config{Faults: []Fault{{Infno: "2207", Kind: HangBefore, Count: 2}}})
	ctx, leave := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { _, _, err := w.settle(ctx); done <- err }()
	if err := w.c.AwaitHanging(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := w.c.AwaitHanging(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	if n := len(w.c.Settlements()); n != 0 {
		t.Fatalf("the caller left before the booking, %d booked", n)
	}
	go func() { _, _, err := w.settle(context.Background()); done <- err }()
	if err := w.c.AwaitHanging(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	w.c.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := len(w.c.Settlements()); n != 1 {
		t.Fatalf("%d booked", n)
	}
}

// TestHangAfter: booked while the answer hangs; the end of the centre ends the
// request without an answer.
func TestHangAfter(t *testing.T) {
	w := newWire(t, Config{Faults: []Fault{{Kind: HangAfter, Infno: "2207"}}})
	done := make(chan error, 1)
	go func() { _, _, err := w.settle(context.Background()); done <- err }()
	if err := w.c.AwaitHanging(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	if n := len(w.c.Settlements()); n != 1 {
		t.Fatalf("%d booked while the answer hangs", n)
	}
	if err := w.c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("an answer came")
	}
	if a, _, err := w.settle(context.Background()); err != nil || a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after Close: %v %v", a, err)
	}
}

func TestParseFault(t *testing.T) {
	for text, want := range map[string]Fault{
		"2207:drop-after":            {Infno: "2207", Kind: DropAfter, Count: 1},
		"any:delay=3s@always":        {Kind: Delay, For: 3 * time.Second, Count: Always},
		"2204:refuse=a@b:c=d@7":      {Infno: "2204", Kind: Refuse, Text: "a@b:c=d", Count: 7},
		"2206:clock=-31m@2":          {Infno: "2206", Kind: Clock, For: -31 * time.Minute, Count: 2},
		"1101:oversize=10000000":     {Infno: "1101", Kind: Oversize, Number: 10000000, Count: 1},
		"9001:http-before=504@10000": {Infno: "9001", Kind: HTTPBefore, Number: 504, Count: 10000},
	} {
		f, err := ParseFault(text)
		if err != nil || f != want {
			t.Errorf("%s: %+v, %v", text, f, err)
		}
		if again, err := ParseFault(f.String()); err != nil || again != f {
			t.Errorf("%s: %+v, %v", f, again, err)
		}
	}
	for _, text := range []string{
		"", "2207", "2207:", "2207:nothing", "9999:cut", "2207:cut=1", "2207:cut@0", "2207:cut@-1", "2207:cut@", "2207:cut@x",
		"2207:delay", "2207:delay=2h", "2207:http-before=200", "2207:identity=5", "2207:oversize=999999999", "2207:refuse=", "2207:cut@1000001", "9001:lost-card", "5203:unknown-person", "2207:flap", "2207:flap=0", "2207:maintenance=x",
	} {
		if f, err := ParseFault(text); err == nil {
			t.Errorf("%q was read as %+v", text, f)
		}
	}
	if _, err := New(Config{Faults: []Fault{{Kind: "x"}}}); !errors.Is(err, ErrConfig) {
		t.Errorf("a fault of no kind: %v", err)
	}
}

// TestAdmin orders a fault over HTTP, as the same machine and as others.
func TestAdmin(t *testing.T) {
	c := start(t, Config{})
	do := func(method, remote, host, origin, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.RemoteAddr, r.Host = remote, host
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		c.Handler().ServeHTTP(w, r)
		return w
	}
	const local = "127.0.0.1:5000"
	order := `{"order":["2207:cut@2","any:delay=1s"]}`
	for _, x := range [][3]string{{"192.0.2.1:80", "127.0.0.1:8760", ""}, {local, "evil.example:8760", ""}, {local, "127.0.0.1:8760", "http://evil.example"}} {
		if w := do("POST", x[0], x[1], x[2], "/sim/faults", order); w.Code != 403 {
			t.Errorf("%v: %d", x, w.Code)
		}
		if w := do("GET", x[0], x[1], x[2], "/sim/settlements", ""); w.Code != 403 {
			t.Errorf("%v: %d", x, w.Code)
		}
	}
	for _, bad := range []string{"", "{", `{"unknown":1}`, `{"order":["x"]}`, `{"order":["2207:cut","x"]}`} {
		if w := do("POST", local, "localhost:1", "", "/sim/faults", bad); w.Code != 400 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q: %d %s", bad, w.Code, w.Body)
		}
	}
	if len(c.Ordered()) != 0 {
		t.Errorf("a refused order left %v", c.Ordered())
	}
	w := do("POST", "[::1]:5000", "[::1]:8760", "", "/sim/faults", order)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `["2207:cut@2","any:delay=1s@1"]`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := do("POST", local, "127.0.0.1", "", "/sim/faults", `{"clear":true,"release":true}`); w.Code != 200 || len(c.Ordered()) != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := do("GET", local, "127.0.0.1", "", "/sim/settlements", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"settlements":[]`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestServe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, listener, Config{Ledger: t.TempDir() + "/l"}) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a, err := client.Get("http://" + listener.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := client.Get("http://" + listener.Addr().String() + "/"); err == nil {
		t.Error("still listening")
	}
	if err := Serve(context.Background(), listener, Config{}); err == nil {
		t.Error("a closed listener was served")
	}
}
