package centersim

import (
	"strings"
)

// FaultKind names a misfortune. "before" means that nothing is booked, "after"
// that the transaction was booked first.
type FaultKind string

// The misfortunes. The words in brackets are the value that the text form
// needs; [FaultKinds] says of each whether the transaction is booked.
const (
	DropBefore    FaultKind = "drop-before"    // close the connection, nothing booked
	DropAfter     FaultKind = "drop-after"     // book, then close the connection
	Flap          FaultKind = "flap"           // [requests] the line is down for that many, up for that many, and so on; down, it drops in turn before and after booking
	HangBefore    FaultKind = "hang-before"    // wait for Release (then go on) or for the caller to leave (then nothing is booked)
	HangAfter     FaultKind = "hang-after"     // book, then keep the answer until Release
	Delay         FaultKind = "delay"          // [duration] wait, then go on
	HTTPBefore    FaultKind = "http-before"    // [status 400..599] answer with that status, nothing booked
	HTTPAfter     FaultKind = "http-after"     // [status 400..599] book, then answer with that status
	HTMLBefore    FaultKind = "html-before"    // status 200 and a maintenance page, nothing booked
	HTMLAfter     FaultKind = "html-after"     // book, then status 200 and a maintenance page
	Truncate      FaultKind = "truncate"       // book; the answer ends in the middle, as if complete
	Cut           FaultKind = "cut"            // book; the connection breaks in the middle of the answer
	BrokenJSON    FaultKind = "broken-json"    // book; the answer is whole and no JSON: a quotation mark is missing in its middle
	Oversize      FaultKind = "oversize"       // [bytes] book; the answer is padded with that many blanks
	Identity      FaultKind = "identity"       // [1..4] book; the answer breaks that money identity by one fen
	WrongSetl     FaultKind = "wrong-setl"     // book; the answer's medins_setl_id is no msgid of anybody
	ForeignMsgID  FaultKind = "foreign-msgid"  // book; medins_setl_id, and every msgid of a file of 3202, is one that another institution sent
	DuplicateSetl FaultKind = "duplicate-setl" // book; the answer's setl_id is that of the settlement before it
	TextCode      FaultKind = "text-code"      // infcode as text, "0"
	NullShares    FaultKind = "null-shares"    // book; the answer leaves psn_part_amt, hosp_part_amt and acct_mulaid_pay null, as refunds may
	Sloppy        FaultKind = "sloppy"         // everything that a reader must put up with: numbers as text, "null", pdn_cash_pay, an object for a list of one
	Refuse        FaultKind = "refuse"         // [message] infcode -1 with that message, nothing booked
	Maintenance   FaultKind = "maintenance"    // infcode -1: the platform is being maintained
	LostCard      FaultKind = "lost-card"      // infcode -1: the card was reported lost; of requests that name a card
	UnknownPerson FaultKind = "unknown-person" // infcode -1: nobody is insured under that card or number; of requests that name a card
	Clock         FaultKind = "clock"          // [duration, may be negative] the answer's Date is off by that much
)

// A FaultInfo explains one kind to the person who orders it.
type FaultInfo struct {
	Kind    FaultKind
	Value   string // an example of the value that the text form needs; "" none
	Booked  bool   // the transaction is booked all the same
	Chinese string
	English string
}

// FaultKinds returns every kind, in the order of the documentation.
func FaultKinds() []FaultInfo {
	return []FaultInfo{
		{DropBefore, "", false, "不记账，直接断开连接", "the connection is closed without an answer"},
		{DropAfter, "", true, "记账后断开连接，无应答", "booked, then the connection is closed without an answer"},
		{Flap, "3", true, "线路时断时续：断3次、通3次，如此往复；断时交替为记账前断、记账后断", "the line is down for 3 requests, up for 3, and so on; down, it drops in turn before and after booking"},
		{HangBefore, "", false, "不应答直到放行；调用方先离开则不记账", "no answer until released; if the caller leaves, nothing is booked"},
		{HangAfter, "", true, "记账后不应答，直到放行", "booked; no answer until released"},
		{Delay, "3s", true, "延迟应答", "the answer comes later"},
		{HTTPBefore, "503", false, "不记账，返回HTTP错误", "an HTTP error, nothing booked"},
		{HTTPAfter, "502", true, "记账后返回HTTP错误", "booked, then an HTTP error"},
		{HTMLBefore, "", false, "不记账，返回200和维护网页", "a maintenance page with status 200, nothing booked"},
		{HTMLAfter, "", true, "记账后返回200和维护网页", "booked, then a maintenance page with status 200"},
		{Truncate, "", true, "应答只有一半，连接正常结束", "half an answer, as if complete"},
		{Cut, "", true, "应答传到一半连接中断", "half an answer and the connection breaks"},
		{BrokenJSON, "", true, "应答完整但不是有效JSON：中间少一个引号", "a whole answer that is no JSON: a quotation mark is missing"},
		{Oversize, "200000000", true, "应答中夹带这么多空格", "an answer with so many blanks in it"},
		{Identity, "2", true, "应答的第1至4条金额恒等式差0.01", "an answer that breaks that money identity (1 to 4) by 0.01"},
		{WrongSetl, "", true, "应答的medins_setl_id与请求不符", "the answer's medins_setl_id is not the msgid that was sent"},
		{ForeignMsgID, "", true, "应答或对账结果里的msgid是别的机构的", "the msgid in the answer, or in a file of 3202, is another institution's"},
		{DuplicateSetl, "", true, "应答的setl_id与上一笔结算相同", "the answer's setl_id is that of the settlement before it"},
		{TextCode, "", true, "infcode为文本", "infcode as text"},
		{NullShares, "", true, "psn_part_amt、hosp_part_amt、acct_mulaid_pay为null", "psn_part_amt, hosp_part_amt and acct_mulaid_pay are null"},
		{Sloppy, "", true, "数字为文本、空为\"null\"、pdn_cash_pay、单条列表为对象", "numbers as text, \"null\" for empty, pdn_cash_pay, an object for a list of one"},
		{Refuse, "目录停用", false, "以这句话拒绝", "infcode -1 with those words"},
		{Maintenance, "", false, "以系统维护拒绝", "infcode -1: the platform is being maintained"},
		{LostCard, "", false, "以社保卡已挂失拒绝（仅凭卡识别人员的交易）", "infcode -1: the card was reported lost (of requests that name a card)"},
		{UnknownPerson, "", false, "以查无此人拒绝（仅凭卡识别人员的交易）", "infcode -1: nobody is insured under that card (of requests that name a card)"},
		{Clock, "-40m", true, "应答的Date偏差这么多", "the answer's Date is off by so much"},
	}
}

// refusalOf are the words of the refusals that have a kind of their own, as
// this centre says them.
var refusalOf = map[FaultKind]string{
	Maintenance:   "系统维护中，暂停服务，请稍后再试",
	LostCard:      "社会保障卡已挂失",
	UnknownPerson: "未查询到该人员的参保信息",
}

// ordered is the refusal that was ordered, nil if none.
func (m met) ordered() error {
	if f, ok := m[Refuse]; ok {
		return refuse("%s", f.Text)
	}
	for kind, words := range refusalOf {
		if _, ok := m[kind]; ok {
			return refuse("%s", words)
		}
	}
	return nil
}

// asksFor tells whether a fault of that kind can meet the transaction: nobody
// loses a card in a sign-in.
func asksFor(infno string, kind FaultKind) bool {
	if kind != LostCard && kind != UnknownPerson {
		return true
	}
	if base := variants[infno]; base != "" {
		infno = base
	}
	for row := range strings.Lines(fieldsTable) {
		c := strings.SplitN(row, "\t", 5)
		if len(c) == 5 && c[0] == infno && c[1] == "in" && c[3] == "mdtrt_cert_no" {
			return true
		}
	}
	return false
}

// flap adds what the line does to the request that is the met-th of its fault.
func (m met) flap(met, phase int) {
	if met/phase%2 == 1 {
		return
	}
	kind := DropBefore
	if down := met/(2*phase)*phase + met%phase; down%2 == 1 {
		kind = DropAfter
	}
	m[kind] = Fault{Kind: kind, Count: 1}
}
