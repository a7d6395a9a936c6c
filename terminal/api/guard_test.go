package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"onecard/fault"
	"onecard/reader/pinpad"
	"onecard/terminal"
	"onecard/terminal/api"
	"onecard/terminal/internal/deskbed"
	"onecard/terminal/web"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

const token = "0123456789abcdef0123456789abcdef"

// door is a served desk.
type door struct {
	*deskbed.Bed
	base   string // http://127.0.0.1:PORT
	host   string
	client *api.Client
	socket *api.Client
}

func open(t *testing.T, o deskbed.Options) *door {
	t.Helper()
	b := deskbed.New(t, o)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// The path of a Unix socket is short; a test's directory may not be.
	dir, err := os.MkdirTemp("", "oc")
	if err != nil {
		t.Fatal(err)
	}
	sock, err := net.Listen("unix", filepath.Join(dir, api.SocketFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, api.TokenFile), []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(b.Log)
	s := api.New(b.Service, api.Options{Listen: tcp.Addr().String(), Token: token, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, tcp, sock) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	d := &door{Bed: b, host: tcp.Addr().String(), base: "http://" + tcp.Addr().String()}
	if d.client, err = api.NewClient(d.base, dir); err != nil {
		t.Fatal(err)
	}
	d.socket = api.NewSocketClient(dir)
	return d
}

// call sends a raw request and returns status, fault code and body.
func (d *door) call(method, path, body string, header ...string) (int, fault.Code, string) {
	d.T.Helper()
	req, err := http.NewRequest(method, d.base+path, strings.NewReader(body))
	if err != nil {
		d.T.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else if header[i+1] == "" {
			req.Header.Del(header[i])
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.T.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.T.Fatal(err)
	}
	var f api.FaultAnswer
	if json.Unmarshal(text, &f) == nil && f.Fault != nil {
		return resp.StatusCode, f.Fault.Code, string(text)
	}
	return resp.StatusCode, "", string(text)
}

const bearer = "Bearer " + token

func TestWhoMayCall(t *testing.T) {
	d := open(t, deskbed.Options{})
	d.Ready()
	cookie := d.pageCookie()
	own := d.base
	for _, c := range []struct {
		name, method, path string
		header             []string
		code               fault.Code
	}{
		{"nobody", "GET", "/v1/state", nil, fault.TokenInvalid},
		{"wrong token", "GET", "/v1/state", []string{"Authorization", "Bearer x"}, fault.TokenInvalid},
		{"token", "GET", "/v1/state", []string{"Authorization", bearer}, ""},
		{"foreign host", "GET", "/v1/state", []string{"Authorization", bearer, "Host", "evil.example"}, fault.HostForeign},
		{"foreign host, public document", "GET", "/healthz", []string{"Host", "evil.example:8750"}, fault.HostForeign},
		{"foreign host, page", "GET", "/", []string{"Host", "evil.example"}, fault.HostForeign},
		{"foreign origin", "GET", "/v1/state", []string{"Authorization", bearer, "Origin", "http://evil.example"}, fault.OriginForeign},
		{"null origin", "GET", "/v1/state", []string{"Authorization", bearer, "Origin", "null"}, fault.OriginForeign},
		{"other scheme", "GET", "/v1/state", []string{"Authorization", bearer, "Origin", "https://" + d.host}, fault.OriginForeign},
		{"other port", "GET", "/v1/state", []string{"Authorization", bearer, "Origin", "http://127.0.0.1:1"}, fault.OriginForeign},
		{"cross-site fetch", "GET", "/v1/state", []string{"Authorization", bearer, "Sec-Fetch-Site", "cross-site"}, fault.OriginForeign},
		{"own page", "GET", "/v1/state", []string{"Cookie", cookie, "Origin", own}, ""},
		{"own page, localhost", "GET", "/v1/state", []string{"Cookie", cookie, "Host", "localhost:" + d.host[strings.LastIndex(d.host, ":")+1:]}, ""},
		{"page's cookie of another start", "GET", "/v1/state", []string{"Cookie", "onecard_page=" + strings.Repeat("0", 64)}, fault.TokenInvalid},
		{"page writes without origin", "POST", "/v1/visits", []string{"Cookie", cookie}, fault.OriginForeign},
		{"wrong token beside the cookie", "GET", "/v1/state", []string{"Cookie", cookie, "Authorization", "Bearer x"}, fault.TokenInvalid},
		{"unknown path", "GET", "/v2/state", []string{"Authorization", bearer}, fault.PathUnknown},
		{"wrong method", "DELETE", "/v1/state", []string{"Authorization", bearer}, fault.MethodNotAllowed},
		{"path out of the pages", "GET", "/../onecard.toml", nil, fault.PathUnknown},
		{"posting to a page", "POST", "/index.html", nil, fault.MethodNotAllowed},
		{"form", "POST", "/v1/visits", []string{"Authorization", bearer, "Content-Type", "text/plain"}, fault.BodyInvalid},
		{"no such reader", "GET", "/v1/readers/r9/identity", []string{"Authorization", bearer}, fault.SlotUnknown},
		{"no such visit", "GET", "/v1/visits/V1", []string{"Authorization", bearer}, fault.VisitUnknown},
		{"no such entry", "GET", "/v1/journal/99", []string{"Authorization", bearer}, fault.EntryUnknown},
		{"no number", "GET", "/v1/journal/x", []string{"Authorization", bearer}, fault.BodyInvalid},
		{"no day", "GET", "/v1/journal?day=2026-02-30", []string{"Authorization", bearer}, fault.FieldDate},
		{"no outcome", "GET", "/v1/journal?outcome=maybe", []string{"Authorization", bearer}, fault.BodyInvalid},
		{"limit", "GET", "/v1/journal?limit=0", []string{"Authorization", bearer}, fault.BodyInvalid},
	} {
		status, code, body := d.call(c.method, c.path, "", c.header...)
		if code != c.code || code == "" && status != http.StatusOK {
			t.Errorf("%s: %d %s, want %q: %.200s", c.name, status, code, c.code, body)
		}
		if e, ok := fault.Lookup(code); ok && e.HTTP != status {
			t.Errorf("%s: status %d, the catalogue says %d", c.name, status, e.HTTP)
		}
	}
}

func (d *door) pageCookie() string {
	d.T.Helper()
	resp, err := http.Get(d.base + "/")
	if err != nil {
		d.T.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("Content-Security-Policy") != web.ContentSecurityPolicy || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		d.T.Errorf("the page's headers: %v", resp.Header)
	}
	cookies := resp.Cookies()
	if len(cookies) != 1 {
		d.T.Fatalf("the page has %d cookies, not its session alone", len(cookies))
	}
	c := cookies[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || len(c.Value) != 64 {
		d.T.Errorf("the page's session: %+v", c)
	}
	return c.Name + "=" + c.Value
}

func TestPINNeverCrossesTCP(t *testing.T) {
	d := open(t, deskbed.Options{})
	d.Ready()
	for _, body := range []string{`{"pin":"123456"}`, `{"pin":""}`} {
		_, code, _ := d.call("POST", "/v1/readers/r1/pin/verify", body, "Authorization", bearer)
		if code != fault.PINOverNetwork {
			t.Errorf("%s: %s", body, code)
		}
	}
	if err := d.client.VerifyPIN(t.Context(), "r1", []byte("123456")); fault.Of(err).Code != fault.PINOverNetwork {
		t.Errorf("client: %v", err)
	}
	if _, err := d.client.APDU(t.Context(), "r1", []string{"0020000003123456"}); fault.Of(err).Code != fault.PINOverNetwork {
		t.Errorf("raw VERIFY: %v", err)
	}
	if p, err := d.client.PIN(t.Context(), "r1"); err != nil || *p.TriesLeft != 6 {
		t.Errorf("a try was used: %+v, %v", p, err)
	}
	if err := d.client.VerifyPIN(t.Context(), "r1", nil); err != nil {
		t.Errorf("at the pad: %v", err)
	}
	if err := d.socket.VerifyPIN(t.Context(), "r1", []byte("654321")); fault.Of(err).Code != fault.PINWrong {
		t.Errorf("over the socket: %v", err)
	}
	if err := d.socket.VerifyPIN(t.Context(), "r1", []byte(deskbed.PIN)); err != nil {
		t.Errorf("over the socket: %v", err)
	}
	if strings.Contains(d.Log.String(), deskbed.PIN) || strings.Contains(d.Log.String(), "654321") {
		t.Error("the log holds a PIN")
	}
}

func TestBodiesAreStrict(t *testing.T) {
	d := open(t, deskbed.Options{})
	d.Ready()
	for name, body := range map[string]string{
		"not JSON": `{`, "a list": `[]`, "unknown field": `{"readr":"r1"}`, "wrong kind": `{"reader":1}`, "two values": `{}{}`,
	} {
		if _, code, text := d.call("POST", "/v1/visits", body, "Authorization", bearer); code != fault.BodyInvalid {
			t.Errorf("%s: %s %s", name, code, text)
		}
	}
	if _, code, _ := d.call("POST", "/v1/visits", `{"reader":"`+strings.Repeat("x", 1<<20)+`"}`, "Authorization", bearer); code != fault.BodyTooLarge {
		t.Errorf("too large: %s", code)
	}
}

func TestNoPadIsSaid(t *testing.T) {
	d := open(t, deskbed.Options{NoPad: true})
	d.Ready()
	if err := d.client.VerifyPIN(t.Context(), "r1", nil); fault.Of(err).Code != fault.NoPINPad {
		t.Errorf("%v", err)
	}
	d2 := open(t, deskbed.Options{})
	d2.Ready()
	d2.Pad.Will("", pinpad.ErrTimeout)
	if err := d2.client.VerifyPIN(t.Context(), "r1", nil); fault.Of(err).Code != fault.PINTimeout {
		t.Errorf("%v", err)
	}
}

func TestWholeVisitOverTheAPI(t *testing.T) {
	d := open(t, deskbed.Options{Image: "2.0"})
	ctx := t.Context()
	state, err := d.client.Await(ctx, func(s terminal.State) bool {
		return len(s.Readers) == 1 && s.Readers[0].State == terminal.ReaderReady && s.Simulated
	})
	if err != nil {
		t.Fatal(err)
	}
	id := state.Readers[0].ID
	doc, err := d.client.Identity(ctx, id)
	if err != nil || doc.Holder == nil || doc.Holder.Name != "张三" || doc.Card.Version != "2.00" || !doc.Authenticated {
		t.Fatalf("identity: %+v, %v", doc, err)
	}
	if err := d.client.VerifyPIN(ctx, id, nil); err != nil {
		t.Fatal(err)
	}
	if f, err := d.client.File(ctx, id, "DF04EF05"); err != nil || f.ID != "DF04EF05" {
		t.Fatalf("file: %+v, %v", f, err)
	}
	v, err := d.client.OpenVisit(ctx, terminal.VisitRequest{Reader: id})
	if err != nil {
		t.Fatal(err)
	}
	if v, err = d.client.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()}); err != nil {
		t.Fatal(err)
	}
	if v, err = d.client.Trial(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if v, err = d.client.Settle(ctx, v.ID, terminal.Agreed{Total: v.Trial.Total, Cash: v.Trial.Cash}); err != nil || v.Receipt == nil {
		t.Fatal(err)
	}
	if seen, err := d.client.Visit(ctx, v.ID); err != nil || seen.Receipt == nil || seen.Receipt.SettlementID != v.Receipt.SettlementID {
		t.Fatalf("visit: %+v, %v", seen, err)
	}
	day, err := d.client.Journal(ctx, "", "done", 5)
	if err != nil || len(day.Entries) != 1 {
		t.Fatalf("journal: %+v, %v", day, err)
	}
	if e, err := d.client.Entry(ctx, day.Entries[0].ID); err != nil || e.SettlementID != v.Receipt.SettlementID {
		t.Fatalf("entry: %+v, %v", e, err)
	}
	if err := d.client.Abandon(ctx, v.ID); err != nil {
		t.Fatalf("put away: %v", err)
	}
	if s, err := d.client.State(ctx); err != nil || s.Visit != nil || s.Journal.Done != 1 {
		t.Fatalf("state: %+v, %v", s, err)
	}
	checks, err := d.client.Doctor(ctx)
	if err != nil || len(checks) == 0 {
		t.Fatalf("doctor: %v, %v", checks, err)
	}
	status, _, body := d.call("GET", "/v1/catalogue?q=%E6%B0%A8%E6%B0%AF", "", "Authorization", bearer)
	if status != 200 || !strings.Contains(body, "氨氯地平片") {
		t.Errorf("prices: %d %s", status, body)
	}
	// No secret and nobody's data in what is served without a token.
	for _, path := range []string{"/metrics", "/healthz", "/openapi.json"} {
		status, _, body := d.call("GET", path, "", "Authorization", "")
		for _, secret := range []string{doc.Holder.Name, doc.Holder.SocialSecurityNumber, doc.Card.Number, token} {
			if strings.Contains(body, secret) {
				t.Errorf("%s holds personal data", path)
			}
		}
		if status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	_, _, body = d.call("GET", "/metrics", "")
	for _, want := range []string{`onecard_settlements_today{outcome="done"} 1`, `onecard_condition_ok{condition="hsm"} 1`, `onecard_readers{state="ready"} 1`} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestEventsAreForOwnCallersAndBounded(t *testing.T) {
	d := open(t, deskbed.Options{})
	d.Ready()
	ctx := t.Context()
	dial := func(header http.Header) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(ctx, d.base+"/v1/events", &websocket.DialOptions{HTTPHeader: header})
	}
	for name, header := range map[string]http.Header{
		"no token":       {},
		"foreign origin": {"Authorization": {bearer}, "Origin": {"http://evil.example"}},
	} {
		if _, resp, err := dial(header); err == nil || resp == nil || resp.StatusCode < 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	var conns []*websocket.Conn
	for {
		c, resp, err := dial(http.Header{"Authorization": {bearer}})
		if err != nil {
			if resp == nil || resp.StatusCode != http.StatusTooManyRequests {
				t.Fatalf("stream %d: %v", len(conns), err)
			}
			break
		}
		conns = append(conns, c)
		if len(conns) > 100 {
			t.Fatal("streams are not bounded")
		}
	}
	// A removal reaches every stream.
	d.Remove()
	for i, c := range conns {
		c.SetReadLimit(1 << 20)
		for {
			_, text, err := c.Read(ctx)
			if err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
			var e api.Event
			if err := json.Unmarshal(text, &e); err != nil || e.Type != "state" {
				t.Fatalf("stream %d: %v", i, err)
			}
			if e.State.Readers[0].State == terminal.ReaderEmpty {
				break
			}
		}
		c.CloseNow()
	}
}

// The description names every call, and every schema it refers to is there.
func TestOpenAPIIsWhole(t *testing.T) {
	text, err := json.Marshal(api.OpenAPI("test"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, methods := range doc.Paths {
		n += len(methods)
	}
	if n != len(api.Routes()) {
		t.Errorf("%d calls described, %d served", n, len(api.Routes()))
	}
	for _, ref := range strings.Split(string(text), `"$ref":"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(ref, `"`)
		if s, ok := doc.Components.Schemas[name]; !ok || string(s) == "null" {
			t.Errorf("schema %s is missing", name)
		}
	}
}

func FuzzBodies(f *testing.F) {
	f.Add("/v1/visits", `{"reader":"r1"}`)
	f.Add("/v1/readers/r1/apdu", `{"commands":["00A40000023F00"]}`)
	f.Add("/v1/readers/r1/pin/verify", `{"pin":"12"}`)
	f.Add("/v1/visits/V1/lines", `{"lines":[{"code":"1","name":"x","quantity":"1","price":"1"}]}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		b := deskbed.New(t, deskbed.Options{Image: "none", NoHSM: true})
		log := logrus.New()
		log.SetOutput(io.Discard)
		s := api.New(b.Service, api.Options{Listen: "127.0.0.1:8750", Token: token, Log: log})
		r := httptest.NewRequest("POST", "http://127.0.0.1:8750/", strings.NewReader(body))
		r.URL.Path = path
		r.Header.Set("Authorization", bearer)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.TCP().ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	})
}

// docs/api.md names every call, and none that is not there.
func TestDocumentNamesEveryCall(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			call, _, _ := strings.Cut(rest, "`")
			if method, path, ok := strings.Cut(call, " "); ok && strings.HasPrefix(path, "/") {
				named[method+" "+path] = true
			}
		}
	}
	for _, r := range api.Routes() {
		if !named[r.Method+" "+r.Path] {
			t.Errorf("docs/api.md lacks %s %s", r.Method, r.Path)
		}
		delete(named, r.Method+" "+r.Path)
	}
	for call := range named {
		t.Errorf("docs/api.md names %s, which is not served", call)
	}
}
