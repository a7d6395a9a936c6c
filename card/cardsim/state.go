package cardsim

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"onecard/card/keys"
	"onecard/card/profile"
	"onecard/fault"
)

// errEEPROM is wrapped by the errors for a file that is not this card's EEPROM.
var errEEPROM = fault.New(fault.ImageInvalid, "not the EEPROM of this simulated card")

// stateVersion is the form of the file.
const stateVersion = 1

// The file in JSON; bytes are hex digits, files go by node and SFI
// ("DF03/07"), keys by name and version ("RK1DF03/1").
type (
	stateJSON struct {
		EEPROM     int                  `json:"onecard_eeprom"`
		Historical hexBytes             `json:"historical_bytes"`
		Life       life                 `json:"life"`
		Dirs       map[string]dirJSON   `json:"directories"`
		Files      map[string]*fileJSON `json:"files"`
		Keys       map[string]keyJSON   `json:"keys"`
		PIN        hexBytes             `json:"pin"`
		PINTries   int                  `json:"pin_tries"`
		PINLimit   int                  `json:"pin_limit"`
		Account    accountJSON          `json:"account"`
		Proofs     [2]proofJSON         `json:"proofs"`
		User       digestJSON           `json:"certificate_user"`
		Admin      digestJSON           `json:"certificate_admin"`
	}
	dirJSON struct {
		FID     hexBytes `json:"fid"`
		AID     hexBytes `json:"aid"`
		Alg     byte     `json:"algorithm"`
		Parent  string   `json:"parent"`
		Blocked bool     `json:"blocked,omitempty"`
	}
	fileJSON struct {
		Structure  profile.Structure `json:"structure"`
		FID        hexBytes          `json:"fid"`
		Read       profile.Access    `json:"read"`
		Write      profile.Access    `json:"write"`
		Slots      []slotJSON        `json:"slots,omitempty"`
		RecordSize int               `json:"record_size,omitempty"`
		Capacity   int               `json:"capacity,omitempty"`
		Size       int               `json:"size,omitempty"`
		Secured    bool              `json:"secured,omitempty"`
		Records    []hexBytes        `json:"records,omitempty"`
		Data       hexBytes          `json:"data,omitempty"`
	}
	slotJSON struct {
		Tag    byte `json:"tag"`
		Length int  `json:"length"`
	}
	keyJSON struct {
		Value hexBytes `json:"value"`
		Limit int      `json:"limit"`
		Left  int      `json:"left"`
	}
	accountJSON struct {
		Balance  uint32   `json:"balance"`
		SelfPaid uint32   `json:"self_paid"`
		Pooling  uint32   `json:"pooling"`
		Year     hexBytes `json:"year"`
		StartDay hexBytes `json:"start_day"`
		Loads    uint16   `json:"load_sequence"`
		Debits   uint16   `json:"purchase_sequence"`
	}
	proofJSON struct {
		Valid    bool     `json:"valid"`
		Sequence uint16   `json:"sequence"`
		MAC2     hexBytes `json:"mac2"`
		TAC      hexBytes `json:"tac"`
	}
	digestJSON struct {
		Digest hexBytes `json:"digest"`
		Tries  int      `json:"tries"`
		Limit  int      `json:"limit"`
	}
)

// hexBytes are bytes that JSON shows as hex digits.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("not hex digits") // the error of package hex quotes them
	}
	*h = b
	return nil
}

// state returns a memory as the file holds it.
func (c *Card) state(m *memory) ([]byte, error) {
	a := m.account
	s := stateJSON{
		EEPROM: stateVersion, Historical: c.chip.historical[:], Life: m.life,
		Dirs: make(map[string]dirJSON), Files: make(map[string]*fileJSON), Keys: make(map[string]keyJSON),
		PIN: m.pin, PINTries: m.pinTries, PINLimit: m.pinLimit,
		Account: accountJSON{a.balance, a.selfPaid, a.pooling, a.year[:], a.startDay[:], a.loads, a.debits},
		User:    digestJSON{m.certs.user.digest[:], m.certs.user.tries, m.certs.user.most},
		Admin:   digestJSON{m.certs.admin.digest[:], m.certs.admin.tries, m.certs.admin.most},
	}
	for node, d := range m.dirs {
		s.Dirs[node] = dirJSON{d.fid[:], d.aid, d.alg, d.parent, d.blocked}
	}
	for id, f := range m.files {
		form := m.forms[id]
		j := &fileJSON{
			Structure: form.structure, FID: form.fid[:], Read: form.read, Write: form.write,
			RecordSize: form.recordSize, Capacity: form.capacity, Size: form.size, Secured: form.secured, Data: f.data,
		}
		for _, slot := range form.slots {
			j.Slots = append(j.Slots, slotJSON{slot.tag, slot.length})
		}
		for _, r := range f.records {
			j.Records = append(j.Records, r)
		}
		s.Files[fmt.Sprintf("%s/%02X", id.df, id.sfi)] = j
	}
	for id, key := range m.keys {
		s.Keys[fmt.Sprintf("%s/%d", id.name, id.version)] = keyJSON{key[:], m.limits[id], m.tries(id)}
	}
	for i, p := range m.proofs {
		s.Proofs[i] = proofJSON{p.valid, p.sequence, p.mac2[:], p.tac[:]}
	}
	return json.MarshalIndent(s, "", " ")
}

// loadEEPROM takes the memory from the file, or makes the file.
func (c *Card) loadEEPROM() error {
	if c.nvm.path == "" {
		return nil
	}
	b, err := loadFile(c.nvm.path)
	if err != nil {
		return err
	}
	if b == nil {
		return c.nvm.save(func() ([]byte, error) { return c.state(c.mem) })
	}
	if err := os.Chmod(c.nvm.path, 0o600); err != nil {
		return fmt.Errorf("EEPROM file: %w: %w", errEEPROM, err)
	}
	m, err := parseState(b, c.chip.historical)
	if err != nil {
		return fmt.Errorf("EEPROM file: %w", err)
	}
	c.mem = m
	return nil
}

// parseState reads the file. Errors wrap errEEPROM and quote nothing of it.
func parseState(b []byte, historical [13]byte) (*memory, error) {
	bad := func(format string, args ...any) (*memory, error) {
		return nil, fmt.Errorf("%w: %s", errEEPROM, fmt.Sprintf(format, args...))
	}
	var s stateJSON
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil || dec.More() {
		return bad("not in the form of version %d", stateVersion)
	}
	switch {
	case s.EEPROM != stateVersion:
		return bad("version %d, not %d", s.EEPROM, stateVersion)
	case !bytes.Equal(s.Historical, historical[:]):
		return bad("the historical bytes are another card's")
	case s.Life > lifeBlocked:
		return bad("life %d", s.Life)
	case len(s.PIN) > 0 && !validPIN(s.PIN):
		return bad("pin")
	case !validTries(s.PINTries, s.PINLimit), !validTries(s.User.Tries, s.User.Limit), !validTries(s.Admin.Tries, s.Admin.Limit):
		return bad("tries")
	case len(s.Account.Year) != 2 || len(s.Account.StartDay) != 2:
		return bad("account")
	case len(s.User.Digest) != 16 || len(s.Admin.Digest) != 16:
		return bad("digest of a PIN")
	}
	m := newMemory()
	m.life, m.pinTries, m.pinLimit = s.Life, s.PINTries, s.PINLimit
	if len(s.PIN) > 0 {
		m.pin = s.PIN
	}
	a := s.Account
	m.account = account{a.Balance, a.SelfPaid, a.Pooling, [2]byte(a.Year), [2]byte(a.StartDay), a.Loads, a.Debits}
	m.certs = certificates{
		digestPIN{[16]byte(s.User.Digest), s.User.Tries, s.User.Limit},
		digestPIN{[16]byte(s.Admin.Digest), s.Admin.Tries, s.Admin.Limit},
	}
	for i, p := range s.Proofs {
		if len(p.MAC2) != keys.MACSize || len(p.TAC) != keys.MACSize {
			return bad("proof")
		}
		m.proofs[i] = proof{p.Valid, p.Sequence, [keys.MACSize]byte(p.MAC2), [keys.MACSize]byte(p.TAC)}
	}
	for node, d := range s.Dirs {
		if _, known := referenceDirectories()[node]; !known || len(d.FID) != 2 || len(d.AID) > 16 {
			return bad("directory")
		}
		m.dirs[node] = directory{[2]byte(d.FID), d.AID, d.Alg, d.Parent, d.Blocked}
	}
	for name, k := range s.Keys {
		id, ok := parseKeyID(name)
		if !ok || len(k.Value) != keys.Size || !validTries(k.Left, k.Limit) {
			return bad("key")
		}
		m.keys[id], m.limits[id] = keys.Key(k.Value), k.Limit
		if k.Left != k.Limit {
			m.failed[id] = k.Left
		}
	}
	for name, j := range s.Files {
		id, ok := parseFileID(name)
		if _, known := m.dirs[id.df]; !ok || !known || j == nil || !j.valid() {
			return bad("file")
		}
		m.forms[id], m.files[id] = j.parts()
	}
	return m, nil
}

func validTries(left, limit int) bool { return left >= 0 && left <= limit && limit <= maxTries }

func parseKeyID(text string) (keyID, bool) {
	name, version, _ := strings.Cut(text, "/")
	_, known := keys.Reference().Lookup(name)
	v, err := strconv.ParseUint(version, 10, 8)
	return keyID{name, byte(v)}, known && err == nil && v >= 1 && v <= keys.Versions
}

func parseFileID(text string) (fileID, bool) {
	node, sfi, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(sfi, 16, 8)
	return fileID{node, byte(n)}, err == nil && n >= 1 && n <= 30
}

// valid checks what the commands rely on.
func (j *fileJSON) valid() bool {
	if len(j.FID) != 2 || len(j.Records) > j.Capacity || j.Capacity > maxRecords || len(j.Data) != j.Size {
		return false
	}
	for _, r := range j.Records {
		if len(r) == 0 && j.Structure == profile.CyclicFile || len(r) > maxAnswer {
			return false
		}
	}
	switch j.Structure {
	case profile.Transparent:
		return j.Capacity == 0 && j.Size > 0 && j.Size <= maxFileSize
	case profile.CyclicFile:
		return j.Size == 0 && j.RecordSize > 0 && j.RecordSize <= maxAnswer && j.Capacity > 0
	case profile.Variable, profile.Fixed:
		return j.Size == 0 && j.Capacity == len(j.Slots)
	}
	return false
}

func (j *fileJSON) parts() (*form, *content) {
	f := &form{
		structure: j.Structure, fid: [2]byte(j.FID), read: j.Read, write: j.Write,
		recordSize: j.RecordSize, capacity: j.Capacity, size: j.Size, secured: j.Secured,
	}
	for _, s := range j.Slots {
		f.slots = append(f.slots, place{s.Tag, s.Length})
	}
	c := &content{data: j.Data}
	for _, r := range j.Records {
		c.records = append(c.records, r)
	}
	return f, c
}
