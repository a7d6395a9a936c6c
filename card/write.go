package card

import (
	"context"
	"fmt"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/card/profile"
)

// meetWrite brings about the condition under which a file can be updated. The
// keys go on holding for the other files of the directory.
func (c *Card) meetWrite(ctx context.Context, f profile.File, kh KeyHolder) error {
	access := f.WriteAccess(c.issuer.Specification)
	if access.Met(c.pin, func(key string) bool { return c.held[key] }) {
		return nil
	}
	why := error(nil)
	for _, alt := range access {
		if alt.PIN && !c.pin {
			why = prefer(ErrPINRequired, why)
			continue
		}
		err := c.proveAll(ctx, kh, alt.Keys)
		if err == nil {
			return nil
		}
		if c.lost {
			return err
		}
		why = prefer(why, err)
	}
	if why == nil {
		return ErrNotWritable
	}
	return why
}

func (c *Card) proveAll(ctx context.Context, kh KeyHolder, names []string) error {
	for _, key := range names {
		if c.held[key] {
			continue
		}
		if kh == nil {
			return ErrNoKeyHolder
		}
		if err := c.authenticateKey(ctx, kh, key); err != nil {
			return err
		}
	}
	return nil
}

// writeItem sends the one command that writes next in an item's place. The
// condition for it is met.
func (c *Card) writeItem(ctx context.Context, kh KeyHolder, f profile.File, item PlanItem, next []byte) error {
	if c.noSFI {
		s, err := c.selectEF(ctx, f)
		if err != nil {
			return err
		}
		if !s.OK() {
			return refused("SELECT "+f.ID(), s)
		}
	}
	sfi := f.SFI << 3
	if c.noSFI {
		sfi = 0
	}
	cmd := apdu.Command{INS: 0xDC, P1: byte(item.Number), P2: sfi | modeOne, Data: next}
	switch f.Structure {
	case profile.CyclicFile:
		cmd.P1, cmd.P2 = 0, sfi|modePrevious
	case profile.Transparent:
		cmd = apdu.Command{INS: 0xD6, P1: 0x80 | f.SFI, P2: byte(item.Offset), Data: next}
		if c.noSFI || item.Offset > 0xFF {
			// By 15-bit offset in the current EF, which reading has made it.
			if !c.noSFI {
				if err := c.makeCurrent(ctx, f); err != nil {
					return err
				}
			}
			cmd.P1 = byte(item.Offset >> 8)
		}
	}
	if cmd.P2&0xF8 != 0 && cmd.INS == 0xDC || cmd.P1&0x80 != 0 {
		c.ef = "" // a short identifier moves the current EF
	}
	r, err := c.exchange(ctx, cmd)
	if err != nil {
		return err
	}
	if r.Status == apdu.StatusWrongMAC || r.Status == apdu.StatusNoMAC {
		if r, err = c.secured(ctx, kh, f.DF, cmd); err != nil {
			return err
		}
	}
	if !r.Status.OK() {
		return refused("UPDATE "+f.ID(), r.Status)
	}
	return nil
}

// modePrevious is the mode that appends to a cyclic file.
const modePrevious = 3

// makeCurrent selects an EF for a command that cannot carry its identifier.
// Reading by short identifier makes it current, too, but another EF of the
// plan may have been read since.
func (c *Card) makeCurrent(ctx context.Context, f profile.File) error {
	s, err := c.selectEF(ctx, f)
	if err != nil {
		return err
	}
	if !s.OK() {
		return refused("SELECT "+f.ID(), s)
	}
	return nil
}

// secured sends a command with secure messaging, for a card that takes it no
// other way.
func (c *Card) secured(ctx context.Context, kh KeyHolder, df string, cmd apdu.Command) (apdu.Response, error) {
	holder, err := holderAs[SecureHolder](kh)
	if err != nil {
		return apdu.Response{}, err
	}
	key := "STK"
	if df != rootDF {
		key += df
	}
	return c.sendSecured(ctx, func(ctx context.Context, s keys.Subject, challenge []byte) ([]byte, error) {
		return holder.SecureCommand(ctx, s, key, challenge, keys.Header{cmd.CLA | 0x04, cmd.INS, cmd.P1, cmd.P2}, cmd.Data)
	})
}

// sendSecured gets a challenge, has the key holder make the whole command, and
// sends it.
func (c *Card) sendSecured(ctx context.Context, secure func(ctx context.Context, s keys.Subject, challenge []byte) ([]byte, error)) (apdu.Response, error) {
	subject, err := c.subject()
	if err != nil {
		return apdu.Response{}, err
	}
	r, err := c.exchange(ctx, apdu.Command{INS: 0x84, Le: 8})
	if err != nil {
		return r, fmt.Errorf("get challenge: %w", err)
	}
	if !r.Status.OK() {
		return r, refused("GET CHALLENGE", r.Status)
	}
	if len(r.Data) != 8 {
		return r, fmt.Errorf("get challenge: %w: %d bytes", apdu.ErrGarbage, len(r.Data))
	}
	whole, err := secure(ctx, subject, append([]byte(nil), r.Data...))
	if err != nil {
		return r, err
	}
	cmd, err := apdu.ParseCommand(whole)
	if err != nil {
		return r, fmt.Errorf("the key holder's command: %w", err)
	}
	return c.exchange(ctx, cmd)
}
