package centersim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// statement is the institution's own list: what it would send.
type statement struct {
	rows                 []string
	total, fund, account fen
}

func (s *statement) add(id, visit, psn string, total, fund, account fen, refund string) {
	s.rows = append(s.rows, strings.Join([]string{id, visit, psn, total.yuan(), fund.yuan(), account.yuan(), refund}, "\t"))
	s.total, s.fund, s.account = s.total+total, s.fund+fund, s.account+account
}

func (s *statement) addRow(x Settlement) {
	refund := "0"
	if x.Refunds != "" {
		refund = "1"
	}
	s.add(x.SetlID, x.MdtrtID, x.PsnNo, fen(x.Total), fen(x.Fund), fen(x.Account), refund)
}

func (s *statement) input(change ...any) msg {
	return msg{"data": with(msg{
		"insutype": "310", "clr_type": "11", "setl_optins": "510100", "stmt_begndate": "2026-05-20", "stmt_enddate": "2026-05-20",
		"medfee_sumamt": num(s.total), "fund_pay_sumamt": num(s.fund), "acct_pay": num(s.account), "cash_payamt": 0,
		"fixmedins_setl_cnt": len(s.rows), "fixmedins_refd_setl_flag": "0",
	}, change...)}
}

func (s *statement) zip(t fataler) []byte {
	content, err := zipped("stmt.txt", []byte(strings.Join(s.rows, "\n")))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return content
}

func (d *desk) upload(t fataler, name string, content any) string {
	t.Helper()
	o := d.call(t, "9101", "", msg{"fsUploadIn": msg{"in": content, "filename": name, "fixmedins_code": "H51010000001"}})
	return o["file_qury_no"].(string)
}

// results uploads, compares and fetches the rows that do not agree.
func (d *desk) results(t fataler, s *statement, change ...any) [][]string {
	t.Helper()
	no := d.upload(t, "stmt.zip", base64.StdEncoding.EncodeToString(s.zip(t)))
	o := d.call(t, "3202", "", s.input(append(change, "file_qury_no", no)...))
	info := record(o["fileinfo"].(map[string]any))
	w := d.post(paths["9102"], encode(d.envelope("9102", "", msg{"fsDownloadIn": msg{
		"file_qury_no": info.text("file_qury_no"), "filename": info.text("filename"), "fixmedins_code": "H51010000001"}})))
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/octet-stream" {
		t.Fatalf("9102 answers %d %s %s", w.Code, w.Header(), w.Body)
	}
	text, err := unzip(w.Body.Bytes())
	if err != nil {
		t.Fatalf("%v", err)
	}
	var rows [][]string
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if line != "" {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	return rows
}

func verdict(t fataler, output msg) string {
	t.Helper()
	return record(output["stmtinfo"].(map[string]any)).text("stmt_rslt")
}

// TestStatements: totals and details agree with what was booked, and name every
// kind of difference.
func TestStatements(t *testing.T) {
	k := noon()
	config := Config{Now: k.now, Ledger: filepath.Join(t.TempDir(), "ledger")}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { c.Close() }()
	d := newDesk(c)
	d.signIn(t)
	v, _, info := d.settleOne(t, "张三", "MZ1", "300")
	d.call(t, "2208", v.area, v.refundInput(info.text("setl_id")))
	d.settleOne(t, "欧阳海燕", "MZ2", "1000")
	d.settleOne(t, "王秀英", "MZ3", "100") // 390
	b := d.c.Settlements()
	all := &statement{}
	for _, x := range b[:3] {
		all.addRow(x)
	}
	o := d.call(t, "3201", "", all.input())
	if verdict(t, o) != "0" {
		t.Errorf("3201 %v", o)
	}
	for _, change := range [][]any{
		{"medfee_sumamt", json.Number("1000.01")}, {"acct_pay", 0}, {"fund_pay_sumamt", 1}, {"fixmedins_setl_cnt", 4},
		{"stmt_begndate", "2026-05-21", "stmt_enddate", "2026-05-21"}, {"insutype", "390"}, {"clr_type", "41"},
		{"setl_optins", "410100"}, {"refd_setl_flag", "1"},
	} {
		if o := d.call(t, "3201", "", all.input(change...)); verdict(t, o) != "1" {
			t.Errorf("%v balances: %v", change, o)
		}
	}
	if o := d.call(t, "3201", "", (&statement{}).input("clr_type", "41")); verdict(t, o) != "0" {
		t.Errorf("nothing on both sides: %v", o)
	}
	d.refused(t, d.envelope("3201", "", all.input("stmt_enddate", "2026-05-19")), "早于")
	d.refused(t, d.envelope("3201", "", all.input("refd_setl_flag", "2")), "refd_setl_flag")

	all.addRow(b[3])
	if rows := d.results(t, all); rows != nil {
		t.Errorf("differences of equal lists: %v", rows)
	}
	some := &statement{}
	some.addRow(b[0])
	some.add(b[2].SetlID, b[2].MdtrtID, b[2].PsnNo, fen(b[2].Total), fen(b[2].Fund), fen(b[2].Account)+1, "0")
	some.addRow(b[3])
	some.add("OURS", "M", "P", 700, 0, 0, "0")
	want := [][]string{
		{"P", "M", "OURS", "null", "1", "0", "中心无此结算", "7.00", "0.00", "0.00"},
		{b[1].PsnNo, b[1].MdtrtID, b[1].SetlID, b[1].MsgID, "1", "1", "机构无此结算", "-300.00", fen(b[1].Fund).yuan(), fen(b[1].Account).yuan()},
		{b[2].PsnNo, b[2].MdtrtID, b[2].SetlID, b[2].MsgID, "1", "0", "金额或标识不一致", "1000.00", fen(b[2].Fund).yuan(), fen(b[2].Account).yuan()},
	}
	if rows := d.results(t, some); fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("differences\n%v, want\n%v", rows, want)
	}
	if rows := d.results(t, some, "stmt_begndate", "2026-05-19", "stmt_enddate", "2026-05-19"); len(rows) != 4 || rows[0][6] != "不在本次对账范围内" || rows[3][6] != "中心无此结算" {
		t.Errorf("another day: %v", rows)
	}

	// Files survive a restart and end after a week.
	no := d.upload(t, "s.zip", base64.StdEncoding.EncodeToString(all.zip(t)))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = New(config); err != nil {
		t.Fatal(err)
	}
	k.t = k.t.Add(time.Second)
	d = newDesk(c)
	d.signIn(t)
	d.call(t, "3202", "", all.input("file_qury_no", no))
	get := func(change ...any) msg {
		return msg{"fsDownloadIn": with(msg{"file_qury_no": no, "filename": "s.zip", "fixmedins_code": "H51010000001"}, change...)}
	}
	d.refused(t, d.envelope("9102", "", get("filename", "t.zip")), "filename")
	d.refused(t, d.envelope("9102", "", get("file_qury_no", "7")), "不存在")
	k.t = k.t.AddDate(0, 0, fileDays)
	d.signIn(t)
	d.refused(t, d.envelope("9102", "", get()), "下载截止时间")
}

// TestStatementFiles: what cannot be read is refused and says which line.
func TestStatementFiles(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	s := &statement{}
	s.add("1", "2", "3", 100, 50, 0, "0")
	encodeZip := func(text string) string {
		content, err := zipped("x.txt", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(content)
	}
	good := s.rows[0]
	for _, x := range []struct{ content, why string }{
		{base64.StdEncoding.EncodeToString([]byte("PK nothing")), "zip"},
		{encodeZip("1\t2\t3"), "第1行有3列"},
		{encodeZip(good + "\n" + good), "第2行结算ID重复"},
		{encodeZip(strings.Replace(good, "1.00", "1.001", 1)), "第1行金额字段[medfee_sumamt]"},
		{encodeZip("null" + good[1:]), "第1行结算ID为空"},
		{encodeZip(strings.TrimSuffix(good, "0") + "2"), "退费结算标志"},
		{encodeZip("\xff"), "UTF-8"},
		{encodeZip(strings.Repeat("x", maxUnzipped+1)), "解压后"},
		{encodeZip(strings.Replace(good, "1.00", "2.00", 1)), "合计与交易输入不一致"},
		{encodeZip(""), "合计与交易输入不一致"},
	} {
		no := d.upload(t, "f.zip", x.content)
		d.refused(t, d.envelope("3202", "", s.input("file_qury_no", no)), x.why)
	}
	d.refused(t, d.envelope("3202", "", s.input("file_qury_no", "1")), "不存在")
	for _, content := range []any{"", "***", []int{256}, []int{}, []string{"a"}, true} {
		e := d.envelope("9101", "", msg{"fsUploadIn": msg{"in": content, "filename": "f", "fixmedins_code": "H51010000001"}})
		d.refused(t, e, "in")
	}
	// A list of bytes, signed as some languages have them, is read, too.
	var list []int
	for _, b := range s.zip(t) {
		list = append(list, int(int8(b)))
	}
	no := d.upload(t, "f.zip", list)
	d.call(t, "3202", "", s.input("file_qury_no", no))
}

// TestReversedHidden: a centre may leave out what was reversed.
func TestReversedHidden(t *testing.T) {
	policy, err := embedded.ReadFile("data/policy.json")
	if err != nil {
		t.Fatal(err)
	}
	for hidden, want := range map[bool]int{false: 4, true: 2} {
		text := strings.Replace(string(policy), `"institutions"`, fmt.Sprintf(`"reversed_hidden": %v, "institutions"`, hidden), 1)
		d := newDesk(start(t, Config{Data: fstest.MapFS{"policy.json": {Data: []byte(text)}}}))
		d.signIn(t)
		v, _, info := d.settleOne(t, "张三", "MZ1", "300")
		d.call(t, "2601", v.area, v.reverseInput(info.text("medins_setl_id"), "2207"))
		v, _, info = d.settleOne(t, "张三", "MZ2", "300")
		d.call(t, "2208", v.area, v.refundInput(info.text("setl_id")))
		s := &statement{rows: make([]string, want)}
		if o := d.call(t, "3201", "", s.input()); verdict(t, o) != "0" {
			t.Errorf("hidden %v: %v", hidden, o)
		}
	}
}

// FuzzStatement: no uploaded file makes the centre fall over, and every row
// that was read is in the result or agrees.
func FuzzStatement(f *testing.F) {
	for _, text := range []string{"1\t2\t3\t1.00\t0.50\t0\t0", "1\t2\t3\t-1.00\t0.50\t0\t1\r\nnull\tnull", "", "\n\n", "\xef\xbb\xbf"} {
		content, err := zipped("x", []byte(text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte("PK"))
	c, err := New(Config{Now: noon().now})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	f.Fuzz(func(t *testing.T, content []byte) {
		rows, err := readStatement(content)
		if err != nil {
			return
		}
		text := string(c.differences(scope{}, rows))
		if n := strings.Count(text, "\n"); n != len(rows) {
			t.Fatalf("%d rows, %d differences: %q", len(rows), n, text)
		}
		for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			if len(rows) > 0 && strings.Count(line, "\t") != 9 {
				t.Fatalf("%q", line)
			}
		}
	})
}

// FuzzUploadedFile sends whatever file by 9101, whatever its name, and compares
// it by 3202: it is refused in words, or its result can be fetched and read.
func FuzzUploadedFile(f *testing.F) {
	c, err := New(Config{Now: noon().now})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	d := newDesk(c)
	d.signIn(f)
	v, _, info := d.settleOne(f, "张三", "MZ1", "300")
	for _, rows := range [][]string{
		{info.text("setl_id") + "\t" + v.mdtrtID + "\t" + v.p.PsnNo + "\t300.00\t0.00\t80.00\t0"},
		{"1\t2\t3\t1.00\t0.50\t0\t0", "2\t2\t3\t-1.00\t-0.50\t0\t1"}, {"null\tnull"}, {}, {"=1+1\t2\t3\t9999999999.99\t0\t0\t0"},
	} {
		for _, name := range []string{"s.zip", "../../etc/passwd", "\"\r\nX: y", ""} {
			content := (&statement{rows: rows}).zip(f)
			f.Add(name, content)
			f.Add(name, content[:len(content)-3])
		}
	}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		a := d.send(t, d.envelope("9101", "", msg{"fsUploadIn": msg{"in": content, "filename": name, "fixmedins_code": "H51010000001"}}))
		d.n %= 9000
		if a["infcode"] != json.Number("0") {
			if text, _ := a["err_msg"].(string); text == "" {
				t.Fatalf("9101 refuses without words: %v", a)
			}
			return
		}
		number := a["output"].(map[string]any)["file_qury_no"].(string)
		// The sums that make it past the head of the request are the file's own.
		st := &statement{}
		if rows, err := readStatement(content); err == nil {
			for _, x := range rows {
				st.add(x.setlID, x.mdtrtID, x.psnNo, x.total, x.fund, x.account, x.refund)
				if st.total > maxFen || st.total < -maxFen || st.fund > maxFen || st.fund < -maxFen || st.account > maxFen || st.account < -maxFen {
					return
				}
			}
		}
		a = d.send(t, d.envelope("3202", "", st.input("file_qury_no", number)))
		if a["infcode"] != json.Number("0") {
			if text, _ := a["err_msg"].(string); text == "" || strings.Contains(text, "不一致") && len(st.rows) > 0 {
				t.Fatalf("3202: %v", a)
			}
			return
		}
		result := record(a["output"].(map[string]any)["fileinfo"].(map[string]any))
		w := d.post(paths["9102"], encode(d.envelope("9102", "", msg{"fsDownloadIn": msg{
			"file_qury_no": result.text("file_qury_no"), "filename": result.text("filename"), "fixmedins_code": "H51010000001"}})))
		if w.Header().Get("Content-Type") != "application/octet-stream" {
			t.Fatalf("9102: %s", w.Body)
		}
		text, err := unzip(w.Body.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for row := range strings.Lines(string(text)) {
			if strings.Count(row, "\t") != 9 {
				t.Fatalf("a row of the result: %q", row)
			}
		}
		if c.ledger.failure() != nil {
			t.Fatal(c.ledger.failure())
		}
	})
}
