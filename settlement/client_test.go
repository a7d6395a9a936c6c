package settlement

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"onecard/fault"
)

func newClient(t testing.TB, url string, change ...func(*Config)) *Client {
	t.Helper()
	ids, err := NewMsgIDs(testInstitution.Code, &mark{}, func() time.Time { return testTime }, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		URL: url, Institution: testInstitution, Operator: testOperator, MsgIDs: ids,
		Now: func() time.Time { return testTime },
	}
	for _, c := range change {
		c(&cfg)
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func settleRequest() Request {
	return Request{Infno: "2207", InsuplcAdmdvs: "510100", SignNo: "S1", Input: map[string]SettleInput{"data": aSettleInput()}}
}

func TestEnvelope(t *testing.T) {
	var body []byte
	var header http.Header
	var path string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header, path = r.Header, r.URL.Path
		_, _ = io.WriteString(w, `{"infcode":0,"inf_refmsgid":"R1"}`)
	})
	style, err := NewStyle("x-tif", Credentials{ID: "PAAS", Secret: "TOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, s.URL+"/fsi/api/rsfComIfsService/callService", func(c *Config) {
		c.Style = style
		c.Paths = map[string]string{"2207": "/fsi/api/outpatientSettleService/saveSettletmentV2"}
		c.Vendor = "onecard"
	})
	a, err := c.Call(t.Context(), settleRequest())
	if err != nil || a.RefMsgID != "R1" {
		t.Fatalf("%v, %v", a, err)
	}
	if path != "/fsi/api/outpatientSettleService/saveSettletmentV2" {
		t.Errorf("path %s", path)
	}
	const want = `{"infno":"2207","msgid":"H51010000001202603091030000000","mdtrtarea_admvs":"510100","insuplc_admdvs":"510100",` +
		`"recer_sys_code":"MBS_LOCAL","infver":"V1.0","opter_type":"1","opter":"0001","opter_name":"样例收费员",` +
		`"inf_time":"2026-03-09 10:30:00","fixmedins_code":"H51010000001","fixmedins_name":"样例医院","fixmedins_soft_fcty":"onecard","sign_no":"S1",` +
		`"input":{"data":{"psn_no":"P1","mdtrt_cert_type":"03","mdtrt_cert_no":"A00000011","card_sn":"410100D15600000500BF7C7A48FB4966",` +
		`"psn_cert_type":"01","certno":"410101199003074531","med_type":"11","medfee_sumamt":100.00,"psn_setlway":"01","mdtrt_id":"M1",` +
		`"chrg_bchno":"B1","insutype":"310","acct_used_flag":"1","fulamt_ownpay_amt":10.00,"overlmt_selfpay":5.00,"preselfpay_amt":5.00,"inscp_scp_amt":80.00}}}`
	if string(body) != want {
		t.Errorf("body\n%s\nwant\n%s", body, want)
	}
	if header.Get("x-tif-signature") == "" || header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("headers %v", header)
	}
	// The rest goes to the one endpoint.
	if _, err := c.Call(t.Context(), Request{Infno: "9001", Input: map[string]SignIn{"signIn": {OpterNo: "1", Mac: "m", IP: "i"}}}); err != nil {
		t.Fatal(err)
	}
	if path != "/fsi/api/rsfComIfsService/callService" {
		t.Errorf("path %s", path)
	}
}

// What is wrong is found before a byte leaves.
func TestNothingInvalidLeaves(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	long := feeLines(100)
	for i := range long {
		long[i].Memo = strings.Repeat("长", 400)
	}
	for name, x := range map[string]struct {
		r      Request
		change func(*Config)
		code   fault.Code
	}{
		"no insuplc_admdvs with psn_no": {Request{Infno: "2207", Input: map[string]SettleInput{"data": aSettleInput()}}, nil, fault.FieldMissing},
		"unknown infno":                 {Request{Infno: "4711", Input: struct{}{}}, nil, fault.TransactionUnknown},
		"long place":                    {Request{Infno: "2207", InsuplcAdmdvs: "5101000", Input: map[string]SettleInput{"data": aSettleInput()}}, nil, fault.FieldTooLong},
		"long msgid":                    {Request{Infno: "2207", MsgID: strings.Repeat("1", 31), InsuplcAdmdvs: "510100", Input: map[string]SettleInput{"data": aSettleInput()}}, nil, fault.FieldTooLong},
		"long name":                     {settleRequest(), func(c *Config) { c.Institution.Name = strings.Repeat("院", 21) }, fault.FieldTooLong},
		"no operator":                   {settleRequest(), func(c *Config) { c.Operator.No = "" }, fault.FieldMissing},
		"input over 40000":              {Request{Infno: "2204", InsuplcAdmdvs: "510100", Input: map[string][]FeeDetail{"feedetail": long}}, nil, fault.FieldTooLong},
		"amount beyond the field": {Request{Infno: "2207", InsuplcAdmdvs: "510100", Input: map[string]SettleInput{"data": func() SettleInput {
			i := aSettleInput()
			i.MedfeeSumamt = MaxFen + 1
			return i
		}()}}, nil, fault.AmountInvalid},
		"serial number not a number": {Request{Infno: "2204", InsuplcAdmdvs: "510100", Input: map[string][]FeeDetail{"feedetail": func() []FeeDetail {
			l := feeLines(1)
			l[0].FeedetlSN.Value = "007"
			return l
		}()}}, nil, fault.FieldType},
	} {
		c := newClient(t, s.URL, func(c *Config) {
			if x.change != nil {
				x.change(c)
			}
		})
		_, err := c.Call(t.Context(), x.r)
		if err == nil || OutcomeOf(err) != NotSent || fault.Of(err).Code != x.code {
			t.Errorf("%s: %v (%s, %s)", name, err, fault.Of(err).Code, OutcomeOf(err))
		}
	}
}

func TestConfigurations(t *testing.T) {
	good := Config{URL: "http://127.0.0.1:1", Institution: testInstitution}
	for name, change := range map[string]func(*Config){
		"no url": func(c *Config) { c.URL = "" }, "scheme": func(c *Config) { c.URL = "ftp://x" }, "no host": func(c *Config) { c.URL = "http:///x" },
		"credentials": func(c *Config) { c.URL = "http://a:b@x/" }, "malformed": func(c *Config) { c.URL = "http://a\x00b" },
		"path with host": func(c *Config) { c.Paths = map[string]string{"2207": "//evil/x"} }, "no code": func(c *Config) { c.Institution.Code = "" },
	} {
		c := good
		change(&c)
		if _, err := NewClient(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewClient(good); err != nil {
		t.Error(err)
	}
}

// Failures before the request left, by every way to get none.
func TestNotSent(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	plain := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
	secure.Config.ErrorLog = discardLog
	secure.StartTLS()
	defer secure.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, x := range map[string]struct {
		ctx    context.Context
		url    string
		change func(*Config)
	}{
		"refused":           {t.Context(), "http://" + closed.Addr().String(), nil},
		"no such host":      {t.Context(), "http://onecard.invalid", nil},
		"unknown authority": {t.Context(), secure.URL, nil},
		"TLS to plain HTTP": {t.Context(), strings.Replace(plain.URL, "http:", "https:", 1), nil},
		"TLS never answers": {t.Context(), "https://" + silent.Addr().String(), func(c *Config) { c.ConnectTimeout = 20 * time.Millisecond }},
		"cancelled":         {cancelled, plain.URL, nil},
		"connection hangs": {t.Context(), plain.URL, func(c *Config) {
			c.ConnectTimeout = 20 * time.Millisecond
			c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}},
	} {
		c := newClient(t, x.url, func(c *Config) {
			if x.change != nil {
				x.change(c)
			}
		})
		p, err := c.Prepare(t.Context(), settleRequest())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Do(x.ctx, p); !errors.Is(err, ErrUnreachable) || OutcomeOf(err) != NotSent || fault.Of(err).Code != fault.UpstreamUnreachable {
			t.Errorf("%s: %v (%s)", name, err, OutcomeOf(err))
		}
	}
}

// rude serves raw connections; handle gets each after its request was read.
func rude(t testing.TB, handle func(n int, c net.Conn)) (url string, requests *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int64)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						return
					}
					handle(int(requests.Add(1)), conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "http://" + l.Addr().String(), requests
}

func TestAnswerLost(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for name, handle := range map[string]func(int, net.Conn){
		"closed":      func(_ int, c net.Conn) { c.Close() },
		"reset":       func(_ int, c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); c.Close() },
		"half a head": func(_ int, c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200"); c.Close() },
		"not HTTP":    func(_ int, c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); c.Close() },
		"half a body": func(_ int, c net.Conn) {
			_, _ = io.WriteString(c, head+"Content-Length: 100\r\n\r\n{\"infcode\":0}")
			c.Close()
		},
		"half a chunk": func(_ int, c net.Conn) {
			_, _ = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\nff\r\n{\"inf")
			c.Close()
		},
		"no answer":  func(int, net.Conn) {},
		"body never": func(_ int, c net.Conn) { _, _ = io.WriteString(c, head+"Content-Length: 100\r\n\r\n{") },
		"endless head": func(_ int, c net.Conn) {
			_, _ = io.Copy(c, io.MultiReader(strings.NewReader(head), endless("X: y\r\n")))
		},
		"endless answer": func(_ int, c net.Conn) {
			_, _ = io.Copy(c, io.MultiReader(strings.NewReader(head+"\r\n"), endless("          ")))
		},
		"too long": func(_ int, c net.Conn) { _, _ = io.WriteString(c, head+"Content-Length: 99999999\r\n\r\n{") },
	} {
		t.Run(name, func(t *testing.T) {
			url, requests := rude(t, handle)
			c := newClient(t, url, func(c *Config) {
				c.AnswerTimeout = 200 * time.Millisecond
				c.AnswerLimit = 1 << 20
				if name == "endless answer" || name == "endless head" {
					c.AnswerTimeout = time.Minute
				}
			})
			_, err := c.Call(t.Context(), settleRequest())
			want := ErrAnswerLost
			if name == "endless answer" || name == "too long" {
				want = ErrTooLarge
			}
			if !errors.Is(err, want) || OutcomeOf(err) != Unknown {
				t.Errorf("%v (%s)", err, OutcomeOf(err))
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests arrived", n)
			}
		})
	}
}

type endless string

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

// A caller that gives up after the request left leaves an unknown outcome.
func TestCancelledAfterSending(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url, _ := rude(t, func(int, net.Conn) { cancel() })
	_, err := newClient(t, url).Call(ctx, settleRequest())
	if !errors.Is(err, ErrAnswerLost) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) })
		_, err := newClient(t, s.URL).Call(t.Context(), settleRequest())
		var h *HTTPError
		if !errors.As(err, &h) || h.Status != status || OutcomeOf(err) != Unknown {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestEnvironmentProxyIsNotUsed(t *testing.T) {
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was used") })
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	c := newClient(t, "http://onecard.invalid/")
	if _, err := c.Call(t.Context(), settleRequest()); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-Drop") != "" || r.URL.Path == "/drop" {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, `{"infcode":0}`)
	}))
	defer s.Close()
	trust := func(c *Config) { c.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig }
	c := newClient(t, s.URL, trust)
	for range 3 {
		if _, err := c.Call(t.Context(), settleRequest()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newClient(t, s.URL+"/drop", trust).Call(t.Context(), settleRequest()); !errors.Is(err, ErrAnswerLost) {
		t.Errorf("%v", err)
	}
	if _, err := newClient(t, s.URL, trust, func(c *Config) { c.TLS.MinVersion = tls.VersionTLS13; c.TLS.ServerName = "wrong.invalid" }).Call(t.Context(), settleRequest()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// opener is a style that encrypts, as later ones will.
type opener struct{ unsigned }

func (opener) Sign(m *Message) error {
	m.Body = bytes.ToUpper(m.Body)
	return nil
}

func (opener) Open(_ string, b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errors.New("nothing")
	}
	return bytes.ToLower(b), nil
}

func TestStylesMayReplaceBodies(t *testing.T) {
	var got string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if got = string(b); r.URL.Path != "/empty" {
			_, _ = fmt.Fprint(w, `{"INFCODE":0}`)
		}
	})
	c := newClient(t, s.URL, func(c *Config) { c.Style = opener{} })
	if _, err := c.Call(t.Context(), settleRequest()); err != nil || !strings.Contains(got, `"INFNO":"2207"`) {
		t.Errorf("%v, %s", err, got)
	}
	c = newClient(t, s.URL+"/empty", func(c *Config) { c.Style = opener{} })
	if _, err := c.Call(t.Context(), settleRequest()); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}
