package settlement

import (
	"context"
	"fmt"
)

// Filings are with the place of insurance. None of them moves money; the same
// filing sent again may stand twice, so ask before repeating one whose answer
// was lost.

// FileReferral is 2501. It returns trt_dcla_detl_sn, the filing's number.
func (c *Client) FileReferral(ctx context.Context, s Scope, in ReferralFiling) (string, error) {
	return c.file(ctx, s, "2501", map[string]ReferralFiling{"refmedin": in})
}

// FileChronic is 2503. It returns the filing's number.
func (c *Client) FileChronic(ctx context.Context, s Scope, in ChronicFiling) (string, error) {
	return c.file(ctx, s, "2503", map[string]ChronicFiling{"data": in})
}

// FileInstitution is 2505. It returns the filing's number.
func (c *Client) FileInstitution(ctx context.Context, s Scope, in InstitutionFiling) (string, error) {
	return c.file(ctx, s, "2505", map[string]InstitutionFiling{"data": in})
}

func (c *Client) file(ctx context.Context, s Scope, infno string, input any) (string, error) {
	a, err := c.do(ctx, s, infno, input)
	if err != nil {
		return "", err
	}
	var out struct {
		Result Node[struct {
			TrtDclaDetlSN Text `json:"trt_dcla_detl_sn"`
		}] `json:"result"`
	}
	if err := a.Decode(&out); err != nil {
		return "", err
	}
	sn := string(out.Result.Value.TrtDclaDetlSN)
	if sn == "" {
		return "", fmt.Errorf("%s: no trt_dcla_detl_sn: %w", infno, ErrMalformed)
	}
	return sn, nil
}

// CancelReferral is 2502.
func (c *Client) CancelReferral(ctx context.Context, s Scope, in FilingCancel) error {
	return c.unfile(ctx, s, "2502", in)
}

// CancelChronic is 2504.
func (c *Client) CancelChronic(ctx context.Context, s Scope, in FilingCancel) error {
	return c.unfile(ctx, s, "2504", in)
}

// CancelInstitution is 2506.
func (c *Client) CancelInstitution(ctx context.Context, s Scope, in FilingCancel) error {
	return c.unfile(ctx, s, "2506", in)
}

func (c *Client) unfile(ctx context.Context, s Scope, infno string, in FilingCancel) error {
	_, err := c.do(ctx, s, infno, map[string]FilingCancel{"data": in})
	return err
}

// QueryChronic is 5301: the chronic diseases filed for a person.
func (c *Client) QueryChronic(ctx context.Context, s Scope, psnNo string) ([]ChronicRecord, error) {
	a, err := c.do(ctx, s, "5301", map[string]map[string]string{"data": {"psn_no": psnNo}})
	if err != nil {
		return nil, err
	}
	return rowsOf[ChronicRecord](a, "feedetail")
}

// QueryInstitutions is 5302: the institutions filed for a person under a kind of
// application (biz_appy_type).
func (c *Client) QueryInstitutions(ctx context.Context, s Scope, psnNo, bizAppyType string) ([]InstitutionRecord, error) {
	a, err := c.do(ctx, s, "5302", map[string]map[string]string{"data": {"psn_no": psnNo, "biz_appy_type": bizAppyType}})
	if err != nil {
		return nil, err
	}
	list, err := rowsOf[InstitutionRecord](a, "psnfixmedin")
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if differs(r.PsnNo, psnNo) {
			return nil, fmt.Errorf("5302: another person: %w", ErrMismatch)
		}
	}
	return list, nil
}

// QueryReferrals is 5304: the referrals filed for a person that begin in a span
// of time (yyyy-MM-dd HH:mm:ss; the end may be empty).
func (c *Client) QueryReferrals(ctx context.Context, s Scope, psnNo, begntime, endtime string) ([]ReferralRecord, error) {
	in := map[string]string{"psn_no": psnNo, "begntime": begntime}
	if endtime != "" {
		in["endtime"] = endtime
	}
	a, err := c.do(ctx, s, "5304", map[string]map[string]string{"data": in})
	if err != nil {
		return nil, err
	}
	list, err := rowsOf[ReferralRecord](a, "refmedin")
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if differs(r.PsnNo, psnNo) {
			return nil, fmt.Errorf("5304: another person: %w", ErrMismatch)
		}
	}
	return list, nil
}
