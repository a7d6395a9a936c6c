package centersim

import (
	"errors"
	"slices"
	"strings"
)

// offlineInfno tells of a debit of the account on a card that was made while the
// centre could not be reached. The national interface has no such transaction;
// this is the one of the invented region "one-endpoint".
const offlineInfno = "2190"

// offlineFields are its rows of the field table.
var offlineFields = strings.Join([]string{
	"2190\tin\tdata\tmdtrt_cert_no\t就诊凭证编号\tstring\t50\tY\t\t",
	"2190\tin\tdata\tcard_sn\t卡识别码\tstring\t32\tY\t\t",
	"2190\tin\tdata\tcertno\t证件号码\tstring\t50\tY\t\t",
	"2190\tin\tdata\tpsn_name\t人员姓名\tstring\t50\tY\t\t",
	"2190\tin\tdata\ttrns_id\t交易标识\tstring\t32\tY\t\t",
	"2190\tin\tdata\ttrns_sn\t卡内交易序号\tstring\t5\tY\t\t",
	"2190\tin\tdata\ttrns_type\t交易类型\tstring\t1\tY\t\t",
	"2190\tin\tdata\tterm_no\t终端机编号\tstring\t12\tY\t\t",
	"2190\tin\tdata\tterm_sn\t终端交易序号\tstring\t10\tY\t\t",
	"2190\tin\tdata\ttrns_time\t交易时间\tdatetime\t\tY\t\tyyyy-MM-dd HH:mm:ss",
	"2190\tin\tdata\tacct_pay\t个人账户支出\tnumber\t16,2\tY\t\t",
	"2190\tin\tdata\tpsn_selfpay\t个人自付\tnumber\t16,2\tY\t\t",
	"2190\tin\tdata\tfund_pay\t统筹基金支出\tnumber\t16,2\tY\t\t",
	"2190\tin\tdata\tbalc\t卡内余额\tnumber\t16,2\tY\t\t",
	"2190\tin\tdata\tkey_ver\t密钥版本\tstring\t2\tY\t\t",
	"2190\tin\tdata\talg\t算法标识\tstring\t2\tY\t\t",
	"2190\tin\tdata\trand\t卡内随机数\tstring\t8\tY\t\t",
	"2190\tin\tdata\ttac\t交易认证码\tstring\t8\tY\t\t",
}, "\n") + "\n"

// A CardDebit is an off-line debit as the centre has booked it.
type CardDebit struct {
	PsnNo       string `json:"psn_no"`
	Card        string `json:"card_sn"`
	ID          string `json:"trns_id"`
	Sequence    string `json:"trns_sn"`
	Terminal    string `json:"term_no"`
	TerminalSeq string `json:"term_sn"`
	Account     int64  `json:"acct_pay"`    // fen
	SelfPaid    int64  `json:"psn_selfpay"` // fen
	Pooling     int64  `json:"fund_pay"`    // fen
	TAC         string `json:"tac"`
}

// cardDebit books an off-line debit. A card uses a sequence number once: the same
// debit told again is booked already, another one with its number is refused.
func (c *Center) cardDebit(r *request, e *event) (old any, err error) {
	d := r.one("data")
	p := c.rules.byCard[d.text("mdtrt_cert_no")]
	switch {
	case p == nil || !c.insures(p):
		return nil, refuse("未查询到该社会保障卡的持卡人")
	case p.Card.IdentificationCode != d.text("card_sn"):
		return nil, refuse("卡识别码card_sn与社会保障卡不符")
	case p.Certno != d.text("certno"):
		return nil, refuse("证件号码与参保登记不一致")
	case d.text("trns_type") != "2":
		return nil, refuse("交易类型trns_type应为2")
	case !isHex(d.text("tac"), 8):
		return nil, refuse("交易认证码tac应为8位十六进制")
	case !isHex(d.text("trns_id"), 32):
		return nil, refuse("交易标识trns_id应为32位十六进制")
	}
	if at, err := parseTime(d.text("trns_time")); err != nil || at.After(e.Time.Add(ahead)) {
		return nil, refuse("交易时间trns_time晚于当前时间")
	}
	x := &CardDebit{
		PsnNo: p.PsnNo, Card: d.text("card_sn"), ID: d.text("trns_id"), Sequence: d.text("trns_sn"),
		Terminal: d.text("term_no"), TerminalSeq: d.text("term_sn"), TAC: d.text("tac"),
	}
	for _, f := range []struct {
		name string
		to   *int64
	}{{"acct_pay", &x.Account}, {"psn_selfpay", &x.SelfPaid}, {"fund_pay", &x.Pooling}} {
		amount, err := d.amount(f.name)
		if err != nil || amount < 0 {
			return nil, refuse("金额%s不合法", f.name)
		}
		*f.to = int64(amount)
	}
	if x.Account+x.Pooling == 0 {
		return nil, refuse("脱机扣款金额为零")
	}
	if known := c.state.debits[x.key()]; known != nil {
		if *known != *x {
			return nil, refuse("该卡的交易序号trns_sn已使用")
		}
		return object{}, nil
	}
	e.Debit = x
	return nil, nil
}

func (d *CardDebit) key() [2]string { return [2]string{d.Card, d.Sequence} }

func isHex(s string, n int) bool {
	return len(s) == n && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789ABCDEFabcdef", r) })
}

func (s *state) applyDebit(d *CardDebit) error {
	if s.debits[d.key()] != nil {
		return errors.New("a second debit of a card's sequence number")
	}
	s.debits[d.key()] = d
	s.debitOrder = append(s.debitOrder, d)
	return nil
}

// Debits returns the off-line debits that were uploaded, in the order in which they
// came.
func (c *Center) Debits() []CardDebit {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]CardDebit, 0, len(c.state.debitOrder))
	for _, d := range slices.Clone(c.state.debitOrder) {
		list = append(list, *d)
	}
	return list
}
