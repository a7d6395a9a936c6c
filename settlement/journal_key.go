package settlement

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"onecard/fault"
)

// ErrJournalKey is what a journal says whose key is missing, wrong or readable
// by others.
var ErrJournalKey = fault.New(fault.JournalKey, "the journal's key is missing or wrong")

// keyHeader begins a key file; 64 hexadecimal digits follow.
const keyHeader = "onecard journal key 1\n"

// A journalKey seals what is personal and binds the chain. The two keys are
// derived from the 32 bytes of the key file by HKDF-SHA-256 (RFC 5869).
type journalKey struct {
	aead  cipher.AEAD // AES-256-GCM, random nonces
	chain []byte      // HMAC-SHA-256
	id    int64       // tells keys apart and says nothing about them
}

// String prints stars.
func (*journalKey) String() string { return "****" }

// GoString prints stars.
func (*journalKey) GoString() string { return "****" }

func newJournalKey(secret []byte) (*journalKey, error) {
	derive := func(purpose string) ([]byte, error) {
		return hkdf.Key(sha256.New, secret, nil, "onecard journal "+purpose, 32)
	}
	data, err := derive("data")
	if err != nil {
		return nil, err
	}
	chain, err := derive("chain")
	if err != nil {
		return nil, err
	}
	id, err := derive("name")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(data)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &journalKey{aead: aead, chain: chain, id: int64(binary.BigEndian.Uint64(id) >> 1)}, nil
}

// seal encrypts a field of the row that owner names: it opens nowhere else.
func (k *journalKey) seal(field, owner string, text []byte) []byte {
	return k.aead.Seal(nil, nil, text, []byte(field+"\x00"+owner))
}

func (k *journalKey) open(field, owner string, sealed []byte) ([]byte, error) {
	text, err := k.aead.Open(nil, nil, sealed, []byte(field+"\x00"+owner))
	if err != nil {
		return nil, fmt.Errorf("%s cannot be decrypted: %w", field, ErrJournalAltered)
	}
	return text, nil
}

// loadKey reads a key file.
func loadKey(path string) (*journalKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournalKey, err)
	}
	if !info.Mode().IsRegular() || info.Size() > 1024 {
		return nil, fmt.Errorf("%s is not a key file: %w", filepath.Base(path), ErrJournalKey)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: mode %04o, others may read it: %w", filepath.Base(path), info.Mode().Perm(), ErrJournalKey)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournalKey, err)
	}
	defer clear(text)
	digits, ok := bytes.CutPrefix(text, []byte(keyHeader))
	digits = bytes.TrimSpace(digits)
	secret := make([]byte, 32)
	defer clear(secret)
	if !ok || len(digits) != 64 {
		return nil, fmt.Errorf("%s is not a key file: %w", filepath.Base(path), ErrJournalKey)
	}
	if _, err := hex.Decode(secret, digits); err != nil {
		return nil, fmt.Errorf("%s is not a key file: %w", filepath.Base(path), ErrJournalKey)
	}
	return newJournalKey(secret)
}

// makeKey reads the key file, or makes one where there is none: on the disk
// before anything is sealed with it.
func makeKey(path string) (*journalKey, error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return loadKey(path)
	}
	secret := make([]byte, 32)
	defer clear(secret)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournalKey, err)
	}
	text := []byte(keyHeader + hex.EncodeToString(secret) + "\n")
	defer clear(text)
	if err := writeDurably(path, text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournalKey, err)
	}
	return loadKey(path)
}

// writeDurably replaces a file of mode 0600: after a crash it is the old one or
// the new one.
func writeDurably(path string, text []byte) error {
	draft := path + ".new"
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(draft, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	if err := os.Rename(draft, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
