package terminal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"onecard/settlement"
	"onecard/settlement/region"
)

// complete fills what the configuration leaves out: from the region's file,
// and what that leaves out with what is usual.
func (u *UpstreamConfig) complete(dir string) error {
	u.rules = new(region.Region)
	if u.Region != "" {
		if !slices.Contains(region.Names(), u.Region) {
			u.Region = under(dir, u.Region)
		}
		var err error
		if u.rules, err = region.Load(u.Region); err != nil {
			return fmt.Errorf("upstream.region: %w: %w", ErrConfig, err)
		}
	}
	r := u.rules
	text := func(to *string, usual ...string) {
		for _, v := range usual {
			if *to == "" {
				*to = v
			}
		}
	}
	text(&u.Style, r.Style, "none")
	text(&u.Receiver, r.Receiver, "YBXT")
	text(&u.Version, r.Version, "V1.0")
	connect, answer := r.Timeouts()
	bound := func(to *Duration, usual ...time.Duration) {
		for _, v := range usual {
			if *to == 0 {
				*to = Duration(v)
			}
		}
	}
	bound(&u.ConnectTimeout, connect, 10*time.Second)
	bound(&u.AnswerTimeout, answer, 60*time.Second)
	u.URL = r.Endpoint(u.URL)
	return nil
}

// Rules are the region's; without a region they say nothing.
func (u *UpstreamConfig) Rules() *region.Region {
	if u.rules == nil {
		return new(region.Region)
	}
	return u.rules
}

func (u *UpstreamConfig) checkStyle() error {
	for part := range strings.SplitSeq(u.Style, "+") {
		if !slices.Contains(settlement.StyleNames(), part) {
			return fmt.Errorf("upstream.style: one of %s, or several joined by +: %w", strings.Join(settlement.StyleNames(), ", "), ErrConfig)
		}
	}
	if u.Style != "none" && u.CredentialsFile == "" {
		return fmt.Errorf("upstream.credentials_file: style %s needs its secrets: %w", u.Style, ErrConfig)
	}
	return nil
}
