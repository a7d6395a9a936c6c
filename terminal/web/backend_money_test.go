package web_test

import (
	"fmt"
	"maps"
	"math/big"
	"strings"
)

// exact is price x quantity in fen, rounded half up, by rational numbers.
func exact(price, quantity string) (int64, bool) {
	p, okP := new(big.Rat).SetString(price)
	q, okQ := new(big.Rat).SetString(quantity)
	if !okP || !okQ {
		return 0, false
	}
	r := new(big.Rat).Mul(p, q)
	r.Mul(r, big.NewRat(100, 1)).Add(r, big.NewRat(1, 2))
	return new(big.Int).Div(r.Num(), r.Denom()).Int64(), true
}

func fenOf(amount string) int64 {
	fen, ok := exact(amount, "1")
	if !ok {
		panic("not an amount: " + amount)
	}
	return fen
}

func yuan(fen int64) string { return fmt.Sprintf("%d.%02d", fen/100, fen%100) }

func (d *desk) putLines(visit, in object) (int, any) {
	list, _ := in["lines"].([]any)
	var total int64
	made := []object{}
	for i, each := range list {
		line := each.(map[string]any)
		amount, ok := exact(fmt.Sprint(line["price"]), fmt.Sprint(line["quantity"]))
		if !ok || line["code"] == "" || line["name"] == "" {
			return 400, object{"fault": failure("OC-2007", "费用明细不合法。", "A fee line is not valid.", fmt.Sprint(i+1))}
		}
		if d.skew != "" {
			amount += fenOf(d.skew)
		}
		total += amount
		made = append(made, object{"sn": fmt.Sprint(i + 1), "code": line["code"], "name": line["name"], "quantity": line["quantity"], "price": line["price"], "amount": yuan(amount)})
	}
	visit["lines"], visit["total"], visit["trial"], visit["fault"], visit["state"] = made, yuan(total), nil, nil, "lines"
	visit["next"] = []string{"lines", "trial", "set-aside", "abandon"}
	if len(made) == 0 {
		visit["next"] = []string{"lines", "abandon"}
	}
	return 200, visit
}

// trial splits: codes with Z are outside the catalogue, those with Y are class
// B with a tenth to be paid first; 10.00 deductible; the fund pays 70 % of the rest.
func trial(visit object) {
	var total, self, pre int64
	for _, line := range visit["lines"].([]object) {
		amount := fenOf(line["amount"].(string))
		total += amount
		var lineSelf, linePre int64
		switch code := line["code"].(string); {
		case strings.HasPrefix(code, "Z"):
			lineSelf = amount
		case strings.HasPrefix(code, "Y"):
			linePre = amount / 10
		}
		self += lineSelf
		pre += linePre
		line["split"] = object{"full_self_pay": yuan(lineSelf), "over_limit": "0.00", "pre_self_pay": yuan(linePre), "in_scope": yuan(amount - lineSelf - linePre)}
	}
	scope := total - self - pre
	deductible := min(int64(1000), scope)
	fund := (scope - deductible) * 70 / 100
	account := min(scope-fund, 123456)
	visit["trial"] = object{"total": yuan(total), "fund": yuan(fund), "account": yuan(account), "cash": yuan(total - fund - account), "hospital": "0.00", "deductible": yuan(deductible),
		"full_self_pay": yuan(self), "over_limit": "0.00", "pre_self_pay": yuan(pre), "in_scope": yuan(scope)}
	visit["state"], visit["fault"] = "tried", nil
	visit["next"] = []string{"lines", "trial", "settle", "abandon"}
}

func (d *desk) settle(visit, in object) (int, any) {
	if visit["state"] == "settled" {
		return 200, visit
	}
	if visit["state"] != "tried" {
		return 409, object{"fault": failure("OC-2301", "该就诊有结果未知的结算，核对前不能再次结算。", "Unresolved.", "")}
	}
	split := visit["trial"].(object)
	agreed, _ := in["agreed"].(map[string]any)
	if agreed["total"] != split["total"] || agreed["cash"] != split["cash"] {
		return 409, object{"fault": failure("OC-2306", "付款人同意的金额与试算结果不同。", "The agreed amount differs.", "")}
	}
	entry := object{"id": len(d.journal) + 1, "visit": visit["id"], "transaction": "2207", "msgid": "H51010400001202611211000000001", "opened": "2026-11-21T10:01:00+08:00", "closed": "2026-11-21T10:01:01+08:00", "outcome": "done",
		"total": split["total"], "fund": split["fund"], "account": split["account"], "cash": split["cash"], "settlement_id": "S0001", "mdtrt_id": "M0001", "holder": visit["holder"].(object)["name"], "fault": nil}
	d.journal = append(d.journal, entry)
	visit["journal"], visit["next"] = entry["id"], []string{"refund", "dismiss"}
	end := func(status int, state, outcome string, f object) (int, any) {
		visit["state"], visit["fault"], entry["outcome"], entry["fault"] = state, f, outcome, f
		entry["settlement_id"] = ""
		return status, object{"fault": f}
	}
	switch d.settlement {
	case "lost":
		return end(504, "unknown", "unknown", failure("OC-2102", "已发送但没有收到应答，结果未知。", "The request was sent and its answer lost.", ""))
	case "sums":
		return end(502, "unknown", "unknown", failure("OC-2203", "医保中心返回的金额不平，请人工核对，不要收费。", "The amounts do not add up.", ""))
	case "refused":
		visit["next"] = []string{"lines", "trial", "settle", "abandon"}
		return end(422, "tried", "refused", failure("OC-2201", "医保中心拒绝了该交易。", "The centre refused.", "参保人待遇已暂停"))
	}
	d.settled++
	visit["state"], visit["fault"] = "settled", nil
	visit["receipt"] = object{"settlement_id": "S0001", "time": "2026-11-21 10:01:01", "total": split["total"], "fund": split["fund"], "account": split["account"], "cash": split["cash"], "hospital": "0.00", "balance": yuan(123456 - fenOf(split["account"].(string))), "msgid": entry["msgid"],
		"institution": object{"code": "H51010400001", "name": d.institute}, "operator": d.state["operator"], "holder": visit["holder"], "lines": visit["lines"]}
	return 200, visit
}

// refund takes the settlement of an entry back.
func (d *desk) refund(id string, in object) (int, any) {
	var settled object
	for _, e := range d.journal {
		if fmt.Sprint(e["id"]) == id {
			settled = e
		}
	}
	if settled == nil || settled["outcome"] != "done" || settled["reversed_by"] != nil {
		return 409, object{"fault": failure("OC-2302", "当前步骤不能执行该操作。", "Not at this step.", "")}
	}
	entry := object{}
	maps.Copy(entry, settled)
	entry["id"], entry["transaction"], entry["undoes"], entry["settlement_id"] = len(d.journal)+1, "2208", settled["id"], "R0001"
	for _, part := range []string{"total", "fund", "account", "cash"} {
		if entry[part] != "0.00" {
			entry[part] = "-" + settled[part].(string)
		}
	}
	d.journal = append(d.journal, entry)
	visit, _ := d.state["visit"].(object)
	if d.refunding == "lost" {
		f := failure("OC-2102", "已发送但没有收到应答，结果未知。", "The request was sent and its answer lost.", "")
		entry["outcome"], entry["fault"] = "unknown", f
		visit["state"], visit["undoing"], visit["fault"], visit["journal"], visit["next"] = "unknown", true, f, entry["id"], []string{"dismiss"}
		return 504, object{"fault": f}
	}
	settled["reversed_by"] = entry["id"]
	slip := object{"journal": entry["id"], "refunds": settled["id"], "visit": settled["visit"], "settlement_id": "R0001", "refunded_id": settled["settlement_id"], "time": "2026-11-21 10:09:00",
		"msgid": "H51010400001202611211000000009", "reason": in["reason"], "institution": object{"name": d.institute}, "operator": d.state["operator"], "holder": object{"name": settled["holder"]},
		"total": entry["total"], "fund": entry["fund"], "account": entry["account"], "cash": entry["cash"]}
	if visit != nil && visit["id"] == settled["visit"] {
		visit["state"], visit["receipt"], visit["trial"], visit["journal"] = "lines", nil, nil, nil
		visit["refunds"], visit["next"] = []object{slip}, []string{"lines", "trial", "set-aside", "abandon"}
	}
	return 200, slip
}
