package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"onecard/terminal/web"
)

type object = map[string]any

// desk is the service's side of the API in memory: one desk with one reader,
// one card and an honest little policy. What it does to order are the things
// that go wrong.
type desk struct {
	mu       sync.Mutex
	changed  chan struct{}
	seq      int
	settled  int
	journal  []object
	requests []string // method and path of every command that came in
	doors    map[string]chan struct{}
	down     bool
	streams  map[*websocket.Conn]bool
	cookie   string

	state  object
	card   object
	holder object
	files  map[string]object

	settlement string // "", "lost", "sums", "refused"
	refunding  string // "", "lost"
	aside      []object
	pin        string // "", "wrong"
	skew       string // added to every line amount: a service that computes wrongly
	institute  string
}

func text(zh, en string) object { return object{"zh": zh, "en": en} }

func failure(code, zh, en, detail string) object {
	f := object{"code": code, "text": text(zh, en), "remedy": text("按提示处理。", "Follow the words.")}
	if detail != "" {
		f["detail"] = detail
	}
	return f
}

func newDesk() *desk {
	d := &desk{changed: make(chan struct{}), doors: make(map[string]chan struct{}), streams: make(map[*websocket.Conn]bool), cookie: "page-1", institute: "第一人民医院"}
	d.holder = object{"name": "欧阳海燕", "social_security_number": "510104195807121269", "sex": "2", "sex_text": text("女", "female"), "birth_date": "1958-07-12"}
	d.card = object{"insertion": 1, "version": "3.00", "algorithm": "SM4", "area": "510100", "number": "B******12", "issued": "2022-03-01", "expires": "2032-02-28", "authenticated": true, "auth_fault": nil,
		"holder":   object{"name": "欧**燕", "social_security_number": "5101**********1269", "sex": object{"code": "2", "zh": "女", "en": "female"}, "birth_date": "1958-**-**"},
		"commands": 6, "milliseconds": 12.5, "pin": object{"verified": false, "tries_left": 6, "phase": "idle"}}
	record := func(tag, zh, en, value string) object {
		return object{"tag": tag, "name": text(zh, en), "value": value}
	}
	pension := record("70", "养老保险险种类型", "Pension insurance type", "110")
	pension["text"] = text("企业职工基本养老保险", "Enterprise employees' basic pension")
	d.files = map[string]object{
		"DF03EF07": {"id": "DF03EF07", "name": text("养老保险", "Pension insurance"), "records": []object{pension, record("6C", "离退休日期", "Retirement date", "2013-07-12"), {"tag": "73", "name": text("养老保险信息更新日期", "Update date"), "unset": true}}},
		"DF03EF05": {"id": "DF03EF05", "name": text("失业保险", "Unemployment insurance"), "records": []object{record("63", "失业保险累计缴费年限", "Accumulated contribution months", "120")}},
		"DF04EF05": {"id": "DF04EF05", "name": text("医疗保险", "Medical insurance"), "records": []object{{"tag": "8C", "name": text("医疗保险参保人员类别", "Insured person category"), "fault": failure("OC-1204", "卡上的数据项格式错误。", "A record on the card is malformed.", "")}, record("84", "医疗保险参保地", "Area", "510100")}},
	}
	d.state = object{"version": "test", "simulated": true, "operator": object{"no": "001", "name": "李敏"},
		"counter": object{"med_type": object{"code": "11", "zh": "普通门诊"}, "department": object{"code": "A03", "name": "内科"}, "doctor": object{"code": "D001", "name": "王医生"}, "diagnoses": []object{{"code": "I10.x00", "name": "原发性高血压"}}},
		"health":  []object{{"condition": "reader", "ok": true}, {"condition": "hsm", "ok": true}, {"condition": "upstream", "ok": true}, {"condition": "journal", "ok": true}},
		"visit":   nil}
	d.state["readers"] = []object{{"id": "r1", "name": "Virtual PCD 00 00", "kind": "pcsc", "role": "user", "pinpad": "simulated", "state": "empty", "fault": nil, "card": nil}}
	return d
}

// start serves the desk as the service does: own host, own origin, session
// cookie, content policy.
func (d *desk) start(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(d.handler())
	t.Cleanup(func() {
		d.cut()
		server.Close()
	})
	return server
}

// with changes the desk and publishes it.
func (d *desk) with(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	d.publish()
}

func (d *desk) publish() {
	d.seq++
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *desk) reader() object { return d.state["readers"].([]object)[0] }

func (d *desk) setReader(state string, card, fault object) {
	d.with(func() {
		r := d.reader()
		r["state"], r["card"], r["fault"] = state, nil, nil
		if card != nil {
			r["card"] = card
		}
		if fault != nil {
			r["fault"] = fault
		}
	})
}

// insert puts the card in; another insertion than every one before.
func (d *desk) insert() {
	d.with(func() {
		d.card["insertion"] = d.card["insertion"].(int) + 1
		d.card["pin"] = object{"verified": false, "tries_left": 6, "phase": "idle"}
		d.reader()["state"], d.reader()["card"], d.reader()["fault"] = "ready", d.card, nil
	})
}

func (d *desk) remove() { d.setReader("empty", nil, nil) }

// hold makes requests of a path wait until the returned function is called.
func (d *desk) hold(path string) (release func()) {
	door := make(chan struct{})
	d.mu.Lock()
	d.doors[path] = door
	d.mu.Unlock()
	return func() {
		d.mu.Lock()
		delete(d.doors, path)
		d.mu.Unlock()
		close(door)
	}
}

// cut ends every stream.
func (d *desk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.streams {
		c.CloseNow()
	}
}

// away makes the service refuse everything, or not; its session is another afterwards.
func (d *desk) away(down bool) {
	d.mu.Lock()
	d.down = down
	d.cookie = fmt.Sprintf("page-%d", d.seq+2)
	d.mu.Unlock()
	if down {
		d.cut()
	}
}

func (d *desk) count(request string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, r := range d.requests {
		if r == request {
			n++
		}
	}
	return n
}

// document is the state as JSON; the caller holds the lock.
func (d *desk) document() json.RawMessage {
	counts := object{"day": "2026-11-21", "done": 0, "refused": 0, "unknown": 0}
	for _, e := range d.journal {
		if n, counted := counts[e["outcome"].(string)].(int); counted {
			counts[e["outcome"].(string)] = n + 1
		}
	}
	counts["unknown_total"] = counts["unknown"]
	d.state["seq"], d.state["time"], d.state["journal"] = d.seq, "2026-11-21T10:00:00+08:00", counts
	d.state["institution"] = object{"code": "H51010400001", "name": d.institute, "area": "510104"}
	b, err := json.Marshal(d.state)
	if err != nil {
		panic(err)
	}
	return b
}

func (d *desk) handler() http.Handler {
	mux := http.NewServeMux()
	files := http.FileServerFS(web.Files())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", web.ContentSecurityPolicy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache")
		if r.URL.Path == "/" {
			d.mu.Lock()
			http.SetCookie(w, &http.Cookie{Name: "onecard_page", Value: d.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
			d.mu.Unlock()
		}
		files.ServeHTTP(w, r)
	})
	mux.HandleFunc("/v1/events", d.events)
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		d.mu.Lock()
		if r.URL.Path != "/v1/state" && r.URL.Path != "/v1/catalogue" {
			d.requests = append(d.requests, r.Method+" "+r.URL.Path)
		}
		door := d.doors[r.URL.Path]
		d.mu.Unlock()
		if door != nil {
			select {
			case <-door:
			case <-r.Context().Done():
				return
			}
		}
		var in object
		if r.Method != http.MethodGet {
			if r.Header.Get("Content-Type") != "application/json" || json.Unmarshal(body, &in) != nil {
				answer(w, 400, object{"fault": failure("OC-3004", "请求内容不正确。", "The request is not valid.", "")})
				return
			}
		}
		status, out := d.serve(r, in)
		if status == 0 {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		answer(w, status, out)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		down, cookie := d.down, d.cookie
		d.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		own := "http://" + r.Host
		if o := r.Header.Get("Origin"); o != "" && o != own {
			answer(w, 403, object{"fault": failure("OC-3002", "拒绝来自其他网站的请求。", "Foreign origin.", "")})
			return
		}
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			if c, err := r.Cookie("onecard_page"); err != nil || c.Value != cookie {
				answer(w, 401, object{"fault": failure("OC-3001", "缺少访问令牌或令牌不正确。", "Token missing or wrong.", "")})
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, out any) {
	if out == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // the page may be gone
}

func (d *desk) events(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	d.mu.Lock()
	d.streams[conn] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.streams, conn)
		d.mu.Unlock()
		conn.CloseNow()
	}()
	ctx := conn.CloseRead(context.Background())
	for {
		d.mu.Lock()
		document, changed := d.document(), d.changed
		d.mu.Unlock()
		if wsjson.Write(ctx, conn, object{"type": "state", "state": document}) != nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// serve is the API behind the guard. Status 0 breaks the connection.
func (d *desk) serve(r *http.Request, in object) (int, any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.publish()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	refuse := func(status int, code, zh, en string) (int, any) {
		return status, object{"fault": failure(code, zh, en, "")}
	}
	ready := d.reader()["state"] == "ready"
	visit, _ := d.state["visit"].(object)
	switch {
	case path == "state":
		return 200, d.document()
	case path == "catalogue":
		items := []object{}
		for _, i := range []object{{"code": "110100001", "name": "门诊诊察费", "price": "20.00"}, {"code": "XA01", "name": "硝苯地平控释片", "price": "28.50"}} {
			if strings.HasPrefix(i["code"].(string), r.URL.Query().Get("q")) {
				items = append(items, i)
			}
		}
		return 200, object{"items": items}
	case strings.HasPrefix(path, "readers/r1/") && !ready:
		return refuse(409, "OC-1101", "读卡器中没有卡。", "There is no card in the reader.")
	case path == "readers/r1/identity":
		return 200, object{"card": object{"version": "3.00"}, "holder": d.holder, "authenticated": true}
	case path == "readers/r1/pin/verify":
		pin := d.card["pin"].(object)
		if d.pin == "wrong" {
			pin["tries_left"] = pin["tries_left"].(int) - 1
			f := failure("OC-1301", "密码错误。", "The PIN is wrong.", "")
			f["tries_left"] = pin["tries_left"]
			return 403, object{"fault": f}
		}
		pin["verified"], pin["tries_left"] = true, 6
		return 200, object{"verified": true}
	case strings.HasPrefix(path, "readers/r1/files/"):
		if d.card["pin"].(object)["verified"] != true {
			return refuse(403, "OC-1304", "需要先输入密码。", "The PIN is needed first.")
		}
		return 200, object{"file": d.files[strings.TrimPrefix(path, "readers/r1/files/")]}
	case path == "visits" && r.Method == http.MethodGet:
		return 200, object{"visits": d.aside}
	case strings.HasSuffix(path, "/set-aside"):
		visit["set_aside"] = true
		d.aside = append(d.aside, visit)
		d.state["visit"] = nil
		return 200, visit
	case strings.HasSuffix(path, "/resume"):
		for i, v := range d.aside {
			if strings.Contains(path, v["id"].(string)) {
				d.aside = slices.Delete(d.aside, i, i+1)
				v["set_aside"] = false
				d.state["visit"] = v
				return 200, v
			}
		}
		return refuse(404, "OC-2303", "没有该就诊。", "There is no such visit.")
	case strings.HasPrefix(path, "journal/") && strings.HasSuffix(path, "/refund"):
		return d.refund(strings.TrimSuffix(strings.TrimPrefix(path, "journal/"), "/refund"), in)
	case path == "visits" && r.Method == http.MethodPost:
		if !ready || d.card["authenticated"] != true {
			return refuse(403, "OC-1408", "卡片尚未通过认证，不能结算。", "The card is not authenticated.")
		}
		usual := d.state["counter"].(object)
		visit = object{"id": fmt.Sprintf("V20261121-%04d", len(d.journal)+1), "state": "registered", "reader": "r1", "opened": "2026-11-21T10:00:00+08:00", "holder": object{"name": d.card["holder"].(object)["name"]},
			"person":   object{"insutype": object{"code": "310", "zh": "职工基本医疗保险", "en": "Employees' basic medical insurance"}, "psn_type": object{"code": "12", "zh": "退休人员", "en": "retired"}, "balance": "1234.56", "area": "510100"},
			"mdtrt_id": "M0001", "med_type": usual["med_type"], "department": usual["department"], "doctor": usual["doctor"], "diagnoses": usual["diagnoses"], "lines": []object{}, "total": "0.00", "trial": nil, "receipt": nil, "fault": nil, "next": []string{"lines", "set-aside", "abandon"}}
		for _, field := range []string{"department", "doctor", "diagnoses", "kind", "bed", "begin"} {
			if in[field] != nil {
				visit[field] = in[field]
			}
		}
		d.state["visit"] = visit
		return 200, visit
	case strings.HasPrefix(path, "visits/") && visit == nil:
		return refuse(404, "OC-2303", "没有该就诊。", "There is no such visit.")
	case strings.HasSuffix(path, "/discharge"):
		visit["discharged"], visit["next"] = "2026-11-21T10:00:30+08:00", []string{"trial", "settle", "readmit", "set-aside", "abandon"}
		return 200, visit
	case strings.HasSuffix(path, "/readmit"):
		visit["discharged"], visit["next"] = nil, []string{"lines", "trial", "discharge", "set-aside", "abandon"}
		return 200, visit
	case strings.HasSuffix(path, "/lines"):
		return d.putLines(visit, in)
	case strings.HasSuffix(path, "/trial"):
		if !slices.Contains(visit["next"].([]string), "trial") {
			return refuse(409, "OC-2302", "当前步骤不能执行该操作。", "Not at this step.")
		}
		next := visit["next"]
		if trial(visit); visit["kind"] == "inpatient" && visit["discharged"] == nil {
			visit["next"] = []string{"lines", "trial", "discharge", "set-aside", "abandon"}
		} else if visit["kind"] == "inpatient" {
			visit["next"] = next
		}
		return 200, visit
	case strings.HasSuffix(path, "/settle"):
		return d.settle(visit, in)
	case strings.HasPrefix(path, "visits/") && r.Method == http.MethodDelete:
		d.state["visit"] = nil
		return 204, nil
	case path == "journal":
		entries, totals := []object{}, object{"done": 0, "refused": 0, "unknown": 0}
		var sums [4]int64
		for _, e := range slices.Backward(d.journal) {
			if o := r.URL.Query().Get("outcome"); o == "" || o == e["outcome"] {
				entries = append(entries, e)
			}
			totals[e["outcome"].(string)] = totals[e["outcome"].(string)].(int) + 1
			if e["outcome"] == "done" {
				for i, part := range []string{"total", "fund", "account", "cash"} {
					sums[i] += fenOf(e[part].(string))
				}
			}
		}
		for i, part := range []string{"total", "fund", "account", "cash"} {
			totals[part] = yuan(sums[i])
		}
		return 200, object{"day": "2026-11-21", "entries": entries, "totals": totals}
	case strings.HasPrefix(path, "journal/") && r.Method == http.MethodPost:
		return d.resolve(path, in)
	case strings.HasPrefix(path, "journal/"):
		for _, e := range d.journal {
			if fmt.Sprint(e["id"]) == strings.TrimPrefix(path, "journal/") {
				return 200, e
			}
		}
		return refuse(404, "OC-2308", "日志中没有该记录。", "There is no such entry.")
	}
	return refuse(404, "OC-3006", "没有该接口。", "No such resource.")
}
