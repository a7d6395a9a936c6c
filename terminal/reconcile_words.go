package terminal

import "onecard/settlement"

// findingTexts say what a difference means; docs/reconciliation.md says what to
// do about each.
var findingTexts = map[settlement.Finding]Text{
	settlement.FoundUnknown:  {"医保中心已结算，本机该笔结果未知。", "The centre has booked it; here its outcome is unknown."},
	settlement.FoundOnItsWay: {"医保中心已结算，本机正在等待应答。", "The centre has booked it; here its answer is still awaited."},
	settlement.FoundRefused:  {"医保中心已结算，本机记为未成功。", "The centre has booked it; here it is down as not done."},
	settlement.FoundTwice:    {"医保中心对同一笔请求结算了两次。", "The centre has booked the same request twice."},
	settlement.FoundNumbered: {"医保中心结算此请求所用的结算编号与应答所给的不同，这可能是它唯一的结算，请勿退费，请与中心核对两个编号。",
		"The centre booked this request under another settlement number than its answer said. It may be its only booking: do not refund it, and call the centre with both numbers."},
	settlement.FoundAnothers: {"本机的这一结算编号在医保中心属于另一笔请求，请勿按此编号退费，请与中心核对。",
		"At the centre this settlement number belongs to another request: do not refund by this number, and call the centre."},
	settlement.FoundNobody:     {"医保中心有此结算，本机没有任何记录。", "The centre has it, and nobody here knows it."},
	settlement.FoundElsewhere:  {"医保中心有此结算，可能是其他窗口或其他系统的。", "The centre has it; it may be another desk's or another program's."},
	settlement.FoundVoided:     {"已人工标为中心未结算，但医保中心仍有此结算。", "It was marked here as not booked, and the centre has it."},
	settlement.FoundRefund:     {"医保中心有一笔本机没有的退费。", "The centre has a refund that nobody here made."},
	settlement.FoundReversed:   {"已冲正（2601），无需处理。", "Taken back by a reversal (2601); nothing is to be done."},
	settlement.FoundRefunded:   {"已按先前的对账结果退费，无需处理。", "Refunded after an earlier report; nothing is to be done."},
	settlement.FoundOtherDay:   {"本机已结算，计入另一天或另一类别，无需处理。", "It is done here and counted on another day or in another kind; nothing is to be done."},
	settlement.FoundMissing:    {"本机已结算，医保中心没有。", "It is done here, and the centre does not have it."},
	settlement.FoundDuplicate:  {"本机另一笔的结算编号与此相同。", "Another entry here has the same settlement number."},
	settlement.FoundStray:      {"医保中心列出了一行双方都没有的记录。", "The centre lists a row that neither side has."},
	settlement.FoundAmounts:    {"双方金额不同。", "The amounts differ."},
	settlement.FoundNumbers:    {"双方金额相同，人员、就诊或退费标志不同。", "The amounts are alike; person, visit or kind of row differ."},
	settlement.FoundIncomplete: {"医保中心给出的内容不全，不能据此记账。", "What the centre gives is not enough to book it here."},
	settlement.FoundNotThere:   {"本机结果未知，医保中心没有此结算。", "Its outcome is unknown here, and the centre does not have it."},
	settlement.FoundTooYoung:   {"本机结果未知，医保中心尚未列出，请稍后或次日再对账。", "Its outcome is unknown here, and the centre does not list it yet: reconcile again later or tomorrow."},
	settlement.FoundSums:       {"总账不平，但明细没有差异。", "The totals differ, and no row says why."},
}

// actionTexts name what can be done.
var actionTexts = map[settlement.Action]Text{
	settlement.ActNone:   {"无需处理", "nothing to do"},
	settlement.ActBook:   {"在本机补记为已结算", "book here as done"},
	settlement.ActRefund: {"在医保中心退费", "refund at the centre"},
	settlement.ActVoid:   {"标记本机该笔为未结算", "mark ours as not booked"},
	settlement.ActAsk:    {"人工核对，记录结论", "a person finds out and notes it"},
}

var kindTexts = map[settlement.DifferenceKind]Text{
	settlement.OnlyUpstream: {"仅中心有", "only at the centre"},
	settlement.OnlyHere:     {"仅本机有", "only here"},
	settlement.Differs:      {"不一致", "not alike"},
	settlement.InDoubt:      {"结果未知", "in doubt"},
	settlement.SumsDiffer:   {"总账不平", "totals"},
}

var reportTexts = map[string]Text{
	ReportNone:                        {"尚未对账", "not reconciled yet"},
	string(settlement.Balanced):       {"已平", "balanced"},
	string(settlement.Unbalanced):     {"不平", "does not balance"},
	string(settlement.HandledAll):     {"差异均已处理", "every difference is dealt with"},
	string(settlement.StateOpen):      {"待处理", "open"},
	string(settlement.StateBegun):     {"处理未完成", "begun, not finished"},
	string(settlement.StateDone):      {"已处理", "dealt with"},
	string(settlement.StateExplained): {"已查明", "explained"},
}
