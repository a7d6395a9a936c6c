package centersim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// foreignMsgID has the form of a msgid and is that of an institution that is
// not there.
const foreignMsgID = "H99999999999202001011200000001"

// spoil changes an answer as ordered; before is the setl_id of the settlement
// booked before the one that is answered, "" if there is none.
func (m met) spoil(answer object, before string) {
	output, _ := answer["output"].(object)
	info, _ := output["setlinfo"].(object)
	if f, ok := m[Identity]; ok {
		breakIdentity(f.Number, output, info)
	}
	if _, ok := m[WrongSetl]; ok && info != nil {
		info["medins_setl_id"] = "H00000000000000000000000000000"
	}
	if _, ok := m[ForeignMsgID]; ok && info != nil {
		info["medins_setl_id"] = foreignMsgID
	}
	if _, ok := m[DuplicateSetl]; ok && info != nil && info["setl_id"] != nil && before != "" {
		info["setl_id"] = before
	}
	if _, ok := m[NullShares]; ok && info != nil {
		for _, name := range []string{"psn_part_amt", "hosp_part_amt", "acct_mulaid_pay"} {
			info[name] = nil
		}
	}
	if _, ok := m[TextCode]; ok {
		answer["infcode"] = fmt.Sprint(answer["infcode"])
	}
	if _, ok := m[Sloppy]; ok {
		answer["infcode"] = fmt.Sprint(answer["infcode"])
		answer["err_msg"] = "NULL"
		answer["output"] = sloppy(answer["output"])
	}
}

// breakIdentity adds one fen to a term that stands in that identity alone; in
// the answer to 2204 the only identity is the fourth, of the first line.
func breakIdentity(n int, output, info object) {
	name := []string{"hosp_part_amt", "hifp_pay", "psn_cash_pay", "preselfpay_amt"}[n-1]
	where := info
	switch lines := output["result"].(type) {
	case []object:
		if len(lines) > 0 {
			where, name = lines[0], "preselfpay_amt"
		}
	case []any: // of another centre
		if len(lines) > 0 {
			if first, ok := lines[0].(object); ok {
				where, name = first, "preselfpay_amt"
			}
		}
	}
	if v, ok := where[name].(json.Number); ok {
		// The centre's own amounts parse.
		amount, _ := parseDecimal(v.String(), 2)
		where[name] = num(fen(amount) + 1)
	}
}

// sloppy rewrites an output in the worst permitted way.
func sloppy(v any) any {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case string:
		if v == "" {
			return "null"
		}
	case object:
		w := object{}
		for name, x := range v {
			if name == "psn_cash_pay" {
				name = "pdn_cash_pay"
			}
			w[name] = sloppy(x)
		}
		return w
	case []any:
		if len(v) == 1 {
			return sloppy(v[0])
		}
		w := []any{}
		for _, x := range v {
			w = append(w, sloppy(x))
		}
		return w
	case []object:
		if len(v) == 1 {
			return sloppy(v[0])
		}
		w := []any{}
		for _, x := range v {
			w = append(w, sloppy(x))
		}
		return w
	}
	return v
}

// misquote takes a quotation mark out of the middle of a JSON text: it keeps
// its length but is JSON no more.
func misquote(b []byte) []byte {
	if i := bytes.IndexByte(b[len(b)/2:], '"'); i >= 0 {
		b = bytes.Clone(b)
		b[len(b)/2+i] = ' '
	}
	return b
}

// foreignFile is a result file of 3202 whose rows name another institution's
// msgid; any other file is as it was.
func foreignFile(f fileContent) (fileContent, error) {
	text, err := unzip(f.content)
	if err != nil {
		return f, nil
	}
	var b strings.Builder
	for row := range strings.Lines(string(text)) {
		columns := strings.Split(row, "\t")
		if len(columns) == 10 && columns[3] != "null" {
			columns[3] = foreignMsgID
		}
		b.WriteString(strings.Join(columns, "\t"))
	}
	f.content, err = zipped(strings.TrimSuffix(f.name, ".zip")+".txt", []byte(b.String()))
	return f, err
}
