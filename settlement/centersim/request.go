package centersim

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// fieldsTable holds the rows of the national field table for the envelope and
// for the transactions served here, as published.
//
//go:embed fields.tsv
var fieldsTable string

// field is one row: what a request must carry.
type field struct {
	node, name, zh, kind string
	digits, decimals     int // of numbers
	length               int // of text, in characters; 0 not stated
	required             bool
}

// table maps infno ("ENVELOPE" for the envelope) to the fields of its request.
type table map[string][]field

func parseTable(tsv string) (table, error) {
	t := table{}
	n := 0
	for row := range strings.Lines(tsv) {
		if n++; n == 1 {
			continue
		}
		c := strings.Split(strings.TrimSuffix(row, "\n"), "\t")
		if len(c) != 10 {
			return nil, fmt.Errorf("fields.tsv: line %d has %d columns, not 10", n, len(c))
		}
		if c[1] != "in" {
			continue
		}
		f := field{node: c[2], name: c[3], zh: c[4], kind: c[5], required: c[7] == "Y"}
		whole, decimals, _ := strings.Cut(c[6], ",")
		if f.kind != "number" && len(decimals) == 3 {
			whole, decimals = whole+decimals, "" // 2,000 characters
		}
		var err error
		if whole != "" {
			f.digits, err = strconv.Atoi(whole)
		}
		if decimals != "" && err == nil {
			f.decimals, err = strconv.Atoi(decimals)
		}
		if err != nil {
			return nil, fmt.Errorf("fields.tsv: line %d: length %q", n, c[6])
		}
		f.length = f.digits
		t[c[0]] = append(t[c[0]], f)
	}
	return t, nil
}

// widen lets a field be longer than the table says.
func (t table) widen(infno, name string, length int) {
	for i := range t[infno] {
		if t[infno][i].name == name {
			t[infno][i].length = length
		}
	}
}

// relax lets a request leave out a field.
func (t table) relax(infno, name string) {
	for i := range t[infno] {
		if t[infno][i].name == name {
			t[infno][i].required = false
		}
	}
}

// refusal is what the centre says no with: infcode -1 and these words. They
// name fields and positions, never a person.
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }

func refuse(format string, a ...any) error { return &refusal{fmt.Sprintf(format, a...)} }

// record is one object of the input, its numbers still as written.
type record map[string]any

// text returns a field as text, "" where absent or null.
func (r record) text(name string) string {
	switch v := r[name].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// decimal returns a checked number field; 0 where absent.
func (r record) decimal(name string, scale int) (int64, error) {
	s := r.text(name)
	if s == "" {
		return 0, nil
	}
	return parseDecimal(s, scale)
}

// amount returns a field of type 16,2.
func (r record) amount(name string) (fen, error) {
	v, err := r.decimal(name, 2)
	if err != nil || fen(v) > maxFen || fen(v) < -maxFen {
		return 0, refuse("金额字段[%s]不是有效金额", name)
	}
	return fen(v), nil
}

// request is an envelope that passed the checks.
type request struct {
	infno, msgid, careArea, insuArea, opter, institution, signNo string

	nodes     map[string][]record
	forwarded bool         // by another centre
	foreign   []foreignRow // of other centres, for a reconciliation
	digest    string       // of the input; tells a repeated request from another with its msgid
}

// one returns the only record of a node that is an object.
func (r *request) one(node string) record { return r.nodes[node][0] }

// lists are the nodes that announce several records; every other has one.
var lists = map[string]bool{"diseinfo": true, "feedetail": true, "drugdetail": true}

// isList: nothing says which nodes of the uploads are lists, so all are.
func (r *request) isList(node string) bool {
	return lists[node] || uploads[r.infno] || (r.infno == "2302" && node == "data")
}

// maxRecords bounds a list; the interface asks for at most 100 fee lines a
// call in many regions, nowhere for more.
const maxRecords = 1000

// parseRequest reads an envelope strictly: every required field of the table
// there and of its form.
func (t table) parseRequest(envelope record) (*request, error) {
	if err := check(t["ENVELOPE"], "", envelope, 0); err != nil {
		return nil, err
	}
	r := &request{
		infno: envelope.text("infno"), msgid: envelope.text("msgid"),
		careArea: envelope.text("mdtrtarea_admvs"), insuArea: envelope.text("insuplc_admdvs"),
		opter: envelope.text("opter"), institution: envelope.text("fixmedins_code"),
		signNo: envelope.text("sign_no"), nodes: map[string][]record{},
	}
	if !areaForm.MatchString(r.careArea) || (r.insuArea != "" && !areaForm.MatchString(r.insuArea)) {
		return nil, refuse("医保区划应为6位数字：mdtrtarea_admvs、insuplc_admdvs")
	}
	if utf8.RuneCountInString(r.institution) != 12 {
		return nil, refuse("定点医药机构编号fixmedins_code应为12位")
	}
	if o := envelope.text("opter_type"); o != "1" && o != "2" && o != "3" {
		return nil, refuse("经办人类别opter_type应为1、2或3")
	}
	fields, ok := t[r.infno]
	if base := variants[r.infno]; base != "" {
		if r.infno = base; !ok { // 2206A and 2207A are listed without fields
			fields, ok = t[base]
		}
	}
	if !ok || r.infno == "ENVELOPE" {
		return nil, refuse("交易编号[%s]不存在或未开通", printable(r.infno))
	}
	input, ok := envelope["input"].(map[string]any)
	if !ok {
		return nil, refuse("交易输入input应为对象")
	}
	canonical, err := json.Marshal(input)
	if err != nil {
		return nil, refuse("交易输入无法识别")
	}
	sum := sha256.Sum256(canonical)
	r.digest = hex.EncodeToString(sum[:])
	if err := r.readNodes(fields, input); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *request) readNodes(fields []field, input map[string]any) error {
	byNode := map[string][]field{}
	var order []string
	for _, f := range fields {
		if byNode[f.node] == nil {
			order = append(order, f.node)
		}
		byNode[f.node] = append(byNode[f.node], f)
	}
	for _, node := range order {
		// Nothing states whether a node is an object or a list: read either.
		var values []any
		switch v := input[node].(type) {
		case map[string]any:
			values = []any{v}
		case []any:
			values = v
		case nil:
			if uploads[r.infno] && node != order[0] {
				continue // a patient without an operation has no oprninfo
			}
			return refuse("交易输入缺少节点[%s]", node)
		default:
			return refuse("节点[%s]应为对象或列表", node)
		}
		if len(values) == 0 || (len(values) > 1 && !r.isList(node)) || len(values) > maxRecords {
			return refuse("节点[%s]的条数%d不符合要求", node, len(values))
		}
		for i, v := range values {
			object, ok := v.(map[string]any)
			if !ok {
				return refuse("节点[%s]第%d条不是对象", node, i+1)
			}
			position := 0
			if r.isList(node) {
				position = i + 1
			}
			if err := check(byNode[node], node, object, position); err != nil {
				return err
			}
			if record(object).text("psn_no") != "" && r.insuArea == "" {
				return refuse("交易输入含人员编号psn_no时，参保地医保区划insuplc_admdvs不能为空")
			}
			r.nodes[node] = append(r.nodes[node], object)
		}
	}
	return nil
}

// parseObject reads exactly one JSON object in UTF-8.
func parseObject(body []byte) (record, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("不是UTF-8编码")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, errors.New("不是有效的JSON")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("JSON之后有多余内容")
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("不是JSON对象")
	}
	return object, nil
}

// check holds an object against its rows. Position is the record's number in
// a list, 0 for an object that stands alone.
func check(fields []field, node string, object record, position int) error {
	where := ""
	if node != "" {
		where = "节点[" + node + "]"
	}
	if position > 0 {
		where += fmt.Sprintf("第%d条", position)
	}
	for _, f := range fields {
		value := object[f.name]
		if value == nil || value == "" {
			if f.required {
				return refuse("%s字段[%s]%s不能为空", where, f.name, f.zh)
			}
			continue
		}
		if problem := f.problem(value); problem != "" {
			return refuse("%s字段[%s]%s%s", where, f.name, f.zh, problem)
		}
	}
	return nil
}

// problem says what is wrong with a value that is there, "" if nothing.
func (f field) problem(value any) string {
	if f.name == "drugtracinfo" {
		return "" // a node of its own, which the table calls a text
	}
	if f.kind == "object" {
		if _, ok := value.(map[string]any); !ok {
			return "应为对象"
		}
		return ""
	}
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	switch {
	case strings.ContainsRune(text, 0):
		return "含无效字符" // no database keeps it as text
	case f.name == "feedetl_sn":
		// A number in the table, text like "yp570" in use: either.
		if !isText && !isNumber {
			return "应为数字或文本"
		}
		if utf8.RuneCountInString(text+number.String()) > f.length {
			return fmt.Sprintf("超过%d位", f.length)
		}
	case f.kind == "number":
		// Centres read "12.50" as well as 12.50; onecard writes the latter.
		if !isText && !isNumber {
			return "应为数字"
		}
		v, err := parseDecimal(text+number.String(), f.decimals)
		if errors.Is(err, errPrecision) {
			return fmt.Sprintf("最多%d位小数", f.decimals)
		}
		if err != nil {
			return "应为数字"
		}
		if f.digits > 0 && len(strings.TrimPrefix(strconv.FormatInt(v, 10), "-")) > f.digits {
			return fmt.Sprintf("超过%d位数字", f.digits)
		}
	case f.kind == "bytes": // either form; fileBytes reads it
	case !isText:
		return "应为文本"
	case f.kind == "datetime":
		if _, err := parseTime(text); err != nil {
			return "应为yyyy-MM-dd HH:mm:ss格式的有效时间"
		}
	case f.kind == "date":
		if _, err := time.Parse("2006-01-02", text); err != nil {
			return "应为yyyy-MM-dd格式的有效日期"
		}
	case f.length > 0 && utf8.RuneCountInString(text) > f.length:
		return fmt.Sprintf("超过%d个字符", f.length)
	}
	return ""
}

const timeForm = "2006-01-02 15:04:05"

// parseTime reads yyyy-MM-dd HH:mm:ss, in China. The length is checked because
// time.Parse takes fractions of a second that the interface does not know.
func parseTime(s string) (time.Time, error) {
	if len(s) != len(timeForm) {
		return time.Time{}, errors.New("length")
	}
	return time.ParseInLocation(timeForm, s, china)
}

// printable shortens and cleans a caller's text that is repeated to them.
func printable(s string) string {
	runes := []rune(s)
	if len(runes) > 40 {
		runes = runes[:40]
	}
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '?'
	}, string(runes))
}
