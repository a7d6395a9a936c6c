package terminal

import (
	"fmt"

	"onecard/settlement"
)

// reasonTexts say why an attempt did not decide.
var reasonTexts = map[settlement.Reason]Text{
	settlement.ReasonLine:       {"医保中心无法联系或没有可用的应答。", "The centre could not be reached, or gave no answer that can be used."},
	settlement.ReasonEarly:      {"医保中心尚无此交易，但仍可能到达。", "The centre does not have it, but it may still arrive."},
	settlement.ReasonSilent:     {"医保中心的应答不能说明是否已记账。", "Nothing that the centre answered says whether it is booked."},
	settlement.ReasonWaits:      {"冲正或退费本身结果未知，先等它查清。", "What takes it back is in doubt itself and comes first."},
	settlement.ReasonBound:      {"已按规定次数或时间查询，仍未查清。", "It was asked about as often, or for as long, as configured."},
	settlement.ReasonNoLookup:   {"本地区没有可以查清的交易。", "The region answers no question that could decide it."},
	settlement.ReasonDiffers:    {"医保中心有此交易，但就诊、人员、金额或编号不符。", "The centre has it with another visit, person, amount or number."},
	settlement.ReasonSums:       {"医保中心有此交易，但金额不平。", "The centre has it with amounts that do not add up."},
	settlement.ReasonTwice:      {"医保中心有多笔，或编号与另一笔结算相同。", "The centre has it several times, or under the number of another settlement."},
	settlement.ReasonTakenBack:  {"医保中心已记账，后又撤销。", "The centre booked it and has taken it back."},
	settlement.ReasonNotRefund:  {"无法确定退费是否成功；不会再次自动退费。", "Whether the refund was booked is not certain; it is never sent again by itself."},
	settlement.ReasonReversal:   {"医保中心拒绝冲正。", "The centre refused to reverse it."},
	settlement.ReasonLateBooked: {"后到的应答或查询表明已结算，而日志为未结算。", "A later answer says that it is booked; the journal says that it is not."},
	settlement.ReasonLateOther:  {"后到的应答或查询表明未结算或结算不同，而日志为已结算。", "A later answer says that it is not booked, or otherwise; the journal says that it is done."},
}

// verdictTexts say what an attempt came to.
var verdictTexts = map[settlement.Verdict]Text{
	settlement.VerdictBooked:       {"医保中心已记账，已补记。", "The centre has it: it is done."},
	settlement.VerdictNever:        {"医保中心没有此交易，未记账。", "The centre does not have it: nothing is booked."},
	settlement.VerdictReversed:     {"已用 2601 冲正，未记账。", "2601 took it back: nothing is booked."},
	settlement.VerdictGivenUp:      {"需人工核对：", "A person must decide: "},
	settlement.VerdictUndecided:    {"未查清：", "Not decided: "},
	settlement.VerdictContradicted: {"与日志不一致：", "It contradicts the journal: "},
	settlement.VerdictAcknowledged: {"不一致已处理。", "The contradiction was seen to."},
}

func verdictText(f settlement.AttemptFinding) Text {
	t := verdictTexts[f.Verdict]
	switch f.Verdict {
	case settlement.VerdictGivenUp, settlement.VerdictUndecided, settlement.VerdictContradicted:
		r := reasonTexts[f.Reason]
		return Text{t.Chinese + r.Chinese, t.English + r.English}
	}
	return t
}

// saidTexts say what one question found.
var saidTexts = map[string]Text{
	settlement.SaidBooked:    {"找到该笔结算", "has it"},
	settlement.SaidAbsent:    {"对账明细中没有", "not in the statement"},
	settlement.SaidNothing:   {"应答与是否记账无关", "the answer says neither"},
	settlement.SaidRefused:   {"医保中心拒绝了查询", "the centre refused the question"},
	settlement.SaidLine:      {"没有可用的应答", "no answer that can be used"},
	settlement.SaidStands:    {"该结算仍然有效", "the settlement stands"},
	settlement.SaidTakenBack: {"该结算已撤销", "the settlement was taken back"},
	settlement.SaidDiffers:   {"就诊、人员、金额或编号不符", "another visit, person, amount or number"},
	settlement.SaidSums:      {"金额不平", "amounts that do not add up"},
	settlement.SaidTwice:     {"有多笔", "several"},
	settlement.SaidReversed:  {"冲正成功", "taken back"},
	settlement.SaidUnknown:   {"医保中心没有原交易", "the centre knows no such transaction"},
	settlement.SaidNotAsked:  {"未查询：缺少接口要求的数据", "not asked: what the interface requires is not known"},
	settlement.SaidLate:      {"迟到的应答", "an answer that came late"},
}

func saidText(found string) Text { return saidTexts[found] }

// todo says what a person does about an entry, with everything that the centre's
// staff will ask for.
func todo(e settlement.Entry, why settlement.Reason) *Text {
	ask := Text{
		fmt.Sprintf("请致电医保中心，提供报文号 %s、交易 %s、就诊编号 %s、金额 %s、时间 %s。", e.MsgID, e.Infno, orDash(e.MdtrtID), e.Agreed.Total.Yuan(), settlement.FormatTime(e.OpenedAt)),
		fmt.Sprintf("Ask the centre, with msgid %s, transaction %s, mdtrt_id %s, total %s, sent at %s.", e.MsgID, e.Infno, orDash(e.MdtrtID), e.Agreed.Total.Yuan(), settlement.FormatTime(e.OpenedAt)),
	}
	if e.SetlID != "" {
		ask.Chinese += fmt.Sprintf("已知结算编号 %s。", e.SetlID)
		ask.English += fmt.Sprintf(" The setl_id known is %s.", e.SetlID)
	}
	next := Text{
		fmt.Sprintf("已记账：onecard journal resolve %d --done，填写结算编号和金额；未记账：onecard journal resolve %d --refused。不要再次结算。", e.ID, e.ID),
		fmt.Sprintf("Booked: onecard journal resolve %d --done with setl_id and amounts. Not booked: onecard journal resolve %d --refused. Do not settle again before.", e.ID, e.ID),
	}
	switch {
	case why == settlement.ReasonLateBooked, why == settlement.ReasonLateOther:
		next = Text{
			fmt.Sprintf("与医保中心核对后处理（多出的结算请中心撤销，缺少的请补办），再次查询，或用 onecard journal resolve %d --acknowledge 写明处理结果。", e.ID),
			fmt.Sprintf("Have a surplus settlement taken back, or make up for a missing one; then ask again, or say what was done with onecard journal resolve %d --acknowledge.", e.ID),
		}
	case why == settlement.ReasonTakenBack, why == settlement.ReasonTwice, why == settlement.ReasonDiffers, why == settlement.ReasonSums:
		next.Chinese = "请中心说明并更正。" + next.Chinese
		next.English = "Have the centre explain and put it right. " + next.English
	case e.Undoes != 0:
		next.Chinese = fmt.Sprintf("核实记录 %d 的结算是否仍然有效。", e.Undoes) + next.Chinese
		next.English = fmt.Sprintf("Find out whether the settlement of entry %d stands. ", e.Undoes) + next.English
	}
	return &Text{ask.Chinese + next.Chinese, ask.English + " " + next.English}
}

func orDash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}
