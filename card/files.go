package card

import (
	"context"
	"errors"
	"fmt"

	"onecard/apdu"
	"onecard/card/profile"
)

// ReadFile reads and decodes one file. What it needs to be read is met with
// what there is, in this order: nothing for a free file; the PIN when
// [Card.VerifyPIN] has verified it; else a key through kh, authenticated in the
// file's directory, where it stays valid for the next file of that directory.
// kh may be nil.
//
// Errors wrap [ErrFileUnknown], [ErrFileMissing] (the card need not have every
// file), [ErrPINRequired], [ErrNoKeyHolder], [*ExternalAuthError],
// [ErrKeyBlocked], the key holder's error, [*RefusedError], or the Conn's
// error. With an error of a card that broke off, the records before it are
// returned. Malformed records are marked and no error.
func (c *Card) ReadFile(ctx context.Context, id FileID, kh KeyHolder) (File, error) {
	f, ok := c.profile.File(id.DF, id.EF)
	if !ok {
		return File{}, fmt.Errorf("read %s: %w", id, ErrFileUnknown)
	}
	file, err := c.readFile(ctx, f, kh)
	if err != nil {
		return file, fmt.Errorf("read %s: %w", id, err)
	}
	return file, nil
}

func (c *Card) readFile(ctx context.Context, f profile.File, kh KeyHolder) (File, error) {
	if err := c.enter(ctx, f.DF); err != nil {
		return File{}, err
	}
	access := f.ReadAccess(c.issuer.Specification)
	if err := c.meet(ctx, access, kh); err != nil {
		return File{}, err
	}
	file, err := c.readNow(ctx, f)
	var answer *RefusedError
	if !errors.As(err, &answer) || answer.Status != apdu.StatusSecurity || len(file.Records) > 0 {
		return file, err
	}
	// The card wants more than the profile says, or has forgotten the PIN. A
	// key that the profile names and that is not there yet may do.
	for _, alt := range access {
		for _, key := range alt.Keys {
			if kh == nil || !isReadKey(key) || c.held[key] {
				continue
			}
			if err := c.authenticateKey(ctx, kh, key); err != nil {
				return File{}, err
			}
			return c.readNow(ctx, f)
		}
	}
	for _, alt := range access {
		if alt.PIN {
			c.pin = false
			return File{}, fmt.Errorf("%w (%w)", ErrPINRequired, err)
		}
	}
	return file, err
}

// readNow reads and decodes a file whose access condition is met.
func (c *Card) readNow(ctx context.Context, f profile.File) (File, error) {
	switch f.Structure {
	case profile.Transparent:
		data, err := c.readTransparent(ctx, f)
		file := File{ID: FileID{f.DF, f.EF}, NameZH: f.NameZH, NameEN: f.NameEN, Structure: f.Structure}
		if !allBytes(data, 0) && !allBytes(data, 0xFF) {
			file.Data = data
		}
		return file, err
	case profile.CyclicFile:
		raws, size, err := c.readCyclic(ctx, f)
		return decodeCyclic(c.profile, f, raws, size), err
	}
	raws, err := c.readLinear(ctx, f, 0)
	return decodeFile(c.profile, f, c.issuer.Specification, raws), err
}

// meet brings about the access condition of a file in the selected directory
// with the fewest commands: an alternative that holds already, else one that a
// key completes.
func (c *Card) meet(ctx context.Context, access profile.Access, kh KeyHolder) error {
	if access.Met(c.pin, func(key string) bool { return c.held[key] }) {
		return nil
	}
	var why error
	for _, alt := range access {
		if alt.PIN && !c.pin {
			// Whoever can use the PIN instead should be told so first.
			why = prefer(ErrPINRequired, why)
			continue
		}
		err := c.authenticateAll(ctx, kh, alt.Keys)
		if err == nil {
			return nil
		}
		if c.lost {
			return err
		}
		why = prefer(why, err)
	}
	if why == nil {
		return fmt.Errorf("%w: nobody may read it", apdu.ErrSecurityStatus)
	}
	return why
}

// prefer joins two reasons, the more useful first.
func prefer(first, second error) error {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return fmt.Errorf("%w (%w)", first, second)
}

func (c *Card) authenticateAll(ctx context.Context, kh KeyHolder, names []string) error {
	for _, key := range names {
		if c.held[key] {
			continue
		}
		if !isReadKey(key) {
			// Reading never uses a key that could also write.
			return fmt.Errorf("%w: %s is not a key for reading", apdu.ErrSecurityStatus, key)
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

func isReadKey(name string) bool { return len(name) > 2 && name[:2] == "RK" }
