// Package cardsim is a social security card in software: the card's side of the
// card specification, sections 1 to 9, written apart from package card so that
// each can find the other's mistakes. Reader software cannot tell it from a
// card in a reader; what it does not do is listed at the end.
//
// A card is made from an image and put into a reader:
//
//	img, err := cardsim.Example("3.0") // or ParseImage of a file
//	c, err := cardsim.New(img, cardsim.WithQuirks(cardsim.QuirkStrictLe))
//	driver.Insert("slot", c)                               // package reader/virtual, or
//	err = cardsim.ServeVPCD(ctx, "127.0.0.1:35963", c)     // pcscd with vpcd
//
// A [PSAM] goes the same ways.
//
// # Images
//
// An image is JSON. Unknown and repeated keys are refused, and so is a value
// that does not fit the profile. images/ holds three.
//
//	comment              for people
//	kind                 "social-security"; "bank": a card that knows PSE only;
//	                     "blank": historical_bytes and nothing else; see also PSAM
//	atr                  of a bank card, hex; others have it from historical_bytes
//	version              "1.0", "2.0", "3.0"
//	algorithm            "DES", "SM4", "SSF33" in the FCI; absent: not said, DES
//	historical_bytes     26 hex digits, the tail of the ATR
//	identification_code  32 hex digits; also SSSE/EF05 tag 01
//	pin                  4 to 16 digits, "123456" where absent
//	pin_tries, key_tries 1 to 15; 6 and 3 where absent
//	keys                 "test": the test roots, versions 1 to 3, diversified for
//	                     this card; or the card's own keys by name, 32 hex digits
//	files                values by file and tag, see below
//	absent               list of files that the card lacks
//	contactless          true: a 3.0 card on its antenna, with ATS and the ATR that
//	                     a PC/SC reader makes of it
//	secure_messaging     list of files whose updates need a MAC (6988)
//	certificates         of a 3.0 card, see below
//	medical_account      balance, yearly_self_paid, yearly_pooling (yuan), year,
//	                     start_day (MMDD), load_sequence, purchase_sequence
//
// A file goes by DF and EF: "DF03EF07". A 1.0 card has the files that the image
// names; later cards have every file of the profile except DF05 and DF06, which
// exist when they are named. What follows depends on the structure of the file:
//
//	variable     {"70": "110", "71": "510100"}: by tag; a tag that the file has
//	             several times has a list of values in record order
//	fixed        [{"18": "110", ...}, ...]: record 1 first
//	cyclic       [{"sequence": 3, "time": "2026-09-14 10:21:37"}, ...]: newest
//	             first; occupation, from, to, employer in DF02EF07; type,
//	             approved, from, to, area in DF02EF16; sequence, type, terminal,
//	             time, account, self_paid, pooling in DF04EF08; sequence,
//	             category in DF04EF15
//	transparent  "hex:FFD8..." or "base64:...", filled up with 00
//
// An element that is absent, null or "" is unset. Values are strings:
//
//	text      as it is read; stored as GBK (GB18030). A name that is too long
//	          for tag 09 goes on in 4E by itself
//	digits    "510100"
//	dates     "2020-01-02" or "20200102"; "2020-01"; "2020"; "2020-01-02 03:04:05"
//	amounts   always yuan: "12.34"; on the card they are fen
//	numbers   of binary fields, with or without quotation marks: 3
//	template  an object by tag: {"57": "408", "58": "080200"}
//
// On a 1.0 card "2.0:330100" means the value in the meaning of 2.0 with EE
// behind it. To make a card that is wrong: "hex:" puts the bytes of a value
// unchecked, "whole:" those of a record with its tag and length.
//
// # State
//
// Loss of power takes PIN, proved keys, challenge, selection and a transaction
// that has begun away. Everything else is in the EEPROM, which lasts as long as
// the Card, or in a file for good ([WithEEPROM]).
//
// The card's life goes from blank to personalised to blocked (CARD BLOCK; every
// command answers 6A81), that of an application from free to blocked
// (APPLICATION BLOCK; 9303), and never back. LKDFxx must be proved for the one,
// BK for the other; both want the MAC under the STK of the directory.
//
// # Tearing
//
// Every write to the EEPROM is one transaction: VERIFY makes two (a try less;
// all tries again), CREDIT and DEBIT one for balance, totals, counter, proof and
// record together, an update one for its record, or for its part of a
// transparent file. A [Tear] names a write and a [Phase] of it; there the card
// loses its power: no answer ever comes, and when it is powered again it holds
// exactly the old or the new state, as the phase says.
//
//	n := card.Clone() // count
//	flow(n)
//	for _, tear := range cardsim.Tears(n.Writes() - card.Writes()) {
//		torn := card.Clone()
//		torn.TearAt(tear)
//		flow(torn)     // Transmit returns nil from the tear on
//		torn.PowerOn() // tear.New(): the write is done
//	}
//
// # Personalisation
//
// A blank card ([WithBlank]) is personalised by the commands of one vendor, whose
// bytes are decided here (profile); [Image.Commands] writes them. Until the end
// of pre-issue nothing is guarded.
//
//	80 E0 00 00 Lc   directory below the current one, which it enters: file
//	                 identifier 2, type 1 (01 DDF, 02 ADF), algorithm 1 (tag 86 of
//	                 the FCI, 00 none), name 0 to 16. The directories are those of
//	                 the profile: 6A80 others, 6985 in the wrong place
//	80 E0 01 00 Lc   file: identifier 2, type 1, read 3, update 3, flags 1 (01:
//	                 updates need a MAC), then by type C4 transparent: size 2; C7
//	                 cyclic: record size 1, records 1; C5 fixed and C6 variable:
//	                 tag 1 and length 1 of every record; C3 internal, the medical
//	                 account: balance, self-paid, pooling 4 each, year, start day,
//	                 load and purchase sequence 2 each
//	80 E0 02 00 00   end of pre-issue; 6985 without SSSE/EF05
//	80 0E 00 00 00   erases a card before the end of pre-issue
//	80 D4 00 00 Lc   use 1, number 1, version 1, tries 1, value. Use 01 internal, 02
//	                 external, 03 secure messaging, 04 debit, 05 load, 06 TAC
//	                 (numbers by keys.Reference, 00 for the last three, in DF04);
//	                 0A the PIN in SSSE; 0B, 0C digests of the certificates' PINs,
//	                 0D the SM2 private key
//	84 D4 00 00 Lc   a key's new value after the end of pre-issue: the same data
//	                 encrypted, and MAC, under the STK of the directory
//
// Conditions are a mode and the numbers of two keys: 00 free, 01 PIN, 02 key, 03
// PIN or key, 04 PIN and key, 05 (PIN and key) or second key, 06 and 07 user and
// administrator of the certificates, FF never. What exists already answers 6A89.
//
// # Medical account
//
// The commands of the card specification, sections 4 and 9, under DF04. What
// the text leaves open is decided as follows (profile). PROOF takes the type as
// the MACs have it: P2 is 31 (load) or 32 (settlement); for a load its MAC2 is
// the issuer's order. A load, too, writes a record into EF08: type 1, the amount
// in the place of the account's. Any INIT that succeeds ends both proofs. An Le
// below the answer's length is refused with 6Cxx before CREDIT or DEBIT do
// anything; the transaction stays open for the repeat. START DAY can be written
// when UK1DF04 is proved: the key that the published tables name for it has no
// number. DEBIT, GET BALANCE and nothing else need the PIN.
//
// # PSAM
//
// A [PSAM] is the terminal's security module in another slot. Its image has
// kind "psam":
//
//	terminal           12 digits, file 0016
//	historical_bytes   26 hex digits
//	algorithms         list of "DES", "SM4": the environments; absent: both
//	terminal_sequence  the next one, 0 to 4294967295; 1 where absent
//	keys               "test": the test roots of every key of the reference
//	                   table; or the same without some, by the names in "lacks"
//	lacks              list of names of keys that it does not hold
//	levels             3: it holds root keys; 2: keys of a province; 1: keys of
//	                   an area; 3 where absent
//	area               6 digits, with levels below 3
//
// The tree (AIDs as terminals select them):
//
//	MF 3F00            name 7378312E73682EC9E7BBE1B1A3D5CF "sx1.sh.社会保障": DES
//	  EF 0016          terminal number, 6 bytes cn, read freely: 00 B0 96 00 06
//	  DF01             D15600000590: the keys for DES
//	  DDF1             "sx2.sh.社会保障": SSF33; never there (6A82)
//	  DDF3 (profile)   "sx3.sh.社会保障": SM4
//	    DF01           D15600000590: the keys for SM4
//
// D15600000590 is looked for in the environment selected last, DES after reset.
// EF 0016 is found from everywhere. A SELECT answers 6F{84 name, A5{88 01, 9F0C{86
// algorithm}}}; without GET RESPONSE unless the quirk says so.
//
// A terminal prepares a key and computes with it (below D15600000590, otherwise
// 6985):
//
//	BF DE P1 P2 Lc   P1: levels << 5 | purpose. Purpose 8 MAC and encryption (all
//	                 keys for internal and external authentication and secure
//	                 messaging), 2 purchase (DPK, for 80 70 only: 6985 here).
//	                 P2: identifier of the key. Data: as many factors of 8 bytes
//	                 as levels, THE CARD'S FIRST: card, area, province (section 5,
//	                 factors 3, 2, 1), then the process factor, 4, 8 or 16 bytes.
//	                 No answer data. 6A88 no such key of that version, purpose and
//	                 level; 6700.
//	80 FA 00 00 Lc   encrypts whole blocks (8 bytes DES, 16 SM4) under the session
//	                 key, ECB, nothing padded; answers as many bytes. Authentication
//	                 with SM4: send raw8 + 00 x 8 and XOR the halves of the answer.
//	80 FA 05 00 Lc   MAC: data are one block of initial value, which is zeros
//	                 (6A80), then the message, 1 byte or more, unpadded; the PSAM
//	                 pads. Answers 4 bytes.
//	                 6985 without a prepared key; a key stays prepared until the
//	                 next BF DE, 80 70, SELECT or reset.
//	80 70 00 00 Lc   random 4, purchase sequence 2 (both as the card gave them),
//	                 account 4, self-paid 4, pooling 4, type 1 (32), time 7, key
//	                 version 1, algorithm 1, factors as above (levels x 8): Lc 34
//	                 hex with three levels. Answers terminal sequence 4, MAC1 4.
//	                 The sequence is used up before the answer leaves. 6A80 type
//	                 or algorithm, 6A88 no DPK, 9402 no sequence left.
//	80 72 00 00 04   MAC2 of the card. 9302 wrong; 6901 without 80 70. Either way
//	                 the transaction is over.
//
// The identifier of a key (P2): its place in the reference key table
// (keys.Reference), counted from 1, plus 40 hex for version 2 and 80 hex for
// version 3: IRK 01, STK 02, UKSSSE 03, ... (profile). With levels 2 the last
// factor is left out, with levels 1 the last two. 80 70 takes the key version
// from its data.
//
// # Certificates
//
// A 3.0 card whose image has "certificates" has the environment of section 4,
// selected by name: 504B492EC9E7BBE1B1A3D5CF "PKI.社会保障", in it
// 53532E434552542E41444631 "SS.CERT.ADF1", both found from everywhere. The image:
//
//	certificates     {"pin": "123456", "admin_pin": "12345678", "key": 64 hex
//	                 digits of an SM2 private key, "sign": certificate as hex: or
//	                 base64:, "encrypt": the same}; all optional
//
// Bytes, where the specification is silent: profile. acse.tsv has the files, their
// sizes and access conditions.
//
//	00 20 01 81 10   proof of the user PIN: SM4 with the first 16 bytes of SM3(PIN in
//	                 BCD) as key over the 16-byte challenge (00 84 00 00 10) before
//	                 it, which it uses up (6984). 63Cx, 6983. Empty: tries left.
//	00 20 01 80 10   the same of the administrator's PIN
//	80 5E 01 81 20   change: proof 16, then SM4 under the old PIN's 16 bytes of SM3
//	                 over those of the new PIN
//	80 24 01 81 10   reset by the administrator (proved): SM4 under his 16 bytes of
//	                 SM3 over those of the user's new PIN; gives all tries back
//	80 40 00 00 08   C0 02 0012 C2 02 0013: makes the key pair; user PIN. No data.
//	80 C9 82 00 02   file identifier 0012 (or 0014): answers X 32, Y 32. 6A88 no key
//	00 2A 9E 9A 20   signs e, 32 bytes (SM3 over Z and message, GM/T 0003.2), with
//	                 0013: answers r 32, s 32; user PIN. 6A88 no key
//	00 A4 02 00 02   0012, 0014, 0018, 0019; then READ and UPDATE BINARY. 0012 and
//	                 0014 are 0100 (the length in bits) followed by X and Y
//
// # Limits
//
// Logical channels, extended lengths and SSF33 are not there; nothing is
// decrypted with the SM2 encryption pair, whose private key is kept as it was
// written. A write takes no time, so that a card cannot be torn out by accident.
//
// The keys are the test keys unless the image says otherwise: a simulated card
// proves nothing about a real one.
package cardsim
