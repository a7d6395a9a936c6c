package centersim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The specification's worked example.
const (
	exampleTime      = 1700000000
	exampleNonce     = "0123456789abcdef0123456789abcdef"
	exampleSignature = "c1d4c8ce2bd93389a68d87008e236e81aabe73dc89948117995cd2e8c7a84eef"
)

func TestXTif(t *testing.T) {
	for _, x := range []struct {
		name   string
		header map[string]string
		age    time.Duration
		why    string
	}{
		{"right", nil, 0, ""},
		{"30 minutes old", nil, 30 * time.Minute, ""},
		{"older", nil, 30*time.Minute + time.Second, "超过30分钟"},
		{"from the future", nil, -time.Hour, ""},
		{"no paasid", map[string]string{"x-tif-paasid": ""}, 0, "缺少x-tif-paasid"},
		{"no time", map[string]string{"x-tif-timestamp": ""}, 0, "缺少x-tif-timestamp"},
		{"no nonce", map[string]string{"x-tif-nonce": ""}, 0, "缺少x-tif-nonce"},
		{"no signature", map[string]string{"x-tif-signature": ""}, 0, "缺少x-tif-signature"},
		{"milliseconds", map[string]string{"x-tif-timestamp": "1700000000000"}, 0, "签名错误"},
		{"no number", map[string]string{"x-tif-timestamp": "+1700000000"}, 0, "秒级"},
		{"unknown caller", map[string]string{"x-tif-paasid": "other"}, 0, "不存在"},
		{"another nonce", map[string]string{"x-tif-nonce": "1"}, 0, "签名错误"},
		{"upper case", map[string]string{"x-tif-signature": strings.ToUpper(exampleSignature)}, 0, "签名错误"},
	} {
		t.Run(x.name, func(t *testing.T) {
			now := time.Unix(exampleTime, 0).Add(x.age)
			for _, status := range []int{0, 200} {
				c := start(t, Config{Style: StyleXTif, Tokens: map[string]string{"test": "TESTTOKEN"}, GatewayStatus: status, Now: func() time.Time { return now }})
				r := httptest.NewRequest(http.MethodPost, callService, strings.NewReader("{}"))
				r.Header.Set("Content-Type", "application/json; charset=utf-8")
				for k, v := range map[string]string{
					"x-tif-paasid": "test", "x-tif-timestamp": "1700000000", "x-tif-nonce": exampleNonce, "x-tif-signature": exampleSignature,
				} {
					r.Header.Set(k, v)
				}
				for k, v := range x.header {
					r.Header.Set(k, v)
				}
				w := httptest.NewRecorder()
				c.Handler().ServeHTTP(w, r)
				var a struct {
					Code    int
					Message string
					Infcode *int
				}
				if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
					t.Fatalf("%v: %s", err, w.Body)
				}
				if x.why == "" {
					if a.Code != 0 || a.Infcode == nil || w.Code != 200 {
						t.Errorf("%d %s", w.Code, w.Body)
					}
					continue
				}
				want := status
				if want == 0 {
					want = 401
				}
				if w.Code != want || a.Code != 401 || !strings.Contains(a.Message, x.why) {
					t.Errorf("%d %s, want %d and %q", w.Code, w.Body, want, x.why)
				}
			}
		})
	}
}

func TestHTTPForm(t *testing.T) {
	d := newDesk(start(t, Config{MaxBody: 3000}))
	for _, x := range []struct {
		kind, body string
		code       int
		what       string
	}{
		{"text/plain", "{}", 415, "Content-Type"},
		{"", "{}", 415, "Content-Type"},
		{"application/json", `{"a":"` + strings.Repeat("x", 3000) + `"}`, 413, "报文过大"},
		{"application/json", "{", 200, "不是有效的JSON"},
		{"application/json", "{}{}", 200, "多余内容"},
		{"application/json", "[]", 200, "不是JSON对象"},
		{"application/json", "{\"infno\":\"\xff\"}", 200, "UTF-8"},
		{"application/json", `{"INFNO":"9001"}`, 200, "[infno]"},
	} {
		r := httptest.NewRequest(http.MethodPost, callService, strings.NewReader(x.body))
		if x.kind != "" {
			r.Header.Set("Content-Type", x.kind)
		}
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, r)
		if w.Code != x.code || !json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), x.what) {
			t.Errorf("%q: %d %s", x.body, w.Code, w.Body)
		}
	}
	e := encode(d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}}))
	if w := d.post(paths["1101"], e); !bytes.Contains(w.Body.Bytes(), []byte("与访问地址不一致")) {
		t.Errorf("9001 at the path of 1101: %s", w.Body)
	}
	if w := d.post(paths["9001"], e); !bytes.Contains(w.Body.Bytes(), []byte(`"infcode":0`)) {
		t.Errorf("9001 at its path: %s", w.Body)
	}
}

func TestReadTokens(t *testing.T) {
	name := filepath.Join(t.TempDir(), "tokens")
	for _, x := range []struct {
		text string
		mode os.FileMode
		ok   bool
	}{
		{"# callers\ntest = \"TESTTOKEN\"\nother=x\n", 0o600, true},
		{"test = TESTTOKEN\n", 0o644, false},
		{"test\n", 0o600, false},
		{"# nobody\n", 0o600, false},
	} {
		if err := os.WriteFile(name, []byte(x.text), x.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, x.mode); err != nil {
			t.Fatal(err)
		}
		tokens, err := ReadTokens(name)
		if (err == nil) != x.ok || (x.ok && (tokens["test"] != "TESTTOKEN" || tokens["other"] != "x")) {
			t.Errorf("%q: %v %v", x.text, tokens, err)
		}
	}
	if _, err := New(Config{Style: StyleXTif}); err == nil {
		t.Error("x-tif without tokens was accepted")
	}
}
