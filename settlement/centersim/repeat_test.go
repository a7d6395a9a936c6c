package centersim

import (
	"encoding/base64"
	"maps"
	"slices"
	"testing"
)

// TestRepeatedBookings sends every other booking twice with one msgid: refused,
// answered as the first time, or, where the content allows it, booked again.
func TestRepeatedBookings(t *testing.T) {
	type booking struct {
		infno string
		again string // what a careless centre says to the second; "": it books it
		make  func(t *testing.T, d *desk) (area string, input msg)
	}
	stay := func(t *testing.T, d *desk, gone bool) *aStay {
		v := d.admit(t, "王秀英", "ZY1")
		d.call(t, "2301", v.area, msg{"feedetail": []msg{v.line("1", "40")}})
		if gone {
			d.call(t, "2402", v.area, v.leave())
		}
		return v
	}
	for _, x := range []booking{
		{"2102", "", func(t *testing.T, d *desk) (string, msg) {
			p, input := d.saleInput("张三", "23.80", true, fee{"XC08CAA086A001010190002", "0.85", "28", "23.80"})
			return p.Insurance[0].InsuplcAdmdvs, input
		}},
		{"2401", "", func(t *testing.T, d *desk) (string, msg) {
			v, input := d.admission("王秀英", "ZY1")
			return v.area, input
		}},
		{"2301", "重复", func(t *testing.T, d *desk) (string, msg) {
			v := d.admit(t, "王秀英", "ZY1")
			return v.area, msg{"feedetail": []msg{v.line("1", "40")}}
		}},
		{"2302", "没有已上传", func(t *testing.T, d *desk) (string, msg) {
			v := stay(t, d, false)
			return v.area, msg{"data": msg{"feedetl_sn": "1", "mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo}}
		}},
		{"2402", "已办理出院", func(t *testing.T, d *desk) (string, msg) {
			v := stay(t, d, false)
			return v.area, v.leave()
		}},
		{"2405", "未办理出院", func(t *testing.T, d *desk) (string, msg) {
			v := stay(t, d, true)
			return v.area, v.ref()
		}},
		{"2404", "已撤销", func(t *testing.T, d *desk) (string, msg) {
			v := d.admit(t, "王秀英", "ZY1")
			return v.area, v.ref()
		}},
		{"2304", "", func(t *testing.T, d *desk) (string, msg) {
			v := stay(t, d, true)
			return v.area, v.pay("40")
		}},
		{"2305", "已退费", func(t *testing.T, d *desk) (string, msg) {
			v := stay(t, d, true)
			return v.area, v.refundInput(setlinfo(d.call(t, "2304", v.area, v.pay("40"))).text("setl_id"))
		}},
		{"2601", "已冲正", func(t *testing.T, d *desk) (string, msg) {
			v, _, info := d.settleOne(t, "张三", "MZ1", "300")
			return v.area, v.reverseInput(info.text("medins_setl_id"), "2207")
		}},
		{"9101", "", func(t *testing.T, d *desk) (string, msg) {
			return "", msg{"fsUploadIn": msg{"in": base64.StdEncoding.EncodeToString([]byte("x")), "filename": "f", "fixmedins_code": "H51010000001"}}
		}},
		{"3202", "", func(t *testing.T, d *desk) (string, msg) {
			s := &statement{}
			return "", s.input("file_qury_no", d.upload(t, "s.zip", s.zip(t)))
		}},
	} {
		for _, repeat := range []Repeat{RepeatRefuse, RepeatBook, RepeatSame} {
			t.Run(x.infno+" "+string(repeat), func(t *testing.T) {
				d := newDesk(start(t, Config{Repeat: repeat}))
				d.signIn(t)
				area, input := x.make(t, d)
				e := d.envelope(x.infno, area, input)
				first := d.send(t, e)
				if first["output"] == nil {
					t.Fatalf("refused: %v", first["err_msg"])
				}
				booked := d.c.ledger.seq
				switch {
				case repeat == RepeatRefuse:
					d.refused(t, e, "报文ID重复")
				case repeat == RepeatSame:
					if again := d.send(t, e); string(encode(again["output"])) != string(encode(first["output"])) {
						t.Errorf("first %v, then %v", first, again)
					}
				case x.again != "":
					d.refused(t, e, x.again)
				default:
					again := d.send(t, e)
					if d.c.ledger.seq != booked+1 || string(encode(again["output"])) == string(encode(first["output"])) {
						t.Errorf("not booked again: %v", again)
					}
					booked++
				}
				if d.c.ledger.seq != booked {
					t.Errorf("%d lines in the ledger, want %d", d.c.ledger.seq, booked)
				}
			})
		}
	}
}

// TestFaultsOfEvery: every transaction meets the faults that are ordered for it.
func TestFaultsOfEvery(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	all := slices.Concat(others, slices.Collect(maps.Keys(paths)), slices.Collect(maps.Keys(uploads)))
	for _, infno := range all {
		for _, kind := range []FaultKind{HTTPBefore, HTTPAfter, HTMLBefore, HTMLAfter, Truncate, BrokenJSON} {
			f := Fault{Infno: infno, Kind: kind, Number: 502}
			if parsed, err := ParseFault(f.String()); err != nil || parsed.Infno != infno {
				t.Fatalf("%s: %v", f, err)
			}
			if err := d.c.Order(f); err != nil {
				t.Fatal(err)
			}
			// Whatever is sent, it meets the fault of its transaction alone.
			w := d.post(callService, encode(d.envelope(infno, "510100", msg{})))
			if a, err := parseObject(w.Body.Bytes()); err == nil && a["infcode"] != nil && w.Code == 200 {
				t.Errorf("%s: %s is answered with %v", infno, f, a)
			}
			if len(d.c.Ordered()) != 0 {
				t.Errorf("%s still waits", f)
			}
		}
	}
}
