package centersim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// twoProvinces are two centres, each a server on an address of its own, that
// route to each other: Sichuan (51) and Henan (41).
type twoProvinces struct {
	base map[string]string             // by the two digits
	stop map[string]context.CancelFunc // each returns when its server has ended
}

func startProvinces(t *testing.T, data map[string]fstest.MapFS) *twoProvinces {
	t.Helper()
	p := &twoProvinces{base: map[string]string{}, stop: map[string]context.CancelFunc{}}
	listeners := map[string]net.Listener{}
	for _, area := range []string{"51", "41"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[area], p.base[area] = l, "http://"+l.Addr().String()
	}
	for area, other := range map[string]string{"51": "41", "41": "51"} {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		config := Config{Now: noon().now, Areas: []string{area}, Routes: map[string]string{other: p.base[other]}, Ledger: t.TempDir() + "/l"}
		if d := data[area]; d != nil {
			config.Data = d
		}
		go func() { ended <- Serve(ctx, listeners[area], config) }()
		stopped := false
		p.stop[area] = func() {
			if cancel(); !stopped {
				stopped = true
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}
		t.Cleanup(p.stop[area])
	}
	return p
}

// counter is a desk whose requests go over the wire to one of the centres.
func (p *twoProvinces) counter(t *testing.T, area, institution string) *desk {
	t.Helper()
	c := start(t, Config{}) // its people and its clock; it is asked nothing
	d := &desk{c: c, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var e msg
		if err := json.Unmarshal(body, &e); err != nil {
			t.Error(err)
		}
		if e["fixmedins_code"] == "H51010000001" {
			e["fixmedins_code"], e["mdtrtarea_admvs"] = institution, area+"0100"
			e["msgid"] = institution + e["msgid"].(string)[12:]
		}
		body = encode(e)
		a, err := http.Post(p.base[area]+callService, "application/json", bytes.NewReader(body))
		if err != nil {
			w.WriteHeader(http.StatusBadGateway) // no answer
			return
		}
		defer a.Body.Close()
		w.WriteHeader(a.StatusCode)
		if _, err := io.Copy(w, a.Body); err != nil {
			t.Error(err)
		}
	})}
	d.signIn(t)
	return d
}

func (p *twoProvinces) fault(t *testing.T, area, fault string) {
	t.Helper()
	a, err := http.Post(p.base[area]+"/sim/faults", "application/json", bytes.NewReader(encode(msg{"order": []string{fault}})))
	if err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", a, err)
	}
	a.Body.Close()
}

func (p *twoProvinces) booked(t *testing.T, area string) []Settlement {
	t.Helper()
	a, err := http.Get(p.base[area] + "/sim/settlements")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	var list struct{ Settlements []Settlement }
	if err := json.NewDecoder(a.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list.Settlements
}

// TestTwoProvinces: each centre answers for its own people and hands the
// others' on; every booking is in one ledger, every institution can reconcile.
func TestTwoProvinces(t *testing.T) {
	p := startProvinces(t, nil)
	chengdu := p.counter(t, "51", "H51010000001")
	zhengzhou := p.counter(t, "41", "H41010000001")
	visit := func(d *desk, name, otp string) (v *aVisit, s sums) {
		t.Helper()
		_, id := d.patient(name)
		// The person first, by card and without a place of insurance.
		o := d.call(t, "1101", "", msg{"data": id})
		if got := o["baseinfo"].(map[string]any)["psn_name"]; got != name {
			t.Fatalf("1101 answers %v", got)
		}
		v = d.register(t, name, otp)
		return v, sumsOf(t, d.call(t, "2204", v.area, v.feeInput("B1", fee{"001109000010000-110900001", "40", "10", "400"})))
	}
	v, s := visit(chengdu, "张三", "CD1") // insured in Henan
	first := setlinfo(chengdu.call(t, "2207", v.area, v.settleInput("B1", s, true)))
	checkIdentities(t, first)
	if n := len(p.booked(t, "51")); n != 0 {
		t.Errorf("%d booked in Sichuan, whose person it is not", n)
	}
	rows := p.booked(t, "41")
	if len(rows) != 1 || rows[0].SetlID != first.text("setl_id") || rows[0].OutType != "2" || rows[0].Institution != "H51010000001" || rows[0].MsgID != first.text("medins_setl_id") {
		t.Fatalf("booked in Henan: %+v", rows)
	}
	// His deductible is used up at home, too; she is one of Sichuan's own.
	v, s = visit(zhengzhou, "张三", "ZZ1")
	if info := setlinfo(zhengzhou.call(t, "2207", v.area, v.settleInput("B1", s, true))); info.text("act_pay_dedc") != "0.00" {
		t.Errorf("a second deductible: %v", info)
	}
	hers, s := visit(chengdu, "欧阳海燕", "CD2")
	chengdu.call(t, "2207", hers.area, hers.settleInput("B1", s, true))
	if n := len(p.booked(t, "51")); n != 1 {
		t.Errorf("%d booked in Sichuan", n)
	}
	// Nobody knows the third province; nobody asks without a sign-in.
	_, id := chengdu.patient("王秀英")
	chengdu.refused(t, chengdu.envelope("1101", "", msg{"data": id}), "参保地[330100]未接入")
	_, id = chengdu.patient("张三")
	chengdu.refused(t, with(chengdu.envelope("1101", "410100", msg{"data": id}), "sign_no", ""), "9001")
	chengdu.refused(t, chengdu.envelope("1101", "", msg{"data": with(id, "mdtrt_cert_type", "02", "mdtrt_cert_no", id["certno"], "card_sn", "")}), "未查询到")

	// A refusal of the other centre arrives as it is.
	v, s = visit(chengdu, "张三", "CD3")
	p.fault(t, "41", "2207:refuse=基金账户异常")
	chengdu.refused(t, chengdu.envelope("2207", v.area, v.settleInput("B1", s, true)), "基金账户异常")
	// An answer that is lost between the centres is lost for the hospital; it
	// looks it up and reverses it through its own centre.
	p.fault(t, "41", "2207:drop-after")
	e := chengdu.envelope("2207", v.area, v.settleInput("B1", s, true))
	if w := chengdu.post(callService, encode(e)); w.Code != 500 || !strings.Contains(w.Body.String(), "结果未知") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	chengdu.call(t, "2601", v.area, v.reverseInput(e["msgid"].(string), "2207"))
	// The same lost between hospital and centre.
	p.fault(t, "51", "2207:drop-after")
	e = chengdu.envelope("2207", v.area, v.settleInput("B1", s, true))
	if w := chengdu.post(callService, encode(e)); w.Code != http.StatusBadGateway {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	rows = p.booked(t, "41")
	if last := rows[len(rows)-1]; last.MsgID != e["msgid"] || last.State != StateSettled || rows[len(rows)-2].State != StateReversal {
		t.Errorf("%+v", rows)
	}
	// Spoiled on the way by the hospital's own centre.
	p.fault(t, "51", "5203:sloppy")
	found := chengdu.send(t, chengdu.envelope("5203", v.area, msg{"data": msg{"psn_no": v.p.PsnNo, "setl_id": rows[0].SetlID, "mdtrt_id": rows[0].MdtrtID}}))
	if found["infcode"] != "0" {
		t.Errorf("5203: %v", found)
	}

	// The hospital reconciles with its own centre, over both ledgers.
	st := &statement{}
	for _, x := range slices.Concat(p.booked(t, "51"), rows) {
		if x.Institution == "H51010000001" {
			st.addRow(x)
		}
	}
	if len(st.rows) != 5 { // hers, his, the reversed one with its reversal, the last
		t.Fatalf("%d rows", len(st.rows))
	}
	if got := verdict(t, chengdu.call(t, "3201", "", st.input())); got != "0" {
		t.Errorf("3201 says %s", got)
	}
	st.rows = st.rows[1:]
	if got := verdict(t, chengdu.call(t, "3201", "", st.input())); got != "1" {
		t.Errorf("3201 of a row less says %s", got)
	}
	// Without the other centre nothing is told that could be wrong.
	p.stop["41"]()
	chengdu.refused(t, chengdu.envelope("2207", v.area, v.settleInput("B1", s, true)), "未受理")
	chengdu.refused(t, chengdu.envelope("3201", "", st.input()), "异地结算数据暂不可用")
	visit(chengdu, "欧阳海燕", "CD9")
}

// TestForwarding: what is handed on is handed on once, between programs of
// this machine.
func TestForwarding(t *testing.T) {
	p := startProvinces(t, nil)
	d := p.counter(t, "51", "H51010000001")
	_, id := d.patient("张三")
	e := encode(d.envelope("1101", "410100", msg{"data": id}))
	a, err := http.Post(p.base["51"]+forwardPath, "application/json", bytes.NewReader(e))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if b, err := io.ReadAll(a.Body); err != nil || !bytes.Contains(b, []byte("未接入")) || a.Header.Get(loud) == "" {
		t.Errorf("handed on twice: %s %v", b, err)
	}
	for _, path := range []string{forwardPath, rowsPath} {
		method := map[string]string{forwardPath: "POST", rowsPath: "GET"}[path]
		r, err := http.NewRequest(method, p.base["51"]+path, bytes.NewReader(e))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", "http://evil.example")
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != http.StatusForbidden {
			t.Errorf("%s from a page: %d", path, a.StatusCode)
		}
	}
	for _, c := range []Config{
		{Areas: []string{"5"}}, {Areas: []string{"51"}, Routes: map[string]string{"5101": "http://127.0.0.1:1"}}, {Routes: map[string]string{"41": "http://127.0.0.1:1"}},
		{Areas: []string{"51"}, Routes: map[string]string{"41": "http://example.com"}}, {Areas: []string{"51"}, Routes: map[string]string{"41": "https://127.0.0.1:1"}},
		{Areas: []string{"51"}, Routes: map[string]string{"x": "http://127.0.0.1:1"}},
	} {
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
