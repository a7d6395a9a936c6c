package centersim

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestRefusals sends what a centre refuses and looks for its reason.
func TestRefusals(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.refused(t, d.envelope("1101", "", msg{"data": msg{}}), "[mdtrt_cert_type]")
	p, id := d.patient("张三")
	d.refused(t, d.envelope("1101", "", msg{"data": id}), "签到")
	d.signIn(t)
	v := d.register(t, "张三", "MZ1")
	other := d.register(t, "王秀英", "MZ2")
	visit := fee{"001102000010000-110200001", "15.00", "1", "15.00"}
	d.call(t, "2204", v.area, v.feeInput("B1", visit))
	s := sums{Total: 1500, InScope: 1500}
	reg := v.registerInput("MZ9")
	line := v.feeInput("B2", visit)["feedetail"].([]msg)[0]
	two := func(change ...any) msg {
		second := with(with(line, "feedetl_sn", "B2-2"), change...)
		return msg{"feedetail": []msg{line, second}}
	}
	lines := func(change ...any) msg { return msg{"feedetail": []msg{with(line, change...)}} }
	pay := v.settleInput("B1", s, false)["data"].(msg)
	info := v.visitInput()
	for _, x := range []struct {
		infno, area string
		input       any
		why         string
	}{
		{"1101", "", msg{"data": with(id, "card_sn", "410100D15600000500BF7C7A48FB4967")}, "卡识别码card_sn与社会保障卡不符"},
		{"1101", "", msg{"data": with(id, "card_sn", nil)}, "card_sn不能为空"},
		{"1101", "", msg{"data": with(id, "mdtrt_cert_no", "A00000012")}, "未查询到"},
		{"1101", "", msg{"data": with(id, "psn_name", "李四")}, "姓名"},
		{"1101", "", msg{"data": with(id, "certno", "110101199003074530")}, "证件号码"},
		{"1101", "", msg{"data": with(id, "mdtrt_cert_type", "02")}, "未查询到"},
		{"1101", "", msg{"data": with(id, "mdtrt_cert_type", "01")}, "电子凭证"},
		{"1101", "", msg{"data": with(id, "mdtrt_cert_type", "07")}, "01、02或03"},
		{"1101", "", msg{"data": with(id, "psn_name", 7)}, "应为文本"},
		{"1101", "", msg{"data": with(id, "psn_name", strings.Repeat("名", 51))}, "超过50个字符"},
		{"1101", "", msg{"data": with(id, "begntime", "2026-02-30 00:00:00")}, "yyyy-MM-dd HH:mm:ss"},
		{"1101", "", msg{"data": []msg{id, id}}, "条数2"},
		{"1101", "", msg{"data": "x"}, "应为对象或列表"},
		{"1101", "", msg{}, "缺少节点[data]"},
		{"1101", "", "x", "[input]"},
		{"2201", "", msg{"data": reg}, "insuplc_admdvs不能为空"},
		{"2201", "510100", msg{"data": reg}, "insuplc_admdvs与参保信息不一致"},
		{"2201", v.area, msg{"data": with(reg, "insutype", "390")}, "参保状态不正常"},
		{"2201", v.area, msg{"data": with(reg, "psn_type", "12")}, "psn_type"},
		{"2201", v.area, msg{"data": with(reg, "psn_no", other.p.PsnNo)}, "人员编号"},
		{"2201", v.area, msg{"data": with(reg, "begntime", "2026-05-20 12:31:00")}, "晚于当前时间"},
		{"2201", v.area, msg{"data": with(reg, "ipt_otp_no", "MZ2")}, "ipt_otp_no已使用"},
		{"2203", v.area, with(info, "diseinfo", nil), "缺少节点[diseinfo]"},
		{"2203", v.area, with(info, "mdtrtinfo", with(info["mdtrtinfo"].(msg), "mdtrt_id", "1")), "未查询到就诊信息"},
		{"2203", v.area, with(info, "mdtrtinfo", with(info["mdtrtinfo"].(msg), "psn_no", other.p.PsnNo)), "与就诊信息不一致"},
		{"2203", v.area, with(info, "mdtrtinfo", with(info["mdtrtinfo"].(msg), "med_type", "2101")), "med_type"},
		{"2203", v.area, with(info, "diseinfo", []msg{with(info["diseinfo"].([]msg)[0], "vali_flag", "0")}), "没有有效的诊断"},
		{"2203", v.area, with(info, "diseinfo", []msg{info["diseinfo"].([]msg)[0], info["diseinfo"].([]msg)[0]}), "diag_srt_no重复"},
		{"2203", v.area, with(info, "diseinfo", []msg{with(info["diseinfo"].([]msg)[0], "diag_srt_no", "x")}), "应为数字"},
		{"2204", v.area, lines("med_list_codg", "X00"), "第1条[B2-1]：医疗目录编码med_list_codg[X00]不在医保目录内"},
		{"2204", v.area, two("med_list_codg", "X00"), "第2条[B2-2]"},
		{"2204", v.area, two("mdtrt_id", other.mdtrtID), "mdtrt_id与第1条不一致"},
		{"2204", v.area, two("chrg_bchno", "B3"), "chrg_bchno与第1条不一致"},
		{"2204", v.area, two("feedetl_sn", "B2-1"), "feedetl_sn[B2-1]重复"},
		{"2204", v.area, lines("feedetl_sn", "B1-1"), "feedetl_sn[B1-1]重复"},
		{"2204", v.area, lines("chrg_bchno", "B1"), "chrg_bchno重复"},
		{"2204", v.area, lines("cnt", 2), "与单价乘数量30.00不一致"},
		{"2204", v.area, lines("cnt", -1, "det_item_fee_sumamt", -15), "数量cnt应大于0"},
		{"2204", v.area, lines("pric", 0, "det_item_fee_sumamt", 0), "单价pric应大于0"},
		{"2204", v.area, lines("det_item_fee_sumamt", 15.001), "最多2位小数"},
		{"2204", v.area, lines("pric", json.Number("1e3")), "应为数字"},
		{"2204", v.area, lines("pric", json.Number("9999999999"), "cnt", json.Number("999999999999"), "det_item_fee_sumamt", 15), "金额超出范围"},
		{"2204", v.area, lines("cnt", json.Number("1234567890123.5")), "超过16位数字"},
		{"2204", v.area, lines("hosp_appr_flag", "9"), "hosp_appr_flag"},
		{"2204", v.area, lines("rx_circ_flag", "x"), "rx_circ_flag"},
		{"2204", v.area, lines("fee_ocur_time", "2026-05-19 23:59:59"), "早于就诊日期"},
		{"2204", v.area, lines("fee_ocur_time", "2026-05-20 13:00:00"), "晚于当前时间"},
		{"2204", v.area, lines("psn_no", other.p.PsnNo), "人员编号psn_no与就诊信息不一致"},
		{"2204", v.area, msg{"feedetail": []msg{}}, "条数0"},
		{"2206", v.area, msg{"data": with(pay, "medfee_sumamt", 15.01)}, "[medfee_sumamt]15.01与已上传费用明细的合计15.00不一致"},
		{"2206", v.area, msg{"data": with(pay, "chrg_bchno", "B7")}, "没有已上传的费用明细"},
		{"2206", v.area, msg{"data": with(pay, "psn_type", "12")}, "psn_type"},
		{"2206", v.area, msg{"data": with(pay, "med_type", "13")}, "med_type与就诊信息不一致"},
		{"2206", v.area, msg{"data": with(pay, "psn_setlway", "02")}, "psn_setlway"},
		{"2206", v.area, msg{"data": with(pay, "acct_used_flag", "2")}, "共济"},
		{"2206", v.area, msg{"data": with(pay, "acct_used_flag", "3")}, "acct_used_flag"},
		{"2207", v.area, msg{"data": with(pay, "inscp_scp_amt", 14.99)}, "[inscp_scp_amt]"},
		{"2207", v.area, msg{"data": with(pay, "preselfpay_amt", 0.01)}, "[preselfpay_amt]"},
		{"2207", v.area, msg{"data": with(pay, "overlmt_selfpay", 0.01)}, "[overlmt_selfpay]"},
		{"2207", v.area, msg{"data": with(pay, "fulamt_ownpay_amt", nil)}, "[fulamt_ownpay_amt]全自费金额不能为空"},
		{"2207", v.area, msg{"data": with(pay, "mdtrt_id", other.mdtrtID)}, "人员编号psn_no与就诊信息不一致"},
		{"2207", v.area, msg{"data": with(with(pay, "mdtrt_id", other.mdtrtID), "psn_no", other.p.PsnNo)}, "insuplc_admdvs"},
		{"2207", other.area, msg{"data": with(with(pay, "mdtrt_id", other.mdtrtID), "psn_no", other.p.PsnNo)}, "人员编号与就诊凭证不一致"},
		{"2207", v.area, msg{"data": with(pay, "card_sn", "510100D156000005000356767C31A94E")}, "card_sn"},
		{"2209", v.area, msg{"data": msg{}}, "交易编号[2209]"},
	} {
		e := d.envelope(x.infno, x.area, nil)
		e["input"] = x.input
		d.refused(t, e, x.why)
	}
	ok := d.envelope("1101", "", msg{"data": id})
	for _, x := range []struct {
		change []any
		why    string
	}{
		{[]any{"msgid", ""}, "[msgid]"},
		{[]any{"msgid", strings.Repeat("1", 31)}, "超过30个字符"},
		{[]any{"mdtrtarea_admvs", "5101"}, "6位数字"},
		{[]any{"fixmedins_code", "H51"}, "12位"},
		{[]any{"opter_type", "4"}, "opter_type"},
		{[]any{"inf_time", "2026/05/20 12:00:00"}, "[inf_time]"},
		{[]any{"inf_time", "2026-05-20 12:00:00.5"}, "[inf_time]"},
		{[]any{"sign_no", "1"}, "签到编号无效"},
		{[]any{"opter", "0002"}, "签到编号无效"},
		{[]any{"infver", nil}, "[infver]"},
		{[]any{"infno", "9999"}, "不存在"},
		{[]any{"infno", "ENVELOPE"}, "超过6个字符"},
		{[]any{"opter", "00\x001"}, "无效字符"},
	} {
		d.refused(t, with(ok, x.change...), x.why)
	}
	if _, err := parseTime("2026-05-20 12:00:00"); err != nil {
		t.Error(err)
	}
	if n := len(d.c.Settlements()); n != 0 {
		t.Errorf("%d settlements were booked by refusals", n)
	}
	// Nothing of the refused was booked: the good batch still settles.
	_ = p
	d.call(t, "2204", v.area, v.feeInput("B2", visit))
	d.call(t, "2207", v.area, msg{"data": pay})
	d.refused(t, d.envelope("2203", v.area, info), "就诊已结算")
}
