package mysql

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mysql/galera"
)

// areCut has the network fail: one member takes nothing while the others go on, and then none takes anything, for each is alone. When the
// network is whole again they are together without a call, and have every row that was acknowledged.
func (s *galeraSet) areCut(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
		t.Log("NOT TESTED: without root and nft the network cannot be cut")
		return
	}
	c := s.count("pw")
	until.True(t, time.Minute, "something is written", func() bool { return s.rows("a") > 20 })
	mend := s.cut(t, "c")
	s.takesNothing(t, "c")
	before := s.rows("a")
	until.True(t, time.Minute, "the others go on", func() bool { return s.rows("a") > before+20 && s.rows("b") > before })
	mend()
	s.settle("a")
	mend = s.cut(t, "a", "b", "c")
	s.takesNothing(t, "a", "b", "c")
	mend()
	s.settle("b")
	s.wants(c, "the network is cut", "a", "b", "c")
}

// takesNothing waits until members say that they are too few.
func (s *galeraSet) takesNothing(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		until.True(t, 2*time.Minute, "member "+id+" says that it is cut off", func() bool {
			st := s.of[id].Status(t.Context())
			return st.Service == datastores.StatusBlocked && strings.Contains(st.Message, "too few")
		})
	}
}

// cut has the kernel drop what members' servers send each other, until mend is called.
func (s *galeraSet) cut(t *testing.T, ids ...string) (mend func()) {
	t.Helper()
	table := fmt.Sprintf("coffer_test_cut_%d", s.of["a"].env.UID)
	mend = func() { _ = exec.Command("nft", "delete", "table", "inet", table).Run() }
	t.Cleanup(mend)
	rules := "table inet " + table + " {\nchain out {\ntype filter hook output priority 0;\n"
	for _, id := range ids {
		for _, side := range []string{"sport", "dport"} {
			rules += fmt.Sprintf("meta skuid %d tcp %s %d drop\n", s.of[id].env.UID, side, galera.GroupPort)
		}
	}
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(rules + "}\n}\n")
	if out, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return mend
}
