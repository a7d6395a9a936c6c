package settlement

import "encoding/json"

// An Admission is the input of 2401.
type Admission struct {
	MdtrtInfo StayInfo       `json:"mdtrtinfo"`
	DiseInfo  []StayDiseInfo `json:"diseinfo"`
}

// StayInfo is who is admitted, where and why: node mdtrtinfo of 2401. The
// areas repeat those of the envelope.
type StayInfo struct {
	PsnNo         string `json:"psn_no"`
	Insutype      string `json:"insutype"`
	ConerName     string `json:"coner_name,omitempty"` // whom to call
	Tel           string `json:"tel,omitempty"`
	Begntime      string `json:"begntime"` // yyyy-MM-dd HH:mm:ss
	MdtrtCertType string `json:"mdtrt_cert_type"`
	MdtrtCertNo   string `json:"mdtrt_cert_no,omitempty"`
	CardSN        string `json:"card_sn,omitempty"`
	CertType      string `json:"cert_type"` // psn_cert_type of every other transaction
	Certno        string `json:"certno"`
	MedType       string `json:"med_type"`
	IptNo         string `json:"ipt_no"` // the institution's own number, unique per stay
	StayCare
	ExpContent     string `json:"exp_content,omitempty"`
	InsuplcAdmdvs  string `json:"insuplc_admdvs"`  // "": the scope's
	MdtrtareaAdmvs string `json:"mdtrtarea_admvs"` // "": the institution's
}

// StayCare is what 2401 says of the care and 2403 may change.
type StayCare struct {
	Medrcdno         string      `json:"medrcdno,omitempty"`
	AtddrNo          string      `json:"atddr_no"`
	ChfpdrName       string      `json:"chfpdr_name"`
	AdmDiagDscr      string      `json:"adm_diag_dscr"`
	AdmDeptCodg      string      `json:"adm_dept_codg"`
	AdmDeptName      string      `json:"adm_dept_name"`
	AdmBed           string      `json:"adm_bed"`
	DscgMaindiagCode string      `json:"dscg_maindiag_code"`
	DscgMaindiagName string      `json:"dscg_maindiag_name"`
	MainCondDscr     string      `json:"main_cond_dscr,omitempty"`
	DiseTypeCode     string      `json:"dise_type_code,omitempty"`
	DiseCodg         string      `json:"dise_codg,omitempty"`
	DiseName         string      `json:"dise_name,omitempty"`
	OprnOprtCode     string      `json:"oprn_oprt_code,omitempty"`
	OprnOprtName     string      `json:"oprn_oprt_name,omitempty"`
	FpscNo           string      `json:"fpsc_no,omitempty"`
	MatnType         string      `json:"matn_type,omitempty"`
	BirctrlType      string      `json:"birctrl_type,omitempty"`
	LatechbFlag      string      `json:"latechb_flag,omitempty"`
	GesoVal          json.Number `json:"geso_val,omitempty"`  // weeks
	Fetts            json.Number `json:"fetts,omitempty"`     // which birth
	FetusCnt         json.Number `json:"fetus_cnt,omitempty"` // how many
	PretFlag         string      `json:"pret_flag,omitempty"`
	BirctrlMatnDate  string      `json:"birctrl_matn_date,omitempty"` // yyyy-MM-dd
}

// StayDiseInfo is one diagnosis of 2401, 2402 and 2403. 2401 has no MdtrtID and
// 2402 no AdmCond.
type StayDiseInfo struct {
	MdtrtID      string `json:"mdtrt_id,omitempty"`
	PsnNo        string `json:"psn_no"`
	DiagType     string `json:"diag_type"`
	MaindiagFlag string `json:"maindiag_flag"` // 1: the main diagnosis
	DiagSrtNo    int    `json:"diag_srt_no"`
	DiagCode     string `json:"diag_code"`
	DiagName     string `json:"diag_name"`
	AdmCond      string `json:"adm_cond,omitempty"`
	DiagDept     string `json:"diag_dept"`
	DiseDorNo    string `json:"dise_dor_no"`
	DiseDorName  string `json:"dise_dor_name"`
	DiagTime     string `json:"diag_time"` // yyyy-MM-dd HH:mm:ss
}

// An AdmissionChange is the input of 2403.
type AdmissionChange struct {
	AdmInfo  AdmInfo        `json:"adminfo"`
	DiseInfo []StayDiseInfo `json:"diseinfo"`
}

// AdmInfo is an admission as it should have been: node adminfo of 2403.
type AdmInfo struct {
	MdtrtID       string `json:"mdtrt_id"`
	PsnNo         string `json:"psn_no"`
	ConerName     string `json:"coner_name,omitempty"`
	Tel           string `json:"tel,omitempty"`
	Begntime      string `json:"begntime"`          // yyyy-MM-dd HH:mm:ss
	Endtime       string `json:"endtime,omitempty"` // yyyy-MM-dd HH:mm:ss
	MdtrtCertType string `json:"mdtrt_cert_type"`
	MedType       string `json:"med_type"`
	IptOtpNo      string `json:"ipt_otp_no"` // ipt_no of 2401
	StayCare
	ExpContent string      `json:"exp_content,omitempty"`
	TtpPayProp json.Number `json:"ttp_pay_prop,omitempty"` // a third party's share, 5,4
}

// A Discharge is the input of 2402.
type Discharge struct {
	DscgInfo DscgInfo       `json:"dscginfo"`
	DiseInfo []StayDiseInfo `json:"diseinfo,omitempty"`
}

// DscgInfo is how a stay ended: node dscginfo of 2402.
type DscgInfo struct {
	MdtrtID         string      `json:"mdtrt_id"`
	PsnNo           string      `json:"psn_no"`
	Insutype        string      `json:"insutype"`
	Endtime         string      `json:"endtime"` // yyyy-MM-dd HH:mm:ss
	DiseCodg        string      `json:"dise_codg,omitempty"`
	DiseName        string      `json:"dise_name,omitempty"`
	OprnOprtCode    string      `json:"oprn_oprt_code,omitempty"`
	OprnOprtName    string      `json:"oprn_oprt_name,omitempty"`
	FpscNo          string      `json:"fpsc_no,omitempty"`
	MatnType        string      `json:"matn_type,omitempty"`
	BirctrlType     string      `json:"birctrl_type,omitempty"`
	LatechbFlag     string      `json:"latechb_flag,omitempty"`
	GesoVal         json.Number `json:"geso_val,omitempty"`
	Fetts           json.Number `json:"fetts,omitempty"`
	FetusCnt        json.Number `json:"fetus_cnt,omitempty"`
	PretFlag        string      `json:"pret_flag,omitempty"`
	BirctrlMatnDate string      `json:"birctrl_matn_date,omitempty"` // yyyy-MM-dd
	CopFlag         string      `json:"cop_flag,omitempty"`
	DscgDeptCodg    string      `json:"dscg_dept_codg"`
	DscgDeptName    string      `json:"dscg_dept_name"`
	DscgBed         string      `json:"dscg_bed,omitempty"`
	DscgWay         string      `json:"dscg_way"`
	DieDate         string      `json:"die_date,omitempty"` // yyyy-MM-dd
	ExpContent      string      `json:"exp_content,omitempty"`
}

// A StayRef is the input of 2404 and 2405, node data.
type StayRef struct {
	MdtrtID    string `json:"mdtrt_id"`
	PsnNo      string `json:"psn_no"`
	ExpContent string `json:"exp_content,omitempty"`
}

// A StayFeeDetail is one fee line of 2301, node feedetail. There are no
// batches: a line is known by feedetl_sn, which is unique in the stay.
type StayFeeDetail struct {
	FeedetlSN        SerialNo `json:"feedetl_sn"`
	InitFeedetlSN    string   `json:"init_feedetl_sn,omitempty"` // of the line that a return takes back
	MdtrtID          string   `json:"mdtrt_id"`
	DrordNo          string   `json:"drord_no,omitempty"`
	PsnNo            string   `json:"psn_no"`
	MedType          string   `json:"med_type"`
	FeeOcurTime      string   `json:"fee_ocur_time"`       // yyyy-MM-dd HH:mm:ss
	MedListCodg      string   `json:"med_list_codg"`       // national catalogue code
	MedinsListCodg   string   `json:"medins_list_codg"`    // the institution's own code
	DetItemFeeSumamt Fen      `json:"det_item_fee_sumamt"` // = LineAmount(Pric, Cnt)
	Cnt              Quantity `json:"cnt"`
	Pric             Price    `json:"pric"`
	BilgDeptCodg     string   `json:"bilg_dept_codg"`
	BilgDeptName     string   `json:"bilg_dept_name"`
	BilgDrCodg       string   `json:"bilg_dr_codg"`
	BilgDrName       string   `json:"bilg_dr_name"`
	AcordDeptCodg    string   `json:"acord_dept_codg,omitempty"`
	AcordDeptName    string   `json:"acord_dept_name,omitempty"`
	OrdersDrCode     string   `json:"orders_dr_code,omitempty"`
	OrdersDrName     string   `json:"orders_dr_name,omitempty"`
	HospApprFlag     string   `json:"hosp_appr_flag,omitempty"`
	TcmdrugUsedWay   string   `json:"tcmdrug_used_way,omitempty"`
	EtipFlag         string   `json:"etip_flag,omitempty"`
	EtipHospCode     string   `json:"etip_hosp_code,omitempty"`
	DscgTkdrugFlag   string   `json:"dscg_tkdrug_flag,omitempty"`
	MatnFeeFlag      string   `json:"matn_fee_flag,omitempty"`
	Memo             string   `json:"memo,omitempty"`
	CombNo           string   `json:"comb_no,omitempty"`
	ExpContent       string   `json:"exp_content,omitempty"`
}

// A StayFeeCancel is one row of the input of 2302, node data.
type StayFeeCancel struct {
	FeedetlSN  string `json:"feedetl_sn"` // of a line, or in the only row AllUnsettled
	MdtrtID    string `json:"mdtrt_id"`
	PsnNo      string `json:"psn_no"`
	ExpContent string `json:"exp_content,omitempty"`
}

// A StaySettleInput is the input of 2304, node data, and, without Invono, of
// the trial 2303. The four sums come from [SumSplit] over every line of the
// stay; they may be left out.
type StaySettleInput struct {
	PsnNo           string  `json:"psn_no"`
	MdtrtCertType   string  `json:"mdtrt_cert_type"`
	MdtrtCertNo     string  `json:"mdtrt_cert_no,omitempty"`
	CardSN          string  `json:"card_sn,omitempty"`
	PsnCertType     string  `json:"psn_cert_type"`
	Certno          string  `json:"certno"`
	PsnType         string  `json:"psn_type"`
	PsnName         string  `json:"psn_name"`
	MedfeeSumamt    Fen     `json:"medfee_sumamt"`
	PsnSetlway      string  `json:"psn_setlway"`
	MdtrtID         string  `json:"mdtrt_id"`
	Insutype        string  `json:"insutype"`
	AcctUsedFlag    string  `json:"acct_used_flag"`
	InsuplcAdmdvs   string  `json:"insuplc_admdvs"`  // "": the scope's
	MdtrtareaAdmvs  string  `json:"mdtrtarea_admvs"` // "": the institution's
	Invono          string  `json:"invono,omitempty"`
	MidSetlFlag     string  `json:"mid_setl_flag"` // 1: the stay goes on
	FulamtOwnpayAmt NullFen `json:"fulamt_ownpay_amt,omitzero"`
	OverlmtSelfpay  NullFen `json:"overlmt_selfpay,omitzero"`
	PreselfpayAmt   NullFen `json:"preselfpay_amt,omitzero"`
	InscpScpAmt     NullFen `json:"inscp_scp_amt,omitzero"`
	DscgTime        string  `json:"dscgTime,omitempty"` // yyyy-MM-dd
	ExpContent      string  `json:"exp_content,omitempty"`
}

// An areaInput repeats the areas of the envelope, which the client fills where
// the caller left them empty.
type areaInput interface {
	withAreas(insured, care string) any
}

func (a Admission) withAreas(insured, care string) any {
	fillText(&a.MdtrtInfo.InsuplcAdmdvs, insured)
	fillText(&a.MdtrtInfo.MdtrtareaAdmvs, care)
	return a
}

// staySettleInput is the input of 2303 and 2304.
type staySettleInput struct {
	Data StaySettleInput `json:"data"`
}

func (i staySettleInput) withAreas(insured, care string) any {
	fillText(&i.Data.InsuplcAdmdvs, insured)
	fillText(&i.Data.MdtrtareaAdmvs, care)
	return i
}

func fillText(s *string, with string) {
	if *s == "" {
		*s = with
	}
}

func (i StaySettleInput) split() []NullFen {
	return []NullFen{i.FulamtOwnpayAmt, i.OverlmtSelfpay, i.PreselfpayAmt, i.InscpScpAmt}
}
