package settlement

import "encoding/json"

// A SaleInput is the input of 2101 and 2102: a pharmacy's sale, all in one
// call. Invono and DurgTracInfo are 2102's alone.
type SaleInput struct {
	DrugInfo   DrugInfo     `json:"druginfo"`
	DrugDetail []DrugDetail `json:"drugdetail"`
}

// DrugInfo is who buys: node druginfo.
type DrugInfo struct {
	PsnNo         string `json:"psn_no"`
	MdtrtCertType string `json:"mdtrt_cert_type"`
	MdtrtCertNo   string `json:"mdtrt_cert_no"`
	CardSN        string `json:"card_sn,omitempty"`
	PsnCertType   string `json:"psn_cert_type"`
	Certno        string `json:"certno"`
	PsnType       string `json:"psn_type"`
	PsnName       string `json:"psn_name"`
	Begntime      string `json:"begntime"`      // yyyy-MM-dd HH:mm:ss
	MedfeeSumamt  Fen    `json:"medfee_sumamt"` // the sum of the lines
	Invono        string `json:"invono,omitempty"`
	Insutype      string `json:"insutype"`
	DiseCodg      string `json:"dise_codg,omitempty"`
	DiseName      string `json:"dise_name,omitempty"`
	AcctUsedFlag  string `json:"acct_used_flag"` // 1: the account may pay
	MedType       string `json:"med_type"`       // 41
	ExpContent    string `json:"exp_content,omitempty"`
}

// DrugDetail is one line of a sale: node drugdetail.
type DrugDetail struct {
	FeedetlSN        SerialNo       `json:"feedetl_sn"`
	Rxno             string         `json:"rxno,omitempty"`
	RxCircFlag       string         `json:"rx_circ_flag"`        // 1: the prescription is from elsewhere
	FeeOcurTime      string         `json:"fee_ocur_time"`       // yyyy-MM-dd HH:mm:ss
	MedListCodg      string         `json:"med_list_codg"`       // national catalogue code
	MedinsListCodg   string         `json:"medins_list_codg"`    // the pharmacy's own code
	DetItemFeeSumamt Fen            `json:"det_item_fee_sumamt"` // = LineAmount(Pric, Cnt)
	Cnt              Quantity       `json:"cnt"`
	Pric             Price          `json:"pric"`
	SinDosDscr       string         `json:"sin_dos_dscr,omitempty"`
	UsedFrquDscr     string         `json:"used_frqu_dscr,omitempty"`
	PrdDays          json.Number    `json:"prd_days,omitempty"` // 4,2
	MedcWayDscr      string         `json:"medc_way_dscr,omitempty"`
	BilgDrCodg       string         `json:"bilg_dr_codg,omitempty"`
	BilgDrName       string         `json:"bilg_dr_name,omitempty"`
	TcmdrugUsedWay   string         `json:"tcmdrug_used_way,omitempty"`
	ExpContent       string         `json:"exp_content,omitempty"`
	DurgTracInfo     []DurgTracInfo `json:"durg_trac_info,omitempty"`
}

// DurgTracInfo is the tracing code of one package sold (the spelling is
// theirs).
type DurgTracInfo struct {
	FeedetlSN    string `json:"feedetl_sn"` // of the line; always a text here
	DrugTracCodg string `json:"drug_trac_codg"`
	TrdnFlag     string `json:"trdn_flag"` // 1: the package was opened
}

// A SaleTrial is the output of 2101.
type SaleTrial struct {
	Settlement
	Lines []FeeResult // in the order sent; none where upstream left them out
}
