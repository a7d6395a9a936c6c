package centersim

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// books makes one row of every state: a settlement that stands, one that was
// refunded, one that was reversed.
func books(t *testing.T, config Config) (*Center, *desk) {
	t.Helper()
	c := start(t, config)
	d := newDesk(c)
	d.signIn(t)
	d.settleOne(t, "张三", "=MZ1", "300")
	v, _, info := d.settleOne(t, "王秀英", "MZ2", "300")
	d.call(t, "2208", v.area, v.refundInput(info.text("setl_id")))
	v, _, info = d.settleOne(t, "欧阳海燕", "MZ3", "300")
	d.call(t, "2601", v.area, v.reverseInput(info.text("medins_setl_id"), "2207"))
	return c, d
}

func get(c *Center, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:5000", "127.0.0.1:8760"
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, r)
	return w
}

// TestSettlementList: what another process sees of the ledger while the centre
// runs is what is booked, linked and loudly a simulator's.
func TestSettlementList(t *testing.T) {
	c, d := books(t, Config{})
	var a struct {
		Simulator   bool
		Notice      string
		Settlements []Settlement
	}
	w := get(c, "/sim/settlements")
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || !a.Simulator || !strings.Contains(a.Notice, "SIMULATOR") || w.Header().Get(loud) == "" {
		t.Fatalf("%v %v %s", err, w.Header(), w.Body)
	}
	got := ""
	for _, x := range a.Settlements {
		got += string(x.State) + " "
		if x.MsgID == "" || x.SetlID == "" || x.MdtrtID == "" || x.Total != x.Fund+x.Person || x.Person != x.Account+x.Cash || x.Total != x.Full+x.Over+x.PreSelf+x.InScope {
			t.Errorf("%+v", x)
		}
	}
	if want := "settled refunded refund reversed reversal "; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	s := a.Settlements
	if s[1].RefundedBy != s[2].SetlID || s[2].Refunds != s[1].SetlID || s[3].RefundedBy != s[4].SetlID || s[4].Refunds != s[3].SetlID || s[0].RefundedBy != "" {
		t.Errorf("the links: %+v", s)
	}
	if s[2].Total != -s[1].Total || s[4].Cash != -s[3].Cash || s[0].IptOtpNo != "=MZ1" || s[0].ClrType != "11" {
		t.Errorf("%+v", s)
	}
	for query, want := range map[string]int{
		"?msgid=" + s[1].MsgID: 1, "?mdtrt_id=" + s[3].MdtrtID: 2, "?setl_id=" + s[4].SetlID: 1, "?state=reversal": 1, "?fixmedins_code=H51010000001": 5,
		"?fixmedins_code=H51010000002": 0, "?state=refunded&mdtrt_id=" + s[3].MdtrtID: 0, "?msgid=": 0,
	} {
		a.Settlements = nil
		if err := json.Unmarshal(get(c, "/sim/settlements"+query).Body.Bytes(), &a); err != nil || len(a.Settlements) != want {
			t.Errorf("%s: %d rows, %v", query, len(a.Settlements), err)
		}
	}
	for _, bad := range []string{"?format=xml", "?msgId=1"} {
		if w := get(c, "/sim/settlements"+bad); w.Code != 400 {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
	// Nothing is listed that is not on the disk.
	c.ledger.store = &fileStore{file: &disk{syncs: errors.New("gone")}}
	e := d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})
	d.post(callService, encode(e))
	for _, path := range []string{"/sim/settlements", "/sim/ledger"} {
		if w := get(c, path); w.Code != 503 {
			t.Errorf("%s after a failed flush: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestExports: the same rows as CSV, over HTTP and from the file, while the
// centre holds the ledger and after it.
func TestExports(t *testing.T) {
	name := filepath.Join(t.TempDir(), "l")
	c, d := books(t, Config{Ledger: name})
	export := func(f Format) string {
		t.Helper()
		var b bytes.Buffer
		if err := Export(Config{Ledger: name}, f, &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	table := get(c, "/sim/settlements?format=csv").Body.String()
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil || len(rows) != 6 {
		t.Fatalf("%v %s", err, table)
	}
	at := map[string]int{}
	for i, column := range rows[0] {
		at[column] = i
	}
	first := c.Settlements()[0]
	for column, want := range map[string]string{
		"simulator": "true", "setl_id": first.SetlID, "state": "settled", "ipt_otp_no": "'=MZ1", "medfee_sumamt": fen(first.Total).yuan(),
		"psn_cash_pay": fen(first.Cash).yuan(), "setl_time": "2026-05-20 12:00:00", "msgid": first.MsgID,
	} {
		if got := rows[1][at[column]]; got != want {
			t.Errorf("%s is %q, want %q", column, got, want)
		}
	}
	if got := rows[3][at["psn_cash_pay"]]; !strings.HasPrefix(got, "-") {
		t.Errorf("a refund of %s", got)
	}
	if export(FormatCSV) != table {
		t.Error("the CSV of the file is another than that of the running centre")
	}
	lines := get(c, "/sim/ledger")
	if lines.Header().Get("Content-Type") != "application/x-ndjson" || export(FormatLines) != lines.Body.String() {
		t.Error("the lines of the file are others than those of the running centre")
	}
	if n := strings.Count(lines.Body.String(), "\n"); int64(n) != c.ledger.seq {
		t.Errorf("%d lines, %d bookings", n, c.ledger.seq)
	}
	var list struct{ Settlements []Settlement }
	if err := json.Unmarshal([]byte(export(FormatJSON)), &list); err != nil || !bytes.Equal(encode(list.Settlements), encode(c.Settlements())) {
		t.Errorf("JSON: %v", err)
	}
	// Exporting took nothing away and kept nobody out.
	d.signIn(t)
	for _, x := range []struct {
		config Config
		format Format
		is     error
	}{
		{Config{}, FormatCSV, ErrConfig}, {Config{Ledger: name}, "xml", ErrConfig}, {Config{Ledger: name + "-none"}, FormatCSV, nil},
		{Config{Ledger: name, Data: fstest.MapFS{"people.json": {Data: []byte(`{"people":[]}`)}}}, FormatCSV, ErrLedger},
	} {
		if err := Export(x.config, x.format, &bytes.Buffer{}); err == nil || (x.is != nil && !errors.Is(err, x.is)) {
			t.Errorf("%+v %s: %v", x.config, x.format, err)
		}
	}
	if w := get(start(t, Config{}), "/sim/ledger"); w.Code != 404 {
		t.Errorf("a centre without a ledger: %d", w.Code)
	}
}
