package mysql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// gtid is MariaDB's global transaction identifier: domain-server-sequence.
type gtid struct {
	domain, server uint32
	seq            uint64
}

func (g gtid) String() string { return fmt.Sprintf("%d-%d-%d", g.domain, g.server, g.seq) }

// gtids are a position (the last one of each domain) or a state (of each domain and server).
type gtids []gtid

// parseGTIDs reads what the server has in gtid_slave_pos and the like.
func parseGTIDs(list string) (gtids, error) {
	var all gtids
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		fields := strings.Split(part, "-")
		if len(fields) != 3 {
			return nil, fmt.Errorf("%q is no GTID", part)
		}
		domain, err1 := strconv.ParseUint(fields[0], 10, 32)
		server, err2 := strconv.ParseUint(fields[1], 10, 32)
		seq, err3 := strconv.ParseUint(fields[2], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return nil, fmt.Errorf("%q is no GTID", part)
		}
		all = append(all, gtid{uint32(domain), uint32(server), seq})
	}
	return all, nil
}

func (all gtids) String() string {
	texts := make([]string, len(all))
	for i, g := range all {
		texts[i] = g.String()
	}
	return strings.Join(texts, ",")
}

// last returns the highest of the domain.
func (all gtids) last(domain uint32) (last gtid, ok bool) {
	for _, g := range all {
		if g.domain == domain && (!ok || g.seq > last.seq) {
			last, ok = g, true
		}
	}
	return last, ok
}

// holds reports whether a server with this state has the transaction: it has one of the same server, or a later one.
func (all gtids) holds(g gtid) bool {
	return slices.ContainsFunc(all, func(have gtid) bool {
		return have.domain == g.domain && have.server == g.server && have.seq >= g.seq
	})
}

// over returns all, and of other those whose domains are not in all.
func (all gtids) over(other gtids) gtids {
	for _, g := range other {
		if _, ok := all.last(g.domain); !ok {
			all = append(all, g)
		}
	}
	return all
}

// without returns all but those of the domain.
func (all gtids) without(domain uint32) gtids {
	return slices.DeleteFunc(slices.Clone(all), func(g gtid) bool { return g.domain == domain })
}
