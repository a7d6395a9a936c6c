package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/pelletier/go-toml/v2"

	"onecard/settlement"
	"onecard/terminal"
)

// credentials are the secrets of a signature style, in a TOML file of their
// own: keys and pass words never stand in the configuration or on a command
// line.
type credentials struct {
	PaasID    string            `toml:"paasid"` // x-tif
	Token     settlement.Secret `toml:"token"`
	AccessKey string            `toml:"access_key"` // csb
	SecretKey settlement.Secret `toml:"secret_key"`
	CAKey     string            `toml:"ca_key"` // hmac-sm3
	CASecret  settlement.Secret `toml:"ca_secret"`

	SM2PrivateKey     settlement.Secret `toml:"sm2_private_key"` // sm2-cainfo, mobile
	UpstreamPublicKey string            `toml:"upstream_public_key"`
	SM4Key            settlement.Secret `toml:"sm4_key"` // sm4-body
	AppID             string            `toml:"app_id"`  // mobile
	AppSecret         settlement.Secret `toml:"app_secret"`
}

var errCredentials = errors.New("only paasid and token, or access_key and secret_key, or ca_key and ca_secret; sm2_private_key, " +
	"upstream_public_key, sm4_key, app_id and app_secret, all texts")

// readCredentials reads the file. No error quotes it.
func readCredentials(file string) (settlement.Credentials, error) {
	text, err := terminal.ReadSecret(file)
	if err != nil {
		return settlement.Credentials{}, err
	}
	defer clear(text)
	var c credentials
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&c); err != nil {
		return settlement.Credentials{}, errCredentials
	}
	all := settlement.Credentials{
		SM2Key: c.SM2PrivateKey, UpstreamKey: c.UpstreamPublicKey, SM4Key: c.SM4Key, AppID: c.AppID, AppSecret: c.AppSecret,
	}
	for _, pair := range []struct {
		id     string
		secret settlement.Secret
	}{{c.PaasID, c.Token}, {c.AccessKey, c.SecretKey}, {c.CAKey, c.CASecret}} {
		switch {
		case pair.id == "" && pair.secret == "":
		case all.ID != "" || all.Secret != "":
			return settlement.Credentials{}, errCredentials
		default:
			all.ID, all.Secret = pair.id, pair.secret
		}
	}
	return all, nil
}

// upstream makes the client of the insurance centre: what the configuration
// says, the region's rules where it says nothing, and the secrets.
func upstream(cfg terminal.Config, journal *settlement.Journal) (*settlement.Client, error) {
	u := &cfg.Upstream
	var secrets settlement.Credentials
	if u.CredentialsFile != "" {
		var err error
		if secrets, err = readCredentials(u.CredentialsFile); err != nil {
			// The cause first: a file that others may read has a code of its own.
			return nil, fmt.Errorf("upstream.credentials_file: %w: %w", err, terminal.ErrConfig)
		}
	}
	u.Rules().Complete(&secrets)
	style, err := settlement.NewStyle(u.Style, secrets)
	if err != nil {
		return nil, fmt.Errorf("upstream.style: %w: %w", terminal.ErrConfig, err)
	}
	ids, err := settlement.NewMsgIDs(cfg.Institution.Code, journal, time.Now, u.Lane, u.Lanes)
	if err != nil {
		return nil, fmt.Errorf("institution.code: %w: %w", terminal.ErrConfig, err)
	}
	config := settlement.Config{
		URL: u.URL, Paths: u.Paths, Style: style, MsgIDs: ids,
		Institution:  settlement.Institution{Code: cfg.Institution.Code, Name: cfg.Institution.Name, Area: cfg.Institution.Area},
		Operator:     settlement.Operator{Type: cfg.Operator.Type, No: cfg.Operator.No, Name: cfg.Operator.Name},
		RecerSysCode: u.Receiver, Infver: u.Version, Vendor: u.Vendor,
		ConnectTimeout: time.Duration(u.ConnectTimeout), AnswerTimeout: time.Duration(u.AnswerTimeout),
	}
	if err := u.Rules().Apply(&config); err != nil {
		return nil, fmt.Errorf("upstream.region: %w: %w", terminal.ErrConfig, err)
	}
	client, err := settlement.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("upstream: %w: %w", terminal.ErrConfig, err)
	}
	return client, nil
}
