package terminal

// An IdentityDocument is card and holder in clear: what `onecard read --json`
// prints. Dates are yyyy-MM-dd; what is not set on the card is left out.
type IdentityDocument struct {
	Card          IdentityCard    `json:"card"`
	Holder        *IdentityHolder `json:"holder"` // null where it cannot be read
	Authenticated bool            `json:"authenticated"`
	AuthFault     *Fault          `json:"auth_fault,omitempty"`   // why it is not
	HolderFault   *Fault          `json:"holder_fault,omitempty"` // why the holder is not, or not wholly, there
	Commands      int             `json:"commands"`               // sent to the card to read this
}

// An IdentityCard is the issuer's part (SSSE/EF05).
type IdentityCard struct {
	IdentificationCode string `json:"identification_code"` // 32 hexadecimal digits
	Version            string `json:"version"`             // 1.00, 2.00 or 3.00
	Algorithm          string `json:"algorithm"`           // DES or SM4
	Number             string `json:"number"`
	Issued             string `json:"issued,omitempty"`
	Expires            string `json:"expires,omitempty"`
	Area               string `json:"area"` // six digits, GB/T 2260
}

// An IdentityHolder is the holder (SSSE/EF06).
type IdentityHolder struct {
	SocialSecurityNumber string `json:"social_security_number"`
	Name                 string `json:"name"`
	Sex                  string `json:"sex,omitempty"` // GB/T 2261.1
	SexText              *Text  `json:"sex_text,omitempty"`
	EthnicGroup          string `json:"ethnic_group,omitempty"` // GB 3304
	EthnicGroupText      *Text  `json:"ethnic_group_text,omitempty"`
	BirthDate            string `json:"birth_date,omitempty"`
}

// A FileDocument is one file of the card, decoded.
type FileDocument struct {
	ID      string           `json:"id"` // DF03EF07
	Name    Text             `json:"name"`
	Records []RecordDocument `json:"records"`
	Data    string           `json:"data,omitempty"`  // of a transparent file, in hexadecimal
	Fault   *Fault           `json:"fault,omitempty"` // why it cannot be read, where all files were asked for
}

// A RecordDocument is one data element. Members are the elements inside a
// template or a record of a cyclic file.
type RecordDocument struct {
	Tag     string           `json:"tag,omitempty"`
	Name    Text             `json:"name"`
	Value   string           `json:"value,omitempty"`
	Text    *Text            `json:"text,omitempty"` // the words of a code
	Unset   bool             `json:"unset,omitempty"`
	Fault   *Fault           `json:"fault,omitempty"` // the value is malformed; the others are delivered
	Members []RecordDocument `json:"members,omitempty"`
}
