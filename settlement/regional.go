package settlement

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// Regional is how a region's messages differ from the national form, beyond
// paths, numbers and signatures. Requests are validated in the national form
// and then rewritten; answers are rewritten back before they are read. Package
// region reads it from a file.
type Regional struct {
	// Envelope are members that every request carries besides the client's own.
	Envelope map[string]string
	// Nodes are the region's names of nodes: infno as it is sent, or "*", to
	// national name to regional name.
	Nodes map[string]map[string]string
	// SerialText sends feedetl_sn as a text.
	SerialText bool
	// Cross is what the region says of care outside the place of insurance.
	Cross CrossRules
}

// ownMembers are those of an envelope that the client fills.
var ownMembers = []string{
	"infno", "msgid", "mdtrtarea_admvs", "insuplc_admdvs", "recer_sys_code", "dev_no", "cainfo", "signtype", "infver", "opter_type",
	"opter", "opter_name", "inf_time", "fixmedins_code", "fixmedins_name", "fixmedins_soft_fcty", "sign_no", "input", "enc_type",
}

var memberName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,39}$`)

// Check says what of it cannot be: a member that the client fills itself, one
// that the national envelope has and the value does not fit, an infno or node
// that is not in the catalogue.
func (r Regional) Check(c *Catalogue) error {
	if err := r.Cross.Check(); err != nil {
		return fmt.Errorf("cross.%w", err)
	}
	t, err := c.Transaction(envelopeInfno)
	if err != nil {
		return err
	}
	for name, value := range r.Envelope {
		if !memberName.MatchString(name) || slices.Contains(ownMembers, name) {
			return fmt.Errorf("envelope.%s: not a member that a region may add", printable(name))
		}
		for _, n := range t.In {
			if i, ok := n.index[name]; ok {
				if p := n.Fields[i].text(value); p != "" {
					return fmt.Errorf("envelope.%s: %s", name, p)
				}
			}
		}
	}
	for infno, names := range r.Nodes {
		back := make(map[string]bool)
		for national, regional := range names {
			if !memberName.MatchString(regional) || back[regional] {
				return fmt.Errorf("nodes.%s.%s: the regional name is none, or given twice", printable(infno), printable(national))
			}
			back[regional] = true
			if infno == "*" {
				continue
			}
			t, err := c.Transaction(infno)
			if err != nil {
				return fmt.Errorf("nodes.%s: %w", printable(infno), err)
			}
			if !hasNode(t.In, national) && !hasNode(t.Out, national) {
				return fmt.Errorf("nodes.%s.%s: no such node", infno, printable(national))
			}
		}
	}
	return nil
}

func hasNode(nodes []*NodeSpec, name string) bool {
	return slices.ContainsFunc(nodes, func(n *NodeSpec) bool { return n.Name == name && name != "" })
}

// node returns the region's name of a node.
func (r Regional) node(infno, name string) string {
	if to := r.Nodes[infno][name]; to != "" {
		return to
	}
	if to := r.Nodes["*"][name]; to != "" {
		return to
	}
	return name
}

// request rewrites a request's body, members in the order of the table.
func (r Regional) request(infno string, body []byte) ([]byte, error) {
	if len(r.Envelope) == 0 && len(r.Nodes) == 0 {
		return body, nil
	}
	list, err := readMembers(body)
	if err != nil {
		return nil, err
	}
	if len(r.Nodes) > 0 {
		input, err := readMembers(list.get("input"))
		if err != nil {
			return nil, fmt.Errorf("input: %w", err)
		}
		for i := range input {
			input[i].name = r.node(infno, input[i].name)
		}
		list = list.set("input", input.bytes())
	}
	names := make([]string, 0, len(r.Envelope))
	for name := range r.Envelope {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		list = list.setText(name, r.Envelope[name])
	}
	return list.bytes(), nil
}

// output gives an answer's nodes their national names. An output that is no
// object, or already has a node of the national name, stays as it is.
func (r Regional) output(infno string, output json.RawMessage) json.RawMessage {
	if len(r.Nodes) == 0 || len(output) == 0 {
		return output
	}
	list, err := readMembers(output)
	if err != nil {
		return output
	}
	changed := false
	for _, names := range []map[string]string{r.Nodes[infno], r.Nodes["*"]} {
		for national, regional := range names {
			if list.get(national) != nil {
				continue
			}
			for i := range list {
				if list[i].name == regional {
					list[i].name, changed = national, true
				}
			}
		}
	}
	if !changed {
		return output
	}
	return list.bytes()
}

// Define adds a code to a dictionary, or replaces its text: regions have codes
// of their own.
func (c *Catalogue) Define(dictionary, code, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil {
		c.own = make(map[[2]string]string)
	}
	c.own[[2]string{dictionary, code}] = text
}

// Amendable says whether an amendment may set the property to the value, see
// [NewCatalogue].
func Amendable(property, value string) bool { return amendable(property, value) }
