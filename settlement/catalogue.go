package settlement

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// The national tables, as published, and what this package decides where they
// contradict themselves. The texts are compiled in; parsing is left until a
// transaction is first used, so that a daemon starts without it.
var (
	//go:embed transactions.tsv
	transactionsTSV string
	//go:embed fields.tsv
	fieldsTSV string
	//go:embed dict.tsv
	dictTSV string
	//go:embed amendments.tsv
	amendmentsTSV string
)

// envelopeInfno and envelopeNode are where fields.tsv keeps the envelope.
const (
	envelopeInfno = "ENVELOPE"
	envelopeNode  = "(root)"
)

// A Kind is the JSON type of a field.
type Kind string

// The kinds of fields.tsv, and EitherKind for fields of which regions want
// one or the other.
const (
	StringKind   Kind = "string"
	NumberKind   Kind = "number"
	DateKind     Kind = "date"
	DateTimeKind Kind = "datetime"
	ObjectKind   Kind = "object"
	BooleanKind  Kind = "boolean"
	BytesKind    Kind = "bytes"
	EitherKind   Kind = "number|string"
)

// A Field is one row of fields.tsv.
type Field struct {
	Node     string // "" where the field stands in the input itself
	Name     string
	NameZH   string
	Kind     Kind
	Length   int // characters, or digits of a number; 0: not bounded
	Scale    int // decimals of a number; -1: not stated
	Required bool
	Coded    bool   // values are in the dictionary of the field's name
	Format   string // as published, such as yyyy-MM-dd
}

// A Shape says whether a node is an object or a list of them.
type Shape string

// The shapes. The tables do not state them; see amendments.tsv.
const (
	ObjectShape Shape = "object"
	ListShape   Shape = "list"
	EitherShape Shape = "object|list"
)

// A NodeSpec is one node of a transaction's input or output.
type NodeSpec struct {
	Name     string
	Shape    Shape
	Required bool
	Nested   bool // inside another node, under the field of its name
	Fields   []Field

	index map[string]int // field name to Fields
}

// A Transaction is one infno of the interface.
type Transaction struct {
	Infno  string
	NameZH string
	NameEN string
	In     []*NodeSpec
	Out    []*NodeSpec
}

// A Catalogue is the interface's transactions with their fields and codes. It
// is safe for concurrent use; transactions are parsed when first asked for.
type Catalogue struct {
	amendments []amendment
	rows       map[string]string // infno to its lines of fields.tsv

	mu     sync.Mutex
	parsed map[string]*Transaction
	codes  map[string]map[string]string
	own    map[[2]string]string // dictionary and code to text, see Define
	books  map[string]string    // infno to why it is not called alone, besides booking.tsv
}

// An amendment changes one property of the national tables. The default ones
// are in amendments.tsv; a region adds its own.
type amendment struct{ infno, node, field, property, value string }

// NewCatalogue returns the national catalogue with the default amendments and
// then the given ones: TSV texts with the columns infno, node, field, property,
// value, reason and a header row. Properties are type, length ("30", "16,2"),
// required (Y or empty), format of a field; shape (object, list, object|list)
// and presence (required, optional) of a node; like (another infno) of a
// transaction. "*" stands for every infno.
func NewCatalogue(amendments ...string) (*Catalogue, error) {
	c := &Catalogue{parsed: make(map[string]*Transaction)}
	for _, text := range append([]string{amendmentsTSV}, amendments...) {
		rows := strings.Split(strings.TrimRight(text, "\n"), "\n")
		for i, row := range rows[1:] {
			f := strings.Split(strings.TrimRight(row, "\r"), "\t")
			if len(f) < 5 || !amendable(f[3], f[4]) {
				return nil, fmt.Errorf("amendments: line %d: want infno, node, field, a known property, value", i+2)
			}
			c.amendments = append(c.amendments, amendment{f[0], f[1], f[2], f[3], f[4]})
		}
	}
	c.rows = make(map[string]string, 256)
	for text := fieldsTSV; text != ""; {
		// Rows of one infno stand together; a test holds the table to that.
		infno, _, _ := strings.Cut(text, "\t")
		end := 0
		for strings.HasPrefix(text[end:], infno) && text[end+len(infno)] == '\t' {
			next := strings.IndexByte(text[end:], '\n')
			if next < 0 {
				end = len(text)
				break
			}
			end += next + 1
		}
		c.rows[infno] = text[:end]
		text = text[end:]
	}
	return c, nil
}

func amendable(property, value string) bool {
	switch property {
	case "type":
		switch Kind(value) {
		case StringKind, NumberKind, DateKind, DateTimeKind, ObjectKind, BooleanKind, BytesKind, EitherKind:
			return true
		}
		return false
	case "length":
		_, _, err := parseLength(value)
		return err == nil
	case "required":
		return value == "Y" || value == ""
	case "shape":
		return value == string(ObjectShape) || value == string(ListShape) || value == string(EitherShape)
	case "presence":
		return value == "required" || value == "optional"
	case "format", "like":
		return true
	}
	return false
}

// Transactions returns the infno of every transaction, in the table's order.
func (c *Catalogue) Transactions() []string {
	var list []string
	rows := strings.Split(strings.TrimSuffix(transactionsTSV, "\n"), "\n")
	for _, row := range rows[1:] {
		infno, _, _ := strings.Cut(row, "\t")
		list = append(list, infno)
	}
	return list
}

// Transaction returns one transaction. An infno that is not in the table is
// ErrTransactionUnknown (OC-2006).
func (c *Catalogue) Transaction(infno string) (*Transaction, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.parsed[infno]; ok {
		return t, nil
	}
	t := &Transaction{Infno: infno}
	if infno != envelopeInfno {
		i := strings.Index(transactionsTSV, "\n"+infno+"\t")
		if infno == "" || strings.ContainsAny(infno, "\t\n") || i < 0 {
			return nil, fmt.Errorf("infno %q: %w", printable(infno), ErrTransactionUnknown)
		}
		row, _, _ := strings.Cut(transactionsTSV[i+1:], "\n")
		f := strings.Split(row, "\t")
		t.NameZH, t.NameEN = f[1], f[2]
	}
	source := infno
	for _, a := range c.amendments {
		if a.property == "like" && a.infno == infno {
			source = a.value
		}
	}
	if err := c.parse(t, source); err != nil {
		return nil, err
	}
	c.parsed[infno] = t
	return t, nil
}

// parse fills t with the fields that the table has for source.
func (c *Catalogue) parse(t *Transaction, source string) error {
	for text := c.rows[source]; text != ""; {
		var row string
		row, text, _ = strings.Cut(text, "\n")
		f := strings.Split(row, "\t")
		if len(f) < 10 {
			return fmt.Errorf("fields.tsv: %s: a row of %d columns", source, len(f))
		}
		field := Field{
			Node: f[2], Name: f[3], NameZH: f[4], Kind: Kind(f[5]),
			Required: f[7] == "Y", Coded: f[8] == "Y", Format: f[9],
		}
		var err error
		if field.Length, field.Scale, err = parseLength(f[6]); err != nil {
			return fmt.Errorf("fields.tsv: %s %s: %w", source, field.Name, err)
		}
		switch f[1] {
		case "in":
			t.In = c.add(t.In, field)
		case "out":
			t.Out = c.add(t.Out, field)
		}
	}
	for _, nodes := range [][]*NodeSpec{t.In, t.Out} {
		c.settle(t.Infno, source, nodes)
	}
	return nil
}

func (c *Catalogue) add(nodes []*NodeSpec, f Field) []*NodeSpec {
	var node *NodeSpec
	for _, n := range nodes {
		if n.Name == f.Node {
			node = n
		}
	}
	if node == nil {
		node = &NodeSpec{Name: f.Node, Shape: ObjectShape, index: make(map[string]int)}
		nodes = append(nodes, node)
	}
	// A few rows are printed twice. The later one repeats the earlier.
	if _, twice := node.index[f.Name]; !twice {
		node.index[f.Name] = len(node.Fields)
		node.Fields = append(node.Fields, f)
	}
	return nodes
}

// settle decides what the tables leave open: which nodes are inside others,
// which must be there, and every amendment.
func (c *Catalogue) settle(infno, source string, nodes []*NodeSpec) {
	for i, n := range nodes {
		for _, other := range nodes {
			if at, ok := other.index[n.Name]; ok && other != n && other.Fields[at].Kind == ObjectKind {
				n.Nested, n.Shape = true, EitherShape
			}
		}
		// The first node carries the transaction; which of the others may be
		// missing is nowhere stated, so only the amendments demand them.
		n.Required = i == 0 && !n.Nested && n.hasRequired()
	}
	for _, a := range c.amendments {
		if a.infno != "*" && a.infno != infno && a.infno != source {
			continue
		}
		for _, n := range nodes {
			if n.Name == a.node {
				n.amend(a)
			}
		}
	}
}

func (n *NodeSpec) hasRequired() bool {
	for _, f := range n.Fields {
		if f.Required {
			return true
		}
	}
	return false
}

func (n *NodeSpec) amend(a amendment) {
	switch a.property {
	case "shape":
		n.Shape = Shape(a.value)
		return
	case "presence":
		n.Required = a.value == "required"
		return
	}
	i, ok := n.index[a.field]
	if !ok {
		return
	}
	f := &n.Fields[i]
	switch a.property {
	case "type":
		f.Kind = Kind(a.value)
	case "length":
		f.Length, f.Scale, _ = parseLength(a.value) // checked by amendable
	case "required":
		f.Required = a.value == "Y"
	case "format":
		f.Format = a.value
	}
}

// parseLength reads "", "30" or "16,2".
func parseLength(s string) (length, scale int, err error) {
	if s == "" {
		return 0, -1, nil
	}
	l, d, decimals := strings.Cut(s, ",")
	if length, err = strconv.Atoi(l); err != nil || length < 0 {
		return 0, 0, fmt.Errorf("malformed length")
	}
	if !decimals {
		return length, -1, nil
	}
	if scale, err = strconv.Atoi(d); err != nil || scale < 0 || scale > length {
		return 0, 0, fmt.Errorf("malformed length")
	}
	return length, scale, nil
}

// Meaning returns the Chinese text of a code. The dictionaries are incomplete:
// a code that is not there is shown as it is, never refused.
func (c *Catalogue) Meaning(dictionary, code string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if text, ok := c.own[[2]string{dictionary, code}]; ok {
		return text, true
	}
	if c.codes == nil {
		c.codes = make(map[string]map[string]string, 320)
		rows := strings.Split(strings.TrimSuffix(dictTSV, "\n"), "\n")
		for _, row := range rows[1:] {
			f := strings.Split(row, "\t")
			if len(f) < 4 {
				continue
			}
			if c.codes[f[0]] == nil {
				c.codes[f[0]] = make(map[string]string)
			}
			c.codes[f[0]][f[2]] = f[3]
		}
	}
	text, ok := c.codes[dictionary][code]
	return text, ok
}
