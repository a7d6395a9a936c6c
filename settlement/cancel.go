package settlement

import "context"

// AllUnsettled as a batch number means every line of the visit that is not
// settled (2205).
const AllUnsettled = "0000"

// A FeeCancel is the input of 2205, node data: it takes back uploaded fee lines
// that are not settled.
type FeeCancel struct {
	ChrgBchno string `json:"chrg_bchno"` // a batch, or AllUnsettled
	MdtrtID   string `json:"mdtrt_id"`
	PsnNo     string `json:"psn_no"`
}

// A RegistrationCancel is the input of 2202, node data: it takes back a visit
// that has no fee lines.
type RegistrationCancel struct {
	PsnNo    string `json:"psn_no"`
	MdtrtID  string `json:"mdtrt_id"`
	IptOtpNo string `json:"ipt_otp_no"`
}

// CancelFees is 2205. Unsettled lines book nothing, so it can be repeated.
func (c *Client) CancelFees(ctx context.Context, s Scope, in FeeCancel) error {
	_, err := c.do(ctx, s, "2205", map[string]FeeCancel{"data": in})
	return err
}

// CancelRegistration is 2202.
func (c *Client) CancelRegistration(ctx context.Context, s Scope, in RegistrationCancel) error {
	_, err := c.do(ctx, s, "2202", map[string]RegistrationCancel{"data": in})
	return err
}
