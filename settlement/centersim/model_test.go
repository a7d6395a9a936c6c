package centersim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"
)

// TestMoney: whatever is charged, the four parts of every line and of every
// settlement add up, nobody pays a negative amount, and a bigger in-scope sum
// never costs the fund less.
func TestMoney(t *testing.T) {
	r, err := loadRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	codes := slices.Sorted(func(yield func(string) bool) {
		for code := range r.items {
			if !yield(code) {
				return
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		var lines []line
		for range rapid.IntRange(1, 20).Draw(t, "lines") {
			l := line{
				Price: rapid.Int64Range(1, 2000_000000).Draw(t, "price"), Quantity: rapid.Int64Range(1, 1000_0000).Draw(t, "quantity"),
				Approved: rapid.Bool().Draw(t, "approved"),
			}
			var ok bool
			if l.Amount, ok = times(l.Price, l.Quantity); !ok {
				t.Fatal("a small product is out of range")
			}
			l.split(r.items[rapid.SampledFrom(codes).Draw(t, "code")])
			if l.Full+l.OverLimit+l.PreSelf+l.InScope != l.Amount || l.Full < 0 || l.OverLimit < 0 || l.PreSelf < 0 || l.InScope < 0 {
				t.Fatalf("%+v", l)
			}
			lines = append(lines, l)
		}
		p := r.policy.Insurance[rapid.SampledFrom([]string{"310", "390"}).Draw(t, "insutype")]
		before := used{fen(rapid.Int64Range(0, 30000).Draw(t, "deducted")), fen(rapid.Int64Range(0, 600000).Draw(t, "funded"))}
		balance := fen(rapid.Int64Range(0, 200000).Draw(t, "balance"))
		also, account := rapid.Bool().Draw(t, "also"), rapid.Bool().Draw(t, "account")
		s := settlement{sums: sumOf(lines)}
		s.compute(&p.benefit, p.Account, "12", also, before, balance, account)
		fund := s.Fund + s.Supplement
		switch {
		case s.Total != s.Full+s.OverLimit+s.PreSelf+s.InScope, s.Total != fund+s.Person, s.Person != s.Account+s.Cash:
			t.Fatalf("does not add up: %+v", s)
		case min(s.Deductible, s.Fund, s.Supplement, s.Account, s.Cash, s.Balance) < 0:
			t.Fatalf("negative: %+v", s)
		case s.Fund > s.FundRoom || fund > s.InScope-s.Deductible || s.Balance != balance-s.Account || (!account && s.Account != 0):
			t.Fatalf("too much: %+v", s)
		}
		more := settlement{sums: s.sums}
		more.InScope += 10000
		more.Total += 10000
		more.compute(&p.benefit, p.Account, "12", also, before, balance, account)
		if more.Fund+more.Supplement < fund {
			t.Fatalf("%v in scope is paid %v, %v is paid %v", s.InScope, fund, more.InScope, more.Fund+more.Supplement)
		}
	})
}

// TestTimes compares the product with one in big steps by hand: long
// multiplication of the digits.
func TestTimes(t *testing.T) {
	for _, x := range []struct {
		price, quantity string
		want            string
	}{
		{"0.000001", "0.0001", "0.00"}, {"0.01", "0.5", "0.01"}, {"0.01", "0.4999", "0.00"}, {"2.345", "1", "2.35"},
		{"2.344999", "1", "2.34"}, {"1000000", "9999.9999", "9999999900.00"}, {"9999999999.99", "1", "9999999999.99"},
		{"9999999999.995", "1", "overflow"}, {"999999999999", "999999999999", "overflow"},
	} {
		p, _ := parseDecimal(x.price, priceScale)
		q, _ := parseDecimal(x.quantity, quantityScale)
		got, ok := times(p, q)
		if text := got.yuan(); (ok && text != x.want) || (!ok && x.want != "overflow") {
			t.Errorf("%s x %s = %s %v, want %s", x.price, x.quantity, text, ok, x.want)
		}
	}
}

// model is what a patient with a pocket calculator would know of a centre.
type model struct {
	d       *desk
	k       *clock
	config  Config // where the ledger is
	visits  []*aVisit
	open    map[string]sums // unsettled batches, "visit/batch"
	settled []string        // setl_id of every row, refunds included
	stand   []stands        // settlements that were not undone
	paid    map[string]fen  // by psn_no, from the account
	n       int
	asked   int // settlements when the accounts were last looked at
}

// stands is a settlement that can still be undone.
type stands struct {
	v     *aVisit
	batch string
	s     sums
	info  record
	infno string // that booked it
}

// anySettled draws a settlement that stands and forgets it.
func (m *model) anySettled(t *rapid.T) stands {
	if len(m.stand) == 0 {
		t.Skip("nothing to undo")
	}
	n := rapid.IntRange(0, len(m.stand)-1).Draw(t, "settlement")
	x := m.stand[n]
	m.stand = slices.Delete(m.stand, n, n+1)
	if x.batch != "" {
		m.open[x.v.mdtrtID+"/"+x.batch] = x.s
	}
	a, _ := x.info.amount("acct_pay")
	m.paid[x.v.p.PsnNo] -= a
	return x
}

func (m *model) start(t *rapid.T) {
	// A desk numbers its msgids within the second from one.
	m.k.t = m.k.t.Add(time.Second)
	config := m.config
	config.Now = m.k.now
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	// The model asks what is in the file, not whether the disk has it: that is
	// TestFlushFails, and thousands of flushes would be most of the time.
	if kept, ok := c.ledger.store.(*fileStore); ok {
		kept.file = noFlush{kept.file}
	}
	m.d = newDesk(c)
	for _, v := range m.visits {
		v.d = m.d
	}
	m.d.signIn(t)
}

// noFlush is storage that leaves flushing to the system.
type noFlush struct{ storage }

func (noFlush) Sync() error { return nil }

// TestModel plays random visits, restarts and days against the model.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	run := 0
	playModel(t, func() (Config, bool) {
		run++
		return Config{Ledger: filepath.Join(dir, fmt.Sprint(run))}, true
	})
}

// playModel plays on ledgers that are empty when made, as long as there is
// another.
func playModel(t *testing.T, ledger func() (Config, bool)) {
	rapid.Check(t, func(t *rapid.T) {
		config, more := ledger()
		if !more {
			return
		}
		m := &model{k: noon(), config: config, open: map[string]sums{}, paid: map[string]fen{}}
		m.start(t)
		defer func() { m.d.c.Close() }()
		next := func() string { m.n++; return fmt.Sprint(m.n) }
		t.Repeat(map[string]func(*rapid.T){
			"register": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"欧阳海燕", "张三", "王秀英"}).Draw(t, "name")
				m.visits = append(m.visits, m.d.register(t, name, next()))
			},
			"fees": func(t *rapid.T) {
				v := m.anyVisit(t)
				amount := rapid.IntRange(1, 400000).Draw(t, "amount")
				code := rapid.SampledFrom([]string{"001102000010000-110200001", "002103000010000-210300001", "XA11GAW037A001010190016"}).Draw(t, "code")
				y := fen(amount).yuan()
				b := next()
				o := m.d.call(t, "2204", v.area, v.feeInput(b, fee{code, y, "1", y}))
				m.open[v.mdtrtID+"/"+b] = sumsOf(t, o)
			},
			"settle": func(t *rapid.T) {
				v, b, s := m.anyBatch(t)
				account := rapid.Bool().Draw(t, "account")
				input := v.settleInput(b, s, account)
				booked := len(m.d.c.Settlements())
				trial := setlinfo(m.d.call(t, "2206", v.area, input))
				if len(m.d.c.Settlements()) != booked {
					t.Fatal("a trial was booked")
				}
				if rapid.Bool().Draw(t, "only a trial") {
					return
				}
				info := setlinfo(m.d.call(t, "2207", v.area, input))
				checkIdentities(t, info)
				for name, value := range trial {
					if name != "setl_time" && name != "medins_setl_id" && info[name] != value {
						t.Fatalf("%s: trial %v, settlement %v", name, value, info[name])
					}
				}
				if slices.Contains(m.settled, info.text("setl_id")) {
					t.Fatal("a setl_id twice")
				}
				m.settled = append(m.settled, info.text("setl_id"))
				m.stand = append(m.stand, stands{v, b, s, info, "2207"})
				delete(m.open, v.mdtrtID+"/"+b)
				a, _ := info.amount("acct_pay")
				m.paid[v.p.PsnNo] += a
				m.d.refused(t, m.d.envelope("2207", v.area, input), "不能重复结算")
			},
			"refund": func(t *rapid.T) {
				x := m.anySettled(t)
				refund := setlinfo(m.d.call(t, undoneBy[x.infno], x.v.area, x.v.refundInput(x.info.text("setl_id"))))
				checkOpposite(t, x.info, refund)
				m.settled = append(m.settled, refund.text("setl_id"))
				m.d.refused(t, m.d.envelope(undoneBy[x.infno], x.v.area, x.v.refundInput(x.info.text("setl_id"))), "已退费")
			},
			"reverse": func(t *rapid.T) {
				x := m.anySettled(t)
				input := x.v.reverseInput(x.info.text("medins_setl_id"), x.infno)
				m.d.call(t, "2601", x.v.area, input)
				rows := m.d.c.Settlements()
				m.settled = append(m.settled, rows[len(rows)-1].SetlID)
				m.d.refused(t, m.d.envelope("2601", x.v.area, input), "已冲正")
			},
			"sell": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"欧阳海燕", "张三", "王秀英"}).Draw(t, "buyer")
				amount := fen(rapid.IntRange(1, 100000).Draw(t, "price")).yuan()
				p, input := m.d.saleInput(name, amount, rapid.Bool().Draw(t, "account"), fee{"XC08CAA086A001010190002", amount, "1", amount})
				v := &aVisit{d: m.d, p: p, area: p.Insurance[0].InsuplcAdmdvs}
				info := setlinfo(m.d.call(t, "2102", v.area, input))
				checkIdentities(t, info)
				v.mdtrtID = info.text("mdtrt_id")
				m.settled = append(m.settled, info.text("setl_id"))
				m.stand = append(m.stand, stands{v: v, info: info, infno: "2102"})
				a, _ := info.amount("acct_pay")
				m.paid[p.PsnNo] += a
			},
			"statement": func(t *rapid.T) {
				// What the centre answered is what it reconciles: all rows of all days.
				s := &statement{}
				for _, x := range m.d.c.Settlements() {
					if x.Infno == "2102" || x.Refunds != "" && m.d.c.state.bySetl[x.Refunds].Kind == pharmacy {
						s.addRow(x)
					}
				}
				for _, insutype := range []string{"310", "390"} {
					part := &statement{}
					for _, x := range m.d.c.Settlements() {
						if x.Insutype == insutype && m.d.c.state.bySetl[x.SetlID].Kind == pharmacy {
							part.addRow(x)
						}
					}
					o := m.d.call(t, "3201", "", part.input("insutype", insutype, "clr_type", "41", "stmt_enddate", "2099-12-31"))
					if verdict(t, o) != "0" {
						t.Fatalf("%s does not balance: %v", insutype, o)
					}
				}
				if rows := m.d.results(t, s, "clr_type", "41", "stmt_enddate", "2099-12-31"); rows != nil {
					t.Fatalf("differences: %v", rows)
				}
			},
			"take back": func(t *rapid.T) {
				v, b, s := m.anyBatch(t)
				m.d.call(t, "2205", v.area, msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "chrg_bchno": b}})
				delete(m.open, v.mdtrtID+"/"+b)
				m.d.refused(t, m.d.envelope("2207", v.area, v.settleInput(b, s, true)), "没有已上传的费用明细")
			},
			"restart": func(t *rapid.T) {
				if rapid.IntRange(0, 2).Draw(t, "really") > 0 {
					return
				}
				if err := m.d.c.Close(); err != nil {
					t.Fatal(err)
				}
				m.start(t)
			},
			"tomorrow": func(t *rapid.T) {
				m.k.t = m.k.t.Add(24 * time.Hour)
				m.d.signIn(t)
			},
			"": func(t *rapid.T) {
				var got []string
				var total int64
				for _, s := range m.d.c.Settlements() {
					if s.Total != s.Fund+s.Account+s.Cash {
						t.Fatalf("%+v", s)
					}
					got = append(got, s.SetlID)
					total += s.Total
				}
				if !slices.Equal(got, m.settled) {
					t.Fatalf("booked %v, answered %v", got, m.settled)
				}
				for _, x := range m.stand {
					a, _ := x.info.amount("medfee_sumamt")
					total -= int64(a)
				}
				if total != 0 {
					t.Fatalf("the rows sum up to %d fen more than what stands", total)
				}
				for _, name := range []string{"欧阳海燕", "张三"} {
					if m.asked == len(m.settled) {
						break
					}
					p, id := m.d.patient(name)
					o := m.d.call(t, "1101", "", msg{"data": id})
					i := record(o["insuinfo"].([]any)[0].(map[string]any))
					if b, err := i.amount("balc"); err != nil || b != p.Insurance[0].Balance-m.paid[p.PsnNo] || b < 0 {
						t.Fatalf("%s has %v, paid %v", name, b, m.paid[p.PsnNo])
					}
				}
				m.asked = len(m.settled)
			},
		})
	})
}

func (m *model) anyVisit(t *rapid.T) *aVisit {
	if len(m.visits) == 0 {
		t.Skip("no visit yet")
	}
	return m.visits[rapid.IntRange(0, len(m.visits)-1).Draw(t, "visit")]
}

func (m *model) anyBatch(t *rapid.T) (*aVisit, string, sums) {
	if len(m.open) == 0 {
		t.Skip("nothing to settle")
	}
	var keys []string
	for k := range m.open {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	key := rapid.SampledFrom(keys).Draw(t, "batch")
	id, batch, _ := strings.Cut(key, "/")
	for _, v := range m.visits {
		if v.mdtrtID == id {
			return v, batch, m.open[key]
		}
	}
	panic("a batch without a visit")
}

// FuzzRequest: whatever comes, the answer is JSON and nobody falls over; what
// is booked can be replayed.
func FuzzRequest(f *testing.F) {
	// Without sign-in and careless with msgids, or little behind the first
	// check would ever be reached.
	policy, err := embedded.ReadFile("data/policy.json")
	if err != nil {
		f.Fatal(err)
	}
	policy = bytes.Replace(policy, []byte(`"sign_in_required": true`), []byte(`"sign_in_required": false`), 1)
	c, err := New(Config{Now: noon().now, Repeat: RepeatBook, Lookups: LookupsGenerous, Reversal: ReversalAccept, Data: fstest.MapFS{"policy.json": {Data: policy}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	d := newDesk(c)
	v := d.register(f, "张三", "1")
	d.call(f, "2204", v.area, v.feeInput("B1", fee{"001102000010000-110200001", "15", "1", "15"}))
	s := sums{Total: 1500, InScope: 1500}
	f.Add(encode(d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})))
	f.Add(encode(d.envelope("1101", "", msg{"data": v.id})))
	f.Add(encode(d.envelope("2201", v.area, msg{"data": v.registerInput("2")})))
	f.Add(encode(d.envelope("2202", v.area, msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "ipt_otp_no": "1"}})))
	f.Add(encode(d.envelope("2203", v.area, v.visitInput())))
	f.Add(encode(d.envelope("2204", v.area, v.feeInput("B2", fee{"001102000010000-110200001", "15", "1", "15"}))))
	f.Add(encode(d.envelope("2205", v.area, msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "chrg_bchno": "0000"}})))
	f.Add(encode(d.envelope("2206", v.area, v.settleInput("B1", s, true))))
	f.Add(encode(d.envelope("2207", v.area, v.settleInput("B1", s, true))))
	e := d.envelope("2207", v.area, v.settleInput("B1", s, true))
	lookUp := msg{"data": msg{"psn_no": v.p.PsnNo, "setl_id": "2", "mdtrt_id": v.mdtrtID}}
	for _, infno := range []string{"5203", "5204"} {
		f.Add(encode(d.envelope(infno, v.area, lookUp)))
	}
	sold, sale := d.saleInput("王秀英", "23.80", false, fee{"XC08CAA086A001010190002", "0.85", "28", "23.80"})
	f.Add(encode(d.envelope("2101", sold.Insurance[0].InsuplcAdmdvs, sale)))
	f.Add(encode(d.envelope("2102", sold.Insurance[0].InsuplcAdmdvs, sale)))
	stay := d.admit(f, "王秀英", "ZY1")
	d.call(f, "2301", stay.area, msg{"feedetail": []msg{stay.line("1", "40")}})
	f.Add(encode(d.envelope("2301", stay.area, msg{"feedetail": []msg{stay.line("2", "40")}})))
	f.Add(encode(d.envelope("2302", stay.area, msg{"data": msg{"feedetl_sn": "1", "mdtrt_id": stay.mdtrtID, "psn_no": stay.p.PsnNo}})))
	f.Add(encode(d.envelope("2303", stay.area, stay.pay("40"))))
	f.Add(encode(d.envelope("2402", stay.area, stay.leave())))
	f.Add(encode(d.envelope("2304", stay.area, stay.pay("40"))))
	f.Add(encode(d.envelope("2405", stay.area, stay.ref())))
	f.Add(encode(d.envelope("2404", stay.area, stay.ref())))
	st := &statement{}
	st.add("1", "2", "3", 100, 50, 0, "0")
	f.Add(encode(d.envelope("3201", "", st.input())))
	f.Add(encode(d.envelope("3202", "", st.input("file_qury_no", d.upload(f, "s.zip", st.zip(f))))))
	f.Add(encode(d.envelope("9101", "", msg{"fsUploadIn": msg{"in": "AA==", "filename": "f", "fixmedins_code": "H51010000001"}})))
	f.Add(encode(d.envelope("9102", "", msg{"fsDownloadIn": msg{"file_qury_no": "8", "filename": "f", "fixmedins_code": "H51010000001"}})))
	setlID := setlinfo(d.send(f, e)["output"].(map[string]any)).text("setl_id")
	f.Add(encode(d.envelope("2208", v.area, v.refundInput(setlID))))
	f.Add(encode(d.envelope("2601", v.area, v.reverseInput(e["msgid"].(string), "2207"))))
	f.Add(encode(d.envelope("9002", "", msg{"signOut": msg{"sign_no": "1", "opter_no": "0001"}})))
	seedsOfTheRest(f, d, v)
	f.Add([]byte(`{"infno":"2207","input":{"data":[[]]}}`))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		w := d.post(callService, body)
		// What another centre hands on is trusted in who it is from only.
		r := httptest.NewRequest(http.MethodPost, forwardPath, bytes.NewReader(body))
		r.RemoteAddr, r.Host = "127.0.0.1:1", "127.0.0.1"
		handed := httptest.NewRecorder()
		d.handler.ServeHTTP(handed, r)
		if !json.Valid(handed.Body.Bytes()) && handed.Header().Get("Content-Type") != "application/octet-stream" {
			t.Fatalf("handed on: %d %q", handed.Code, handed.Body)
		}
		var a struct {
			Infcode *int            `json:"infcode"`
			ErrMsg  *string         `json:"err_msg"`
			Output  json.RawMessage `json:"output"`
		}
		if w.Header().Get("Content-Type") == "application/octet-stream" {
			return // a file
		}
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 || a.Infcode == nil {
			t.Fatalf("%d %q: %v", w.Code, w.Body, err)
		}
		if *a.Infcode != 0 && (a.ErrMsg == nil || *a.ErrMsg == "") {
			t.Fatalf("a refusal without words: %s", w.Body)
		}
		if c.ledger.failure() != nil {
			t.Fatalf("a booking that does not fit the state: %v", c.ledger.failure())
		}
	})
}

// FuzzDecimal: what is read is written back as the same number.
func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"0", "-0.5", "12.340", "1e5", "999999999999999999", "0.000001", ".5", "5."} {
		f.Add(s, 2)
	}
	f.Fuzz(func(t *testing.T, s string, scale int) {
		if scale < 0 || scale > 6 {
			return
		}
		v, err := parseDecimal(s, scale)
		if err != nil || v < 0 {
			return
		}
		if again, err := parseDecimal(formatDecimal(v, scale), scale); err != nil || again != v {
			t.Errorf("%q is %d, written %q, read %d %v", s, v, formatDecimal(v, scale), again, err)
		}
	})
}

// FuzzLedger: no file makes the start fall over.
func FuzzLedger(f *testing.F) {
	l := &ledger{prev: noPrev}
	for range 2 {
		first := ledgerLine{Seq: l.seq + 1, Prev: l.prev, Event: []byte(`{"infno":"9001","sign_in":{"sign_no":"1","opter_no":"1"}}`)}
		first.Sum = first.sum()
		f.Add(first.bytes())
	}
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"seq":1,"prev":"`))
	f.Fuzz(func(t *testing.T, line []byte) {
		l := &ledger{prev: noPrev}
		c := &Center{state: newState(&rules{})}
		if err := l.loadLine(line, c.replay); err == nil && l.seq != 1 {
			t.Error("a line was taken and not counted")
		}
		l.torn(line)
	})
}
