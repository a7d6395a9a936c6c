package settlement

// A ReferralFiling is the input of 2501, node refmedin.
type ReferralFiling struct {
	PsnNo            string `json:"psn_no"`
	Insutype         string `json:"insutype,omitempty"`
	Tel              string `json:"tel,omitempty"`
	Addr             string `json:"addr,omitempty"`
	InsuOptins       string `json:"insu_optins,omitempty"`
	DiagCode         string `json:"diag_code"`
	DiagName         string `json:"diag_name"`
	DiseCondDscr     string `json:"dise_cond_dscr,omitempty"`
	ReflinMedinsNo   string `json:"reflin_medins_no"`
	ReflinMedinsName string `json:"reflin_medins_name"`
	MdtrtareaAdmdvs  string `json:"mdtrtarea_admdvs"`
	HospAgreReflFlag string `json:"hosp_agre_refl_flag,omitempty"`
	ReflType         string `json:"refl_type"`
	ReflDate         string `json:"refl_date"` // yyyy-MM-dd
	ReflRea          string `json:"refl_rea"`
	ReflOpnn         string `json:"refl_opnn"`
	Begndate         string `json:"begndate,omitempty"` // yyyy-MM-dd
	Enddate          string `json:"enddate,omitempty"`  // yyyy-MM-dd
	ReflOldMdtrtID   string `json:"refl_old_mdtrt_id,omitempty"`
	ReflUsedFlag     string `json:"refl_used_flag,omitempty"`
}

// A ChronicFiling is the input of 2503, node data. The table calls exp_content
// the time of an operation.
type ChronicFiling struct {
	PsnNo            string `json:"psn_no"`
	Insutype         string `json:"insutype"`
	OpspDiseCode     string `json:"opsp_dise_code"`
	OpspDiseName     string `json:"opsp_dise_name"`
	Tel              string `json:"tel,omitempty"`
	Addr             string `json:"addr,omitempty"`
	InsuOptins       string `json:"insu_optins"`
	IdeFixmedinsNo   string `json:"ide_fixmedins_no"`
	IdeFixmedinsName string `json:"ide_fixmedins_name"`
	HospIdeDate      string `json:"hosp_ide_date"` // yyyy-MM-dd
	DiagDrCodg       string `json:"diag_dr_codg"`
	DiagDrName       string `json:"diag_dr_name"`
	Begndate         string `json:"begndate"`          // yyyy-MM-dd
	Enddate          string `json:"enddate,omitempty"` // yyyy-MM-dd
	ExpContent       string `json:"exp_content,omitempty"`
	TrtDclaDetlSN    string `json:"trt_dcla_detl_sn,omitempty"`
	SelfdefSplmFlag  string `json:"selfdef_splm_flag,omitempty"`
	Memo             string `json:"memo,omitempty"`
}

// An InstitutionFiling is the input of 2505, node data: where a person is to be
// treated.
type InstitutionFiling struct {
	PsnNo          string `json:"psn_no"`
	Tel            string `json:"tel,omitempty"`
	Addr           string `json:"addr,omitempty"`
	BizAppyType    string `json:"biz_appy_type"`
	Begndate       string `json:"begndate"`          // yyyy-MM-dd
	Enddate        string `json:"enddate,omitempty"` // yyyy-MM-dd
	AgnterName     string `json:"agnter_name,omitempty"`
	AgnterCertType string `json:"agnter_cert_type,omitempty"`
	AgnterCertno   string `json:"agnter_certno,omitempty"`
	AgnterTel      string `json:"agnter_tel,omitempty"`
	AgnterAddr     string `json:"agnter_addr,omitempty"`
	AgnterRlts     string `json:"agnter_rlts,omitempty"`
	FixSrtNo       string `json:"fix_srt_no"`
	FixmedinsCode  string `json:"fixmedins_code"`
	FixmedinsName  string `json:"fixmedins_name"`
	Memo           string `json:"memo,omitempty"`
	ExpContent     string `json:"exp_content,omitempty"`
}

// A FilingCancel is the input of 2502, 2504 and 2506, node data. Memo, the
// reason, may be left out in 2502 only.
type FilingCancel struct {
	TrtDclaDetlSN string `json:"trt_dcla_detl_sn"`
	PsnNo         string `json:"psn_no"`
	Memo          string `json:"memo,omitempty"`
}

// A ChronicRecord is one chronic disease filed for a person: output of 5301,
// node feedetail.
type ChronicRecord struct {
	OpspDiseCode Text `json:"opsp_dise_code"`
	OpspDiseName Text `json:"opsp_dise_name"`
	Begndate     Text `json:"begndate"` // yyyy-MM-dd
	Enddate      Text `json:"enddate"`  // yyyy-MM-dd
}

// An InstitutionRecord is one institution filed for a person: output of 5302,
// node psnfixmedin.
type InstitutionRecord struct {
	PsnNo         Text `json:"psn_no"`
	Insutype      Text `json:"insutype"`
	FixSrtNo      Text `json:"fix_srt_no"`
	FixmedinsCode Text `json:"fixmedins_code"`
	FixmedinsName Text `json:"fixmedins_name"`
	Begndate      Text `json:"begndate"` // yyyy-MM-dd
	Enddate       Text `json:"enddate"`  // yyyy-MM-dd
	Memo          Text `json:"memo"`
}

// A ReferralRecord is one referral filed for a person: output of 5304, node
// refmedin.
type ReferralRecord struct {
	Insutype         Text `json:"insutype"`
	DclaSouc         Text `json:"dcla_souc"`
	PsnNo            Text `json:"psn_no"`
	PsnCertType      Text `json:"psn_cert_type"`
	Certno           Text `json:"certno"`
	PsnName          Text `json:"psn_name"`
	Gend             Text `json:"gend"`
	Brdy             Text `json:"brdy"` // yyyy-MM-dd
	Tel              Text `json:"tel"`
	Addr             Text `json:"addr"`
	InsuOptins       Text `json:"insu_optins"`
	EmpName          Text `json:"emp_name"`
	DiagCode         Text `json:"diag_code"`
	DiagName         Text `json:"diag_name"`
	DiseCondDscr     Text `json:"dise_cond_dscr"`
	ReflinMedinsNo   Text `json:"reflin_medins_no"`
	ReflinMedinsName Text `json:"reflin_medins_name"`
	OutFlag          Text `json:"out_flag"`
	ReflDate         Text `json:"refl_date"` // yyyy-MM-dd
	ReflRea          Text `json:"refl_rea"`
	Begndate         Text `json:"begndate"` // yyyy-MM-dd
	Enddate          Text `json:"enddate"`  // yyyy-MM-dd
	HospAgreReflFlag Text `json:"hosp_agre_refl_flag"`
	OpterID          Text `json:"opter_id"`
	OpterName        Text `json:"opter_name"`
	OptTime          Text `json:"opt_time"` // yyyy-MM-dd HH:mm:ss
}
