package host

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// firewall keeps the rules of instances in one nftables table:
//
//	table inet coffer {
//		map instances { type ipv4_addr : verdict; elements = { 127.77.0.2 : jump <instance> } }
//		chain input { type filter hook input priority filter; ip daddr vmap @instances }
//		chain <instance> { …; drop }
//	}
//
// so a packet costs one look-up however many instances there are. Each change is one transaction of the kernel: there
// is no moment without rules. Only this table is touched, and a drop in it is final whatever other tables say.
type firewall struct {
	table string
}

// works returns why there can be no rules.
func (f firewall) works() error {
	conn, err := nftables.New()
	if err == nil {
		_, err = conn.ListTablesOfFamily(nftables.TableFamilyINet)
	}
	return err
}

// set makes an instance's rules, or replaces them.
func (f firewall) set(id string, address netip.Addr, rules []rule) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("cannot set firewall rules: %w", err)
	}
	t, instances := f.base(conn)
	chain := conn.AddChain(&nftables.Chain{Table: t, Name: id})
	conn.FlushChain(chain)
	for _, r := range rules {
		conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(r.match(), verdict(expr.VerdictAccept))})
	}
	conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{verdict(expr.VerdictDrop)}})
	if err := conn.SetAddElements(instances, element(id, address)); err != nil {
		return fmt.Errorf("cannot set firewall rules: %w", err)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("cannot set firewall rules for %s: %w", address, err)
	}
	return nil
}

// remove takes an instance's rules away, if there are any. They are made first, in the same transaction, because
// nftables refuses to delete what is not there.
func (f firewall) remove(id string, address netip.Addr) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("cannot remove firewall rules: %w", err)
	}
	t, instances := f.base(conn)
	chain := conn.AddChain(&nftables.Chain{Table: t, Name: id})
	elements := element(id, address)
	if err := conn.SetAddElements(instances, elements); err != nil {
		return fmt.Errorf("cannot remove firewall rules: %w", err)
	}
	if err := conn.SetDeleteElements(instances, elements); err != nil {
		return fmt.Errorf("cannot remove firewall rules: %w", err)
	}
	conn.FlushChain(chain)
	conn.DelChain(chain)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("cannot remove firewall rules for %s: %w", address, err)
	}
	return nil
}

// clear takes the table away, if it is there: as in remove, it is made first.
func (f firewall) clear() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("cannot remove the firewall table: %w", err)
	}
	conn.DelTable(conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: f.table}))
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("cannot remove the firewall table %s: %w", f.table, err)
	}
	return nil
}

// base adds to conn's transaction what all instances share.
func (f firewall) base(conn *nftables.Conn) (*nftables.Table, *nftables.Set) {
	t := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: f.table})
	instances := &nftables.Set{
		Table: t, Name: "instances", ID: 1, IsMap: true, // without an ID the library takes one from a counter that has no lock
		KeyType: nftables.TypeIPAddr, DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.BigEndian,
	}
	_ = conn.AddSet(instances, nil) // fails for elements only
	input := conn.AddChain(&nftables.Chain{
		Table: t, Name: "input", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	conn.FlushChain(input)
	conn.AddRule(&nftables.Rule{Table: t, Chain: input, Exprs: append(isIPv4(),
		loadAddress(destinationOffset),
		&expr.Lookup{SourceRegister: 1, IsDestRegSet: true, DestRegister: 0, SetName: instances.Name},
	)})
	return t, instances
}

func element(id string, address netip.Addr) []nftables.SetElement {
	return []nftables.SetElement{{
		Key:         address.AsSlice(),
		VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: id},
	}}
}

func verdict(kind expr.VerdictKind) expr.Any { return &expr.Verdict{Kind: kind} }

// Where fields lie: RFC 791 for the addresses, RFC 9293 and RFC 768 for the port.
const (
	sourceOffset      = 12
	destinationOffset = 16
	portOffset        = 2
)

// match are the expressions that must all hold for the rule.
func (r rule) match() []expr.Any {
	var all []expr.Any
	if r.established {
		known := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
		all = append(all,
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: known, Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
	}
	if r.from.IsValid() && r.from.Bits() > 0 {
		mask := net.CIDRMask(r.from.Bits(), 32)
		all = append(append(all, isIPv4()...),
			loadAddress(sourceOffset),
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: r.from.Addr().AsSlice()})
	}
	if r.protocol != 0 {
		all = append(all,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(r.protocol)}})
	}
	if r.ports.Last != 0 {
		all = append(all,
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: 2},
			&expr.Range{
				Op: expr.CmpOpEq, Register: 1,
				FromData: binaryutil.BigEndian.PutUint16(uint16(r.ports.First)),
				ToData:   binaryutil.BigEndian.PutUint16(uint16(r.ports.Last)),
			})
	}
	return all
}

func isIPv4() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
	}
}

func loadAddress(offset uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4}
}
