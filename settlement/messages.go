package settlement

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The messages are named after their transactions; fields after fields.tsv.
// In requests an optional field that is empty is left out; a required one that
// is empty is refused before anything is sent. Values of coded fields are
// those of dict.tsv.

// A SignIn is the input of 9001, node signIn.
type SignIn struct {
	OpterNo string `json:"opter_no"` // operator number, up to 20
	Mac     string `json:"mac"`      // of the signing-in machine, up to 20
	IP      string `json:"ip"`       // up to 20
}

// A SignedIn is the output of 9001, node signinoutb.
type SignedIn struct {
	SignTime Text `json:"sign_time"` // yyyy-MM-dd HH:mm:ss
	SignNo   Text `json:"sign_no"`   // per operator and day
}

// A PersonQuery is the input of 1101, node data.
type PersonQuery struct {
	MdtrtCertType string `json:"mdtrt_cert_type"`    // 01 e-voucher, 02 ID card, 03 social security card
	MdtrtCertNo   string `json:"mdtrt_cert_no"`      // 03: the card number (9)
	CardSN        string `json:"card_sn,omitempty"`  // 03: the card identification code (32 hex), required
	Begntime      string `json:"begntime,omitempty"` // yyyy-MM-dd HH:mm:ss
	PsnCertType   string `json:"psn_cert_type"`
	Certno        string `json:"certno"`
	PsnName       string `json:"psn_name"`
}

// A Person is the output of 1101.
type Person struct {
	BaseInfo Node[BaseInfo] `json:"baseinfo"`
	InsuInfo List[InsuInfo] `json:"insuinfo"`
	IdetInfo List[IdetInfo] `json:"idetinfo"`
}

// BaseInfo is who a person is.
type BaseInfo struct {
	PsnNo       Text `json:"psn_no"`
	PsnCertType Text `json:"psn_cert_type"`
	Certno      Text `json:"certno"`
	PsnName     Text `json:"psn_name"`
	Gend        Text `json:"gend"`
	Naty        Text `json:"naty"`
	Brdy        Text `json:"brdy"` // yyyy-MM-dd
	Age         Text `json:"age"`  // 4,1
	ExpContent  Text `json:"exp_content"`
}

// InsuInfo is one insurance of a person.
type InsuInfo struct {
	Balc          NullFen `json:"balc"` // account balance
	Insutype      Text    `json:"insutype"`
	PsnType       Text    `json:"psn_type"`
	PsnInsuStas   Text    `json:"psn_insu_stas"`
	PsnInsuDate   Text    `json:"psn_insu_date"`
	PausInsuDate  Text    `json:"paus_insu_date"`
	CvlservFlag   Text    `json:"cvlserv_flag"`
	InsuplcAdmdvs Text    `json:"insuplc_admdvs"` // place of insurance: keep it for all that follows
	EmpName       Text    `json:"emp_name"`
}

// IdetInfo is a special identity of a person (poverty relief and the like).
type IdetInfo struct {
	PsnIdetType Text `json:"psn_idet_type"`
	PsnTypeLv   Text `json:"psn_type_lv"`
	Memo        Text `json:"memo"`
	Begntime    Text `json:"begntime"`
	Endtime     Text `json:"endtime"`
}

// A Registration is the input of 2201, node data.
type Registration struct {
	PsnNo         string `json:"psn_no"`
	Insutype      string `json:"insutype"`
	Begntime      string `json:"begntime"` // yyyy-MM-dd HH:mm:ss
	MdtrtCertType string `json:"mdtrt_cert_type"`
	MdtrtCertNo   string `json:"mdtrt_cert_no"`
	CardSN        string `json:"card_sn,omitempty"`
	PsnCertType   string `json:"psn_cert_type"`
	Certno        string `json:"certno"`
	PsnType       string `json:"psn_type"`
	PsnName       string `json:"psn_name"`
	IptOtpNo      string `json:"ipt_otp_no"` // the institution's own number, unique per visit
	AtddrNo       string `json:"atddr_no,omitempty"`
	DrName        string `json:"dr_name,omitempty"`
	DeptCode      string `json:"dept_code"`
	DeptName      string `json:"dept_name"`
	Caty          string `json:"caty"`
	ExpContent    string `json:"exp_content,omitempty"`
}

// A Registered is the output of 2201, node data.
type Registered struct {
	MdtrtID    Text `json:"mdtrt_id"`
	PsnNo      Text `json:"psn_no"`
	IptOtpNo   Text `json:"ipt_otp_no"`
	ExpContent Text `json:"exp_content"`
}

// A VisitUpload is the input of 2203 (2203A in some regions).
type VisitUpload struct {
	MdtrtInfo MdtrtInfo  `json:"mdtrtinfo"`
	DiseInfo  []DiseInfo `json:"diseinfo"`
}

// MdtrtInfo is the visit of 2203.
type MdtrtInfo struct {
	MdtrtID         string `json:"mdtrt_id"`
	PsnNo           string `json:"psn_no"`
	MedType         string `json:"med_type"`
	Begntime        string `json:"begntime"` // yyyy-MM-dd HH:mm:ss
	MainCondDscr    string `json:"main_cond_dscr,omitempty"`
	DiseTypeCode    string `json:"dise_type_code,omitempty"`
	DiseCodg        string `json:"dise_codg"`
	DiseName        string `json:"dise_name"`
	BirctrlType     string `json:"birctrl_type,omitempty"`
	BirctrlMatnDate string `json:"birctrl_matn_date,omitempty"` // yyyy-MM-dd
	ExpContent      string `json:"exp_content,omitempty"`
}

// DiseInfo is one diagnosis of 2203.
type DiseInfo struct {
	DiagType    string `json:"diag_type"`
	DiagSrtNo   int    `json:"diag_srt_no"`
	DiagCode    string `json:"diag_code"`
	DiagName    string `json:"diag_name"`
	DiagDept    string `json:"diag_dept"`
	DiseDorNo   string `json:"dise_dor_no"`
	DiseDorName string `json:"dise_dor_name"`
	DiagTime    string `json:"diag_time"` // yyyy-MM-dd HH:mm:ss
	ValiFlag    string `json:"vali_flag"`
}

// A SerialNo is feedetl_sn: a number in the request table, text in some
// regions ("yp570" occurs). It is unique within the visit, up to 30 long.
type SerialNo struct {
	Value  string
	AsText bool // written as a JSON text; false: as a number
}

// MarshalJSON writes a number, or a text where AsText says so. A number must
// be digits without leading zeros, or it would come back as another one.
func (s SerialNo) MarshalJSON() ([]byte, error) {
	if s.AsText {
		return json.Marshal(s.Value)
	}
	if s.Value == "" || len(s.Value) > 30 || strings.Trim(s.Value, "0123456789") != "" || s.Value[0] == '0' && s.Value != "0" {
		return nil, &ValidationError{Infno: "2204", Node: "feedetail", Row: -1, Field: "feedetl_sn", Problem: WrongType}
	}
	return []byte(s.Value), nil
}

// UnmarshalJSON reads either form and remembers which it was.
func (s *SerialNo) UnmarshalJSON(b []byte) error {
	text, _, err := lenientScalar(b)
	if err != nil {
		return fmt.Errorf("read serial number: %w", err)
	}
	*s = SerialNo{Value: text, AsText: len(b) > 0 && b[0] == '"'}
	return nil
}

// A FeeDetail is one fee line of 2204, node feedetail.
type FeeDetail struct {
	FeedetlSN        SerialNo    `json:"feedetl_sn"`
	MdtrtID          string      `json:"mdtrt_id"`
	PsnNo            string      `json:"psn_no"`
	ChrgBchno        string      `json:"chrg_bchno"` // one batch per call
	DiseCodg         string      `json:"dise_codg,omitempty"`
	Rxno             string      `json:"rxno,omitempty"`
	RxCircFlag       string      `json:"rx_circ_flag"`
	FeeOcurTime      string      `json:"fee_ocur_time"`       // yyyy-MM-dd HH:mm:ss
	MedListCodg      string      `json:"med_list_codg"`       // national catalogue code
	MedinsListCodg   string      `json:"medins_list_codg"`    // the institution's own code
	DetItemFeeSumamt Fen         `json:"det_item_fee_sumamt"` // = LineAmount(Pric, Cnt)
	Cnt              Quantity    `json:"cnt"`
	Pric             Price       `json:"pric"`
	SinDosDscr       string      `json:"sin_dos_dscr,omitempty"`
	UsedFrquDscr     string      `json:"used_frqu_dscr,omitempty"`
	PrdDays          json.Number `json:"prd_days,omitempty"` // 4,2
	MedcWayDscr      string      `json:"medc_way_dscr,omitempty"`
	BilgDeptCodg     string      `json:"bilg_dept_codg"`
	BilgDeptName     string      `json:"bilg_dept_name"`
	BilgDrCodg       string      `json:"bilg_dr_codg"`
	BilgDrName       string      `json:"bilg_dr_name"`
	AcordDeptCodg    string      `json:"acord_dept_codg,omitempty"`
	AcordDeptName    string      `json:"acord_dept_name,omitempty"`
	OrdersDrCode     string      `json:"orders_dr_code,omitempty"`
	OrdersDrName     string      `json:"orders_dr_name,omitempty"`
	HospApprFlag     string      `json:"hosp_appr_flag"`
	TcmdrugUsedWay   string      `json:"tcmdrug_used_way,omitempty"`
	EtipFlag         string      `json:"etip_flag,omitempty"`
	EtipHospCode     string      `json:"etip_hosp_code,omitempty"`
	DscgTkdrugFlag   string      `json:"dscg_tkdrug_flag,omitempty"`
	MatnFeeFlag      string      `json:"matn_fee_flag,omitempty"`
	Memo             string      `json:"memo,omitempty"`
	CombNo           string      `json:"comb_no,omitempty"`
	ExpContent       string      `json:"exp_content,omitempty"`
}

// A FeeResult is upstream's split of one fee line, node result of 2204.
type FeeResult struct {
	FeedetlSN        Text    `json:"feedetl_sn"`
	DetItemFeeSumamt NullFen `json:"det_item_fee_sumamt"`
	Cnt              Text    `json:"cnt"`
	Pric             Text    `json:"pric"`
	PricUplmtAmt     Text    `json:"pric_uplmt_amt"` // ceiling price, 16,6
	SelfpayProp      Text    `json:"selfpay_prop"`   // 5,4
	FulamtOwnpayAmt  NullFen `json:"fulamt_ownpay_amt"`
	OverlmtAmt       NullFen `json:"overlmt_amt"` // overlmt_selfpay of 2207
	PreselfpayAmt    NullFen `json:"preselfpay_amt"`
	InscpScpAmt      NullFen `json:"inscp_scp_amt"`
	ChrgitmLv        Text    `json:"chrgitm_lv"`
	MedChrgitmType   Text    `json:"med_chrgitm_type"`
	BasMednFlag      Text    `json:"bas_medn_flag"`
	HiNegoDrugFlag   Text    `json:"hi_nego_drug_flag"`
	ChldMedcFlag     Text    `json:"chld_medc_flag"`
	ListSpItemFlag   Text    `json:"list_sp_item_flag"`
	LmtUsedFlag      Text    `json:"lmt_used_flag"`
	DrtReimFlag      Text    `json:"drt_reim_flag"`
	Memo             Text    `json:"memo"`
	ExpContent       Text    `json:"exp_content"`
}

// A TrialInput is the input of 2206 (2206A), node data.
type TrialInput struct {
	PsnNo           string `json:"psn_no"`
	MdtrtCertType   string `json:"mdtrt_cert_type"`
	MdtrtCertNo     string `json:"mdtrt_cert_no"`
	CardSN          string `json:"card_sn,omitempty"`
	PsnCertType     string `json:"psn_cert_type"`
	Certno          string `json:"certno"`
	PsnType         string `json:"psn_type"`
	PsnName         string `json:"psn_name"`
	MedType         string `json:"med_type"`
	MedfeeSumamt    Fen    `json:"medfee_sumamt"` // the sum of the lines
	PsnSetlway      string `json:"psn_setlway"`
	MdtrtID         string `json:"mdtrt_id"`
	ChrgBchno       string `json:"chrg_bchno"`
	AcctUsedFlag    string `json:"acct_used_flag"` // 1: the account may pay
	Insutype        string `json:"insutype"`
	ExpContent      string `json:"exp_content,omitempty"`
	PubHospRfomFlag string `json:"pub_hosp_rfom_flag,omitempty"`
}

// A SettleInput is the input of 2207 (2207A), node data. The four sums of the
// line split come from [SumSplit].
type SettleInput struct {
	PsnNo           string `json:"psn_no"`
	MdtrtCertType   string `json:"mdtrt_cert_type"`
	MdtrtCertNo     string `json:"mdtrt_cert_no"`
	CardSN          string `json:"card_sn,omitempty"`
	PsnCertType     string `json:"psn_cert_type"`
	Certno          string `json:"certno"`
	MedType         string `json:"med_type"`
	MedfeeSumamt    Fen    `json:"medfee_sumamt"`
	PsnSetlway      string `json:"psn_setlway"`
	MdtrtID         string `json:"mdtrt_id"`
	ChrgBchno       string `json:"chrg_bchno"`
	Insutype        string `json:"insutype"`
	AcctUsedFlag    string `json:"acct_used_flag"`
	Invono          string `json:"invono,omitempty"`
	FulamtOwnpayAmt Fen    `json:"fulamt_ownpay_amt"`
	OverlmtSelfpay  Fen    `json:"overlmt_selfpay"`
	PreselfpayAmt   Fen    `json:"preselfpay_amt"`
	InscpScpAmt     Fen    `json:"inscp_scp_amt"`
	ExpContent      string `json:"exp_content,omitempty"`
	PubHospRfomFlag string `json:"pub_hosp_rfom_flag,omitempty"`
}

// A Settlement is the output of 2206 and 2207.
type Settlement struct {
	SetlInfo   Node[SetlInfo]   `json:"setlinfo"`
	SetlDetail List[SetlDetail] `json:"setldetail"`
}

// SetlInfo is the split of a visit's fees. A trial (2206) has no setl_id.
type SetlInfo struct {
	MdtrtID         Text    `json:"mdtrt_id"`
	SetlID          Text    `json:"setl_id,omitempty"`
	PsnNo           Text    `json:"psn_no"`
	PsnName         Text    `json:"psn_name"`
	PsnCertType     Text    `json:"psn_cert_type"`
	Certno          Text    `json:"certno"`
	Gend            Text    `json:"gend"`
	Naty            Text    `json:"naty"`
	Brdy            Text    `json:"brdy"`
	Age             Text    `json:"age"`
	Insutype        Text    `json:"insutype"`
	PsnType         Text    `json:"psn_type"`
	CvlservFlag     Text    `json:"cvlserv_flag"`
	SetlTime        Text    `json:"setl_time"` // null in a trial
	MdtrtCertType   Text    `json:"mdtrt_cert_type"`
	MedType         Text    `json:"med_type"`
	MedfeeSumamt    NullFen `json:"medfee_sumamt"`
	FulamtOwnpayAmt NullFen `json:"fulamt_ownpay_amt"`
	OverlmtSelfpay  NullFen `json:"overlmt_selfpay"`
	PreselfpayAmt   NullFen `json:"preselfpay_amt"`
	InscpScpAmt     NullFen `json:"inscp_scp_amt"`
	ActPayDedc      NullFen `json:"act_pay_dedc"` // deductible really paid
	HifpPay         NullFen `json:"hifp_pay"`     // pooled fund
	PoolPropSelfpay Text    `json:"pool_prop_selfpay"`
	CvlservPay      NullFen `json:"cvlserv_pay"`
	HifesPay        NullFen `json:"hifes_pay"`
	HifmiPay        NullFen `json:"hifmi_pay"`
	HifobPay        NullFen `json:"hifob_pay"`
	MafPay          NullFen `json:"maf_pay"`
	OthPay          NullFen `json:"oth_pay"`
	FundPaySumamt   NullFen `json:"fund_pay_sumamt"`
	PsnPartAmt      NullFen `json:"psn_part_amt"`
	AcctPay         NullFen `json:"acct_pay"` // includes AcctMulaidPay
	PsnCashPay      NullFen `json:"psn_cash_pay"`
	HospPartAmt     NullFen `json:"hosp_part_amt"`
	Balc            NullFen `json:"balc"`
	AcctMulaidPay   NullFen `json:"acct_mulaid_pay"`
	MedinsSetlID    Text    `json:"medins_setl_id"` // the msgid sent
	ClrOptins       Text    `json:"clr_optins"`
	ClrWay          Text    `json:"clr_way"`
	ClrType         Text    `json:"clr_type"`
	HifdmPay        NullFen `json:"hifdm_pay"`
	ExpContent      Text    `json:"exp_content"`
}

// UnmarshalJSON also takes pdn_cash_pay, as some texts and programs misspell
// psn_cash_pay. Where both are there psn_cash_pay counts.
func (s *SetlInfo) UnmarshalJSON(b []byte) error {
	type plain SetlInfo
	both := struct {
		*plain
		Misspelt NullFen `json:"pdn_cash_pay"`
	}{plain: (*plain)(s)}
	*s = SetlInfo{}
	if err := json.Unmarshal(b, &both); err != nil {
		return errJSON(err)
	}
	if !s.PsnCashPay.Valid {
		s.PsnCashPay = both.Misspelt
	}
	return nil
}

// SetlDetail is one fund's share. The account's and the hospital's shares are
// listed too: the sum is not the fund total (money, 6).
type SetlDetail struct {
	FundPayType     Text    `json:"fund_pay_type"`
	InscpScpAmt     NullFen `json:"inscp_scp_amt"`
	CrtPaybLmtAmt   NullFen `json:"crt_payb_lmt_amt"`
	FundPayamt      NullFen `json:"fund_payamt"`
	FundPayTypeName Text    `json:"fund_pay_type_name"`
	SetlProcInfo    Text    `json:"setl_proc_info"`
}
