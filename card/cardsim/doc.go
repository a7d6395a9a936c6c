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
// # Images
//
// An image is JSON. Unknown and repeated keys are refused, and so is a value
// that does not fit the profile. images/ holds three.
//
//	comment              for people
//	kind                 "social-security", or "bank": a card that knows PSE only
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
// Loss of power takes PIN, proved keys, challenge and selection away. Files,
// PIN, tries and the account last as long as the Card.
//
// # Limits
//
// Loading, debiting, APPLICATION and CARD BLOCK, certificates and
// personalisation commands answer 6D00. The keys are the test keys unless the
// image says otherwise: a simulated card proves nothing about a real one.
package cardsim
