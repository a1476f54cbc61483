package audit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/plan"
)

const theAgent = "00000000-0000-7000-8000-00000000000a"

// ends are both ends of a wire, as they are written by those who are honest.
type ends struct {
	signer  plan.Signer
	key     []byte // of the agent's commands
	newest  etcdschema.Audit
	older   []etcdschema.AuditRows
	theirs  Theirs
	last    agentpoll.Mark
	pending []string
	n       int
}

func newEnds(t testing.TB) *ends {
	t.Helper()
	private, err1 := agentpoll.NewKey()
	agent, err2 := agentpoll.NewKey()
	signer, err3 := plan.NewSigner(private, nil)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	signer.Knows(theAgent, agent.PublicKey().Bytes())
	e := &ends{signer: signer, key: agentpoll.CommandKey(agent, private.PublicKey().Bytes(), theAgent)}
	e.begin()
	return e
}

// begin gives the agent a new chain.
func (e *ends) begin() {
	e.last = agentpoll.NewChain()
	e.theirs = Theirs{Floor: e.last}
}

// command is one that both ends have heard of.
func (e *ends) command() etcdschema.Command {
	e.n++
	c := etcdschema.Command{Command: agentpoll.Command{ID: fmt.Sprintf("00000000-0000-7000-8000-%012d", e.n), Method: "create_user", Sealed: []byte{byte(e.n)}}, User: "bob"}
	c.Enqueued = time.Unix(int64(e.n), 0)
	return c
}

// run is the agent's end of a command.
func (e *ends) run(c etcdschema.Command) agentpoll.Result {
	result := agentpoll.Result{Value: fmt.Appendf(nil, `{ "n":%d,"x":"<é\u2028" }`, e.n)}
	row := agentpoll.Row{ID: c.ID, Method: c.Method, At: time.Unix(int64(e.n), 5).UTC(), Command: c.Digest(e.key, theAgent), Result: result.Digest(e.key, theAgent, c.ID)}
	e.last = e.last.Next(&row)
	e.theirs.Rows = append(e.theirs.Rows, row)
	mark := e.last
	result.Audit = &mark
	return result
}

// end is the gateways' end of it. nil: it is withdrawn.
func (e *ends) end(c etcdschema.Command, result *agentpoll.Result) {
	audit, full := e.signer.Behind(theAgent, e.newest, e.signer.Ended(theAgent, c, result, time.Unix(int64(e.n), 9)))
	if e.newest = audit; full != nil {
		e.older = append(e.older, *full)
		e.older = e.older[max(0, len(e.older)-plan.AuditChunks):]
	}
}

// both is a command that goes as it should.
func (e *ends) both() {
	c := e.command()
	result := e.run(c)
	e.end(c, &result)
}

// ours is what lies in etcd.
func (e *ends) ours() Ours {
	o := assembled(theAgent, e.signer, append(slices.Clone(e.older), e.newest.AuditRows), Ours{Pending: e.pending})
	return o
}

// compact leaves the agent its last rows.
func (e *ends) compact(keep int) {
	if less := len(e.theirs.Rows) - keep; less > 0 {
		last := e.theirs.Rows[less-1]
		e.theirs.Floor.Seq, e.theirs.Floor.Link, e.theirs.Rows = last.Seq, last.Link, e.theirs.Rows[less:]
	}
}

// TestHonestHistories draws what may happen between honest ends: nothing must be found.
func TestHonestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := newEnds(t)
		type sent struct {
			c etcdschema.Command
			r agentpoll.Result
		}
		var way []sent // results that the gateways have not taken yet
		took := 0
		for range rapid.IntRange(0, 400).Draw(rt, "events") {
			switch rapid.IntRange(0, 19).Draw(rt, "event") {
			case 0: // withdrawn, and the agent runs it nevertheless
				c := e.command()
				e.end(c, nil)
				if rapid.Bool().Draw(rt, "runs") {
					e.run(c)
				}
			case 1: // refused before it was begun
				e.end(e.command(), &agentpoll.Result{Error: agentpoll.Errorf(agentpoll.Refused, "no")})
			case 2:
				e.compact(rapid.IntRange(300, 1000).Draw(rt, "keep"))
			case 3: // the guest is made anew; what was on its way has been taken
				for _, s := range way {
					e.end(s.c, &s.r)
				}
				way = nil
				e.begin()
			case 4, 5: // on its way
				c := e.command()
				way = append(way, sent{c, e.run(c)})
			case 6, 7: // arrives, out of order
				if n := len(way); n > 0 {
					i := rapid.IntRange(0, n-1).Draw(rt, "which")
					e.end(way[i].c, &way[i].r)
					way = slices.Delete(way, i, i+1)
				}
			default:
				e.both()
				took++
			}
			if len(way) > 8 {
				e.end(way[0].c, &way[0].r)
				way = way[1:]
			}
		}
		for _, s := range way {
			e.pending = append(e.pending, s.c.ID)
		}
		v := Compare(e.ours(), &e.theirs)
		if len(v.Findings) > 0 {
			rt.Fatalf("%d rows at the gateways, %d at the agent: %+v", len(e.ours().Rows), len(e.theirs.Rows), v.Findings)
		}
	})
}

// TestPlanted plants one lie in a history, at one end, in the rows that both keep: it must be found there.
func TestPlanted(t *testing.T) {
	for name, plant := range map[string]func(e *ends, i int) Finding{
		"ours omitted": func(e *ends, i int) Finding {
			e.newest.Rows = slices.Delete(e.newest.Rows, i, i+1)
			return Finding{End: AtGateways, Kind: Omitted}
		},
		"ours changed": func(e *ends, i int) Finding {
			e.newest.Rows[i].User = "mallory"
			return Finding{End: AtGateways, Kind: Changed}
		},
		"ours swapped": func(e *ends, i int) Finding {
			e.newest.Rows[i], e.newest.Rows[i+1] = e.newest.Rows[i+1], e.newest.Rows[i]
			return Finding{End: AtGateways, Kind: Reordered}
		},
		"ours swapped, numbers and all": func(e *ends, i int) Finding {
			a, b := &e.newest.Rows[i], &e.newest.Rows[i+1]
			*a, *b = *b, *a
			a.Seq, b.Seq = b.Seq, a.Seq
			return Finding{End: AtGateways, Kind: Changed}
		},
		"ours cut off": func(e *ends, i int) Finding {
			e.newest.Rows = e.newest.Rows[:i+1]
			return Finding{End: AtAgent, Kind: Unknown}
		},
		"ours begun anew": func(e *ends, _ int) Finding {
			e.newest, e.older = etcdschema.Audit{}, nil
			return Finding{End: AtAgent, Kind: Unknown}
		},
		"ours without the oldest": func(e *ends, _ int) Finding {
			e.older = e.older[1:]
			return Finding{End: AtGateways, Kind: Omitted}
		},
		"ours, the oldest changed": func(e *ends, _ int) Finding {
			e.older[0].Rows = slices.Clone(e.older[0].Rows)
			e.older[0].Rows[0].Method = "list_users"
			return Finding{End: AtGateways, Kind: Changed}
		},
		"theirs omitted": func(e *ends, i int) Finding {
			e.theirs.Rows = slices.Delete(e.theirs.Rows, 280+i, 281+i)
			return Finding{End: AtAgent, Kind: Omitted}
		},
		"theirs changed": func(e *ends, i int) Finding {
			e.theirs.Rows[280+i].Method = "ping"
			return Finding{End: AtAgent, Kind: Changed}
		},
		"theirs swapped": func(e *ends, i int) Finding {
			e.theirs.Rows[280+i], e.theirs.Rows[281+i] = e.theirs.Rows[281+i], e.theirs.Rows[280+i]
			return Finding{End: AtAgent, Kind: Reordered}
		},
		"theirs cut off": func(e *ends, i int) Finding {
			e.theirs.Rows = e.theirs.Rows[:280+i]
			return Finding{End: AtAgent, Kind: Omitted}
		},
		"theirs told anew, with all links": func(e *ends, i int) Finding {
			rows := slices.Delete(e.theirs.Rows, 280+i, 281+i)
			e.theirs.Rows, e.last = nil, e.theirs.Floor
			for _, row := range rows {
				e.last = e.last.Next(&row)
				e.theirs.Rows = append(e.theirs.Rows, row)
			}
			return Finding{End: AtAgent, Kind: Changed}
		},
		"theirs compacted over a lie": func(e *ends, i int) Finding {
			e.compact(16 - i)
			e.theirs.Floor.Link = []byte("another")
			return Finding{End: AtAgent, Kind: Changed}
		},
		"theirs did what nobody asked for": func(e *ends, _ int) Finding {
			e.run(e.command())
			return Finding{End: AtAgent, Kind: Unknown}
		},
		"theirs says nothing of one": func(e *ends, _ int) Finding {
			e.end(e.command(), &agentpoll.Result{})
			return Finding{End: AtAgent, Kind: Silent}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 4 {
				e := newEnds(t)
				for range 296 {
					e.both()
				}
				if v := Compare(e.ours(), &e.theirs); len(v.Findings) > 0 || v.Compared != len(e.ours().Rows) {
					t.Fatalf("before: %d rows, %+v", len(e.ours().Rows), v)
				}
				want := plant(e, i)
				v := Compare(e.ours(), &e.theirs)
				if !slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.End == want.End && f.Kind == want.Kind }) {
					t.Errorf("row %d: found %+v, want %s at the %s", i, v.Findings, want.Kind, want.End)
				}
			}
		})
	}
}

// TestGuesses holds that digests tell nobody without the key what was asked: two agents that are asked the same have different ones.
func TestGuesses(t *testing.T) {
	c := agentpoll.Command{ID: "c", Method: "enable_root", Args: []byte(`{"password":"123456"}`)}
	one, other := newEnds(t), newEnds(t)
	if a, b := c.Digest(one.key, theAgent), c.Digest(other.key, theAgent); len(a) != 32 || string(a) == string(b) {
		t.Errorf("digests %x and %x", a, b)
	}
	signed := c
	signed.Sign(one.key, theAgent)
	if string(signed.MAC) == string(c.Digest(one.key, theAgent)) {
		t.Error("a digest is a signature, with which the command could be given again")
	}
}
