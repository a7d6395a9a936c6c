package settlement

// A MdtrtQuery is the input of 5201, node data. The times bound the visit's
// beginning.
type MdtrtQuery struct {
	PsnNo    string `json:"psn_no"`
	Begntime string `json:"begntime"` // yyyy-MM-dd HH:mm:ss
	Endtime  string `json:"endtime"`  // yyyy-MM-dd HH:mm:ss
	MedType  string `json:"med_type"`
	MdtrtID  string `json:"mdtrt_id,omitempty"`
}

// A MdtrtRecord is one visit or stay as upstream has it: output of 5201, node
// mdtrtinfo.
type MdtrtRecord struct {
	MdtrtID          Text `json:"mdtrt_id"`
	PsnNo            Text `json:"psn_no"`
	PsnCertType      Text `json:"psn_cert_type"`
	Certno           Text `json:"certno"`
	PsnName          Text `json:"psn_name"`
	Gend             Text `json:"gend"`
	Naty             Text `json:"naty"`
	Brdy             Text `json:"brdy"` // yyyy-MM-dd
	Age              Text `json:"age"`
	ConerName        Text `json:"coner_name"`
	Tel              Text `json:"tel"`
	Insutype         Text `json:"insutype"`
	PsnType          Text `json:"psn_type"`
	MafPsnFlag       Text `json:"maf_psn_flag"`
	CvlservFlag      Text `json:"cvlserv_flag"`
	FlxempeFlag      Text `json:"flxempe_flag"`
	NwbFlag          Text `json:"nwb_flag"`
	InsuOptins       Text `json:"insu_optins"`
	EmpName          Text `json:"emp_name"`
	Begntime         Text `json:"begntime"` // yyyy-MM-dd HH:mm:ss
	Endtime          Text `json:"endtime"`  // yyyy-MM-dd HH:mm:ss
	MdtrtCertType    Text `json:"mdtrt_cert_type"`
	MedType          Text `json:"med_type"`
	ArsYearIptFlag   Text `json:"ars_year_ipt_flag"`
	PrePayFlag       Text `json:"pre_pay_flag"`
	IptOtpNo         Text `json:"ipt_otp_no"`
	Medrcdno         Text `json:"medrcdno"`
	AtddrNo          Text `json:"atddr_no"`
	ChfpdrName       Text `json:"chfpdr_name"`
	AdmDeptCodg      Text `json:"adm_dept_codg"`
	AdmDeptName      Text `json:"adm_dept_name"`
	AdmBed           Text `json:"adm_bed"`
	DscgMaindiagCode Text `json:"dscg_maindiag_code"`
	DscgMaindiagName Text `json:"dscg_maindiag_name"`
	DscgDeptCodg     Text `json:"dscg_dept_codg"`
	DscgDeptName     Text `json:"dscg_dept_name"`
	DscgBed          Text `json:"dscg_bed"`
	DscgWay          Text `json:"dscg_way"`
	MainCondDscr     Text `json:"main_cond_dscr"`
	DiseCodg         Text `json:"dise_codg"`
	DiseName         Text `json:"dise_name"`
	OprnOprtCode     Text `json:"oprn_oprt_code"`
	OprnOprtName     Text `json:"oprn_oprt_name"`
	OtpDiagInfo      Text `json:"otp_diag_info"`
	InhospStas       Text `json:"inhosp_stas"`
	DieDate          Text `json:"die_date"` // yyyy-MM-dd
	IptDays          Text `json:"ipt_days"`
	FpscNo           Text `json:"fpsc_no"`
	MatnType         Text `json:"matn_type"`
	BirctrlType      Text `json:"birctrl_type"`
	LatechbFlag      Text `json:"latechb_flag"`
	GesoVal          Text `json:"geso_val"`
	Fetts            Text `json:"fetts"`
	FetusCnt         Text `json:"fetus_cnt"`
	PretFlag         Text `json:"pret_flag"`
	BirctrlMatnDate  Text `json:"birctrl_matn_date"` // yyyy-MM-dd
	CopFlag          Text `json:"cop_flag"`
	OpterID          Text `json:"opter_id"`
	OpterName        Text `json:"opter_name"`
	OptTime          Text `json:"opt_time"` // yyyy-MM-dd HH:mm:ss
	Memo             Text `json:"memo"`
}

// A MdtrtRef names a visit or stay: input of 5202, node data.
type MdtrtRef struct {
	MdtrtID string `json:"mdtrt_id"`
	PsnNo   string `json:"psn_no"`
}

// A DiagnosisRecord is one diagnosis of a visit or stay: output of 5202, node
// diseinfo.
type DiagnosisRecord struct {
	DiagInfoID    Text `json:"diag_info_id"`
	MdtrtID       Text `json:"mdtrt_id"`
	PsnNo         Text `json:"psn_no"`
	InoutDiagType Text `json:"inout_diag_type"`
	DiagType      Text `json:"diag_type"`
	MaindiagFlag  Text `json:"maindiag_flag"`
	DiagSrtNo     Text `json:"diag_srt_no"`
	DiagCode      Text `json:"diag_code"`
	DiagName      Text `json:"diag_name"`
	AdmCond       Text `json:"adm_cond"`
	DiagDept      Text `json:"diag_dept"`
	DiseDorNo     Text `json:"dise_dor_no"`
	DiseDorName   Text `json:"dise_dor_name"`
	DiagTime      Text `json:"diag_time"` // yyyy-MM-dd HH:mm:ss
	OpterID       Text `json:"opter_id"`
	OpterName     Text `json:"opter_name"`
	OptTime       Text `json:"opt_time"` // yyyy-MM-dd HH:mm:ss
}

// A SettlementRef names a settlement: input of 5203 and 5204, node data.
type SettlementRef struct {
	PsnNo   string `json:"psn_no"`
	SetlID  string `json:"setl_id"`
	MdtrtID string `json:"mdtrt_id"`
}

// A FeeRecord is one fee line of a settlement: a row of the output of 5204.
type FeeRecord struct {
	MdtrtID          Text    `json:"mdtrt_id"`
	SetlID           Text    `json:"setl_id"`
	FeedetlSN        Text    `json:"feedetl_sn"`
	RxDrordNo        Text    `json:"rx_drord_no"`
	MedType          Text    `json:"med_type"`
	FeeOcurTime      Text    `json:"fee_ocur_time"` // yyyy-MM-dd HH:mm:ss
	Cnt              Text    `json:"cnt"`
	Pric             Text    `json:"pric"`
	SinDosDscr       Text    `json:"sin_dos_dscr"`
	UsedFrquDscr     Text    `json:"used_frqu_dscr"`
	PrdDays          Text    `json:"prd_days"`
	MedcWayDscr      Text    `json:"medc_way_dscr"`
	DetItemFeeSumamt NullFen `json:"det_item_fee_sumamt"`
	PricUplmtAmt     Text    `json:"pric_uplmt_amt"`
	SelfpayProp      Text    `json:"selfpay_prop"`
	FulamtOwnpayAmt  NullFen `json:"fulamt_ownpay_amt"`
	OverlmtAmt       NullFen `json:"overlmt_amt"`
	PreselfpayAmt    NullFen `json:"preselfpay_amt"`
	InscpScpAmt      NullFen `json:"inscp_scp_amt"`
	ChrgitmLv        Text    `json:"chrgitm_lv"`
	HilistCode       Text    `json:"hilist_code"`
	HilistName       Text    `json:"hilist_name"`
	ListType         Text    `json:"list_type"`
	MedListCodg      Text    `json:"med_list_codg"`
	MedinsListCodg   Text    `json:"medins_list_codg"`
	MedinsListName   Text    `json:"medins_list_name"`
	MedChrgitmType   Text    `json:"med_chrgitm_type"`
	Prodname         Text    `json:"prodname"`
	Spec             Text    `json:"spec"`
	DosformName      Text    `json:"dosform_name"`
	BilgDeptCodg     Text    `json:"bilg_dept_codg"`
	BilgDeptName     Text    `json:"bilg_dept_name"`
	BilgDrCodg       Text    `json:"bilg_dr_codg"`
	BilgDrName       Text    `json:"bilg_dr_name"`
	AcordDeptCodg    Text    `json:"acord_dept_codg"`
	AcordDeptName    Text    `json:"acord_dept_name"`
	OrdersDrCode     Text    `json:"orders_dr_code"`
	OrdersDrName     Text    `json:"orders_dr_name"`
	LmtUsedFlag      Text    `json:"lmt_used_flag"`
	HospPrepFlag     Text    `json:"hosp_prep_flag"`
	HospApprFlag     Text    `json:"hosp_appr_flag"`
	TcmdrugUsedWay   Text    `json:"tcmdrug_used_way"`
	ProdplacType     Text    `json:"prodplac_type"`
	BasMednFlag      Text    `json:"bas_medn_flag"`
	HiNegoDrugFlag   Text    `json:"hi_nego_drug_flag"`
	ChldMedcFlag     Text    `json:"chld_medc_flag"`
	EtipFlag         Text    `json:"etip_flag"`
	EtipHospCode     Text    `json:"etip_hosp_code"`
	DscgTkdrugFlag   Text    `json:"dscg_tkdrug_flag"`
	ListSpItemFlag   Text    `json:"list_sp_item_flag"`
	MatnFeeFlag      Text    `json:"matn_fee_flag"`
	DrtReimFlag      Text    `json:"drt_reim_flag"`
	Memo             Text    `json:"memo"`
	OpterID          Text    `json:"opter_id"`
	OpterName        Text    `json:"opter_name"`
	OptTime          Text    `json:"opt_time"` // yyyy-MM-dd HH:mm:ss
}

// An InHospitalQuery is the input of 5303, node data. The times bound the
// admission.
type InHospitalQuery struct {
	PsnNo    string `json:"psn_no,omitempty"`
	Begntime string `json:"begntime"` // yyyy-MM-dd HH:mm:ss
	Endtime  string `json:"endtime"`  // yyyy-MM-dd HH:mm:ss
}

// An InHospital is one stay that has not ended: a row of the output of 5303.
type InHospital struct {
	MdtrtID     Text `json:"mdtrt_id"`
	PsnNo       Text `json:"psn_no"`
	PsnCertType Text `json:"psn_cert_type"`
	Certno      Text `json:"certno"`
	PsnName     Text `json:"psn_name"`
	Gend        Text `json:"gend"`
	Brdy        Text `json:"brdy"` // yyyy-MM-dd
	Age         Text `json:"age"`
	Insutype    Text `json:"insutype"`
	Begndate    Text `json:"begndate"` // yyyy-MM-dd
	MedType     Text `json:"med_type"`
	IptOtpNo    Text `json:"ipt_otp_no"`
	OutFlag     Text `json:"out_flag"`
}

// An EntitlementQuery is the input of 2001, node data.
type EntitlementQuery struct {
	PsnNo         string `json:"psn_no"`
	Insutype      string `json:"insutype"`
	FixmedinsCode string `json:"fixmedins_code"`
	MedType       string `json:"med_type"`
	Begntime      string `json:"begntime"`          // yyyy-MM-dd HH:mm:ss
	Endtime       string `json:"endtime,omitempty"` // yyyy-MM-dd HH:mm:ss
	DiseCodg      string `json:"dise_codg,omitempty"`
	DiseName      string `json:"dise_name,omitempty"`
	OprnOprtCode  string `json:"oprn_oprt_code,omitempty"`
	OprnOprtName  string `json:"oprn_oprt_name,omitempty"`
	MatnType      string `json:"matn_type,omitempty"`
	BirctrlType   string `json:"birctrl_type,omitempty"`
	ExpContent    string `json:"exp_content,omitempty"`
}

// An Entitlement is what one fund says of a person and a kind of care: output
// of 2001, node trtinfo.
type Entitlement struct {
	PsnNo          Text `json:"psn_no"`
	TrtChkType     Text `json:"trt_chk_type"`
	FundPayType    Text `json:"fund_pay_type"`
	TrtEnjymntFlag Text `json:"trt_enjymnt_flag"`
	Begndate       Text `json:"begndate"` // yyyy-MM-dd
	Enddate        Text `json:"enddate"`  // yyyy-MM-dd
	TrtChkRslt     Text `json:"trt_chk_rslt"`
	ExpContent     Text `json:"exp_content"`
}
