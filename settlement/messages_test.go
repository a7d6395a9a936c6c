package settlement

import (
	"fmt"
	"time"
)

// What the tests send: a synthetic visit.
var (
	testInstitution = Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"}
	testOperator    = Operator{Type: "1", No: "0001", Name: "样例收费员"}
	testTime        = time.Date(2026, 3, 9, 10, 30, 0, 0, china)
	testScope       = Scope{InsuplcAdmdvs: "510100", SignNo: "S1"}
)

func aPersonQuery() PersonQuery {
	return PersonQuery{MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966", PsnCertType: "01", Certno: "410101199003074531", PsnName: "张三"}
}

func aRegistration() Registration {
	return Registration{
		PsnNo: "P1", Insutype: "310", Begntime: FormatTime(testTime), MdtrtCertType: "03", MdtrtCertNo: "A00000011",
		CardSN: "410100D15600000500BF7C7A48FB4966", PsnCertType: "01", Certno: "410101199003074531", PsnType: "11", PsnName: "张三",
		IptOtpNo: "OP1", DeptCode: "D1", DeptName: "内科", Caty: "A03",
	}
}

func aVisitUpload() VisitUpload {
	return VisitUpload{
		MdtrtInfo: MdtrtInfo{MdtrtID: "M1", PsnNo: "P1", MedType: "11", Begntime: FormatTime(testTime), DiseCodg: "I10", DiseName: "高血压"},
		DiseInfo: []DiseInfo{{
			DiagType: "1", DiagSrtNo: 1, DiagCode: "I10.x00", DiagName: "特发性高血压", DiagDept: "内科", DiseDorNo: "D510100000001",
			DiseDorName: "样例医师", DiagTime: FormatTime(testTime), ValiFlag: "1",
		}},
	}
}

func feeLines(n int) []FeeDetail {
	lines := make([]FeeDetail, n)
	for i := range lines {
		price, quantity := Price(1_250_000), Quantity(140_000)
		amount, err := LineAmount(price, quantity)
		if err != nil {
			panic(err)
		}
		lines[i] = FeeDetail{
			FeedetlSN: SerialNo{Value: fmt.Sprint(i + 1)}, MdtrtID: "M1", PsnNo: "P1", ChrgBchno: "B1", RxCircFlag: "0",
			FeeOcurTime: FormatTime(testTime), MedListCodg: "XA02BCA076E001010190001", MedinsListCodg: "H1",
			DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
			BilgDeptCodg: "D1", BilgDeptName: "内科", BilgDrCodg: "D510100000001", BilgDrName: "样例医师", HospApprFlag: "1",
		}
	}
	return lines
}

func aTrialInput() TrialInput {
	return TrialInput{
		PsnNo: "P1", MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966", PsnCertType: "01",
		Certno: "410101199003074531", PsnType: "11", PsnName: "张三", MedType: "11", MedfeeSumamt: 10000, PsnSetlway: "01",
		MdtrtID: "M1", ChrgBchno: "B1", AcctUsedFlag: "1", Insutype: "310",
	}
}

func aSettleInput() SettleInput {
	return SettleInput{
		PsnNo: "P1", MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966", PsnCertType: "01",
		Certno: "410101199003074531", MedType: "11", MedfeeSumamt: 10000, PsnSetlway: "01", MdtrtID: "M1", ChrgBchno: "B1",
		Insutype: "310", AcctUsedFlag: "1", FulamtOwnpayAmt: 1000, OverlmtSelfpay: 500, PreselfpayAmt: 500, InscpScpAmt: 8000,
	}
}

// aSetlInfo answers aSettleInput with identities that hold: total 100.00, fund
// 60.00, account 25.00, cash 15.00.
func aSetlInfo(msgid string) SetlInfo {
	return SetlInfo{
		MdtrtID: "M1", SetlID: "S1", PsnNo: "P1", MedinsSetlID: Text(msgid), SetlTime: "2026-03-09 10:30:01",
		MedfeeSumamt: SomeFen(10000), FulamtOwnpayAmt: SomeFen(1000), OverlmtSelfpay: SomeFen(500), PreselfpayAmt: SomeFen(500), InscpScpAmt: SomeFen(8000),
		HifpPay: SomeFen(5500), CvlservPay: SomeFen(0), HifesPay: SomeFen(0), HifmiPay: SomeFen(500), HifobPay: SomeFen(0), MafPay: SomeFen(0),
		OthPay: SomeFen(0), HifdmPay: SomeFen(0), FundPaySumamt: SomeFen(6000), PsnPartAmt: SomeFen(4000), AcctPay: SomeFen(2500),
		PsnCashPay: SomeFen(1500), HospPartAmt: SomeFen(0), AcctMulaidPay: SomeFen(0), Balc: SomeFen(10000),
	}
}

var agreed = Amounts{Total: 10000, Fund: 6000, Account: 2500, Cash: 1500}
