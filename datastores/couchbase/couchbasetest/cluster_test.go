package couchbasetest_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/couchbase/couchbasetest"
)

// joined are three doubles in one cluster, with a bucket of which each has a copy.
func joined(t *testing.T, program string) (all []*double) {
	t.Helper()
	for range 3 {
		d := place(t)
		d.start(t, program)
		d.provision(t)
		all = append(all, d)
	}
	a := all[0]
	for _, d := range all[1:] {
		d.want(t, "join with a wrong password", 400, "Authentication failed", admin, "POST", "/node/controller/doJoinCluster", url.Values{
			"clusterMemberHostIp": {a.address}, "clusterMemberPort": {"8091"}, "user": {admin}, "password": {"x"}})
		d.want(t, "join", 200, "", admin, "POST", "/node/controller/doJoinCluster", url.Values{
			"clusterMemberHostIp": {a.address}, "clusterMemberPort": {"8091"}, "user": {admin}, "password": {password(admin)}})
	}
	a.want(t, "no auto-failover", 200, "", admin, "POST", "/settings/autoFailover", url.Values{"enabled": {"false"}})
	a.want(t, "rebalance without all nodes", 400, "mismatch", admin, "POST", "/controller/rebalance", url.Values{"knownNodes": {"ns_1@" + a.address}})
	a.rebalance(t, all)
	until.True(t, time.Minute, "a bucket is made", func() bool { // a rebalance that was begun once too often is in its way for a moment
		status, _ := a.ask(t, admin, "POST", buckets, url.Values{"name": {"shop"}, "ramQuota": {"100"}, "replicaNumber": {"2"}, "durabilityMinLevel": {"persistToMajority"}})
		return status == 202
	})
	return all
}

func (d *double) rebalance(t *testing.T, all []*double) {
	t.Helper()
	var names []string
	for _, one := range all {
		names = append(names, "ns_1@"+one.address)
	}
	until.True(t, time.Minute, "the cluster is balanced", func() bool {
		if _, is := d.ask(t, admin, "GET", "/pools/default", nil); strings.Contains(is, `"balanced":true`) {
			return true
		}
		// One that runs is left alone, and one that has failed is begun again, as Couchbase has it.
		_, _ = d.ask(t, admin, "POST", "/controller/rebalance", url.Values{"knownNodes": {strings.Join(names, ",")}})
		return false
	})
}

// put writes rows, each until it is acknowledged, at one of the nodes.
func put(t *testing.T, at *double, prefix string, rows int) {
	t.Helper()
	for row := range rows {
		until.True(t, time.Minute, "a row is acknowledged", func() bool {
			status, _ := at.ask(t, admin, "POST", doc("shop", fmt.Sprintf("%s%d", prefix, row)), value("1"))
			return status == 200
		})
	}
}

// TestMajority: what one of three nodes has alone is not acknowledged, and with two of them everything goes on.
func TestMajority(t *testing.T) {
	all := joined(t, couchbasetest.Build(t).Server("7.6"))
	put(t, all[0], "x", 20)
	all[1].kill()
	until.True(t, time.Minute, "the others take a row of the first one's", func() bool {
		for row := range 20 {
			if status, _ := all[0].ask(t, admin, "POST", doc("shop", fmt.Sprint("y", row)), value("1")); status == 200 {
				return true
			}
		}
		return false
	})
	all[2].kill()
	for row := range 20 { // before the first one has noticed it
		if status, body := all[0].ask(t, admin, "POST", doc("shop", fmt.Sprint("z", row)), value("1")); status == 200 {
			t.Errorf("a node alone has acknowledged a row: %s", body)
		}
	}
	all[0].want(t, "a change of the state without most nodes", 503, "", admin, "POST", buckets, url.Values{"name": {"blog"}, "ramQuota": {"100"}})
	all[0].want(t, "a failover that is not safe", 504, "safely", admin, "POST", "/controller/failOver", url.Values{"otpNode": {"ns_1@" + all[1].address, "ns_1@" + all[2].address}})
}

// TestBestCopy: a node that has missed something does not make the others forget it, whoever is asked for the failover.
func TestBestCopy(t *testing.T) {
	program := couchbasetest.Build(t).Server("7.6")
	all := joined(t, program)
	put(t, all[0], "before", 150) // each vBucket has some
	late := all[2]
	late.kill()
	acknowledged := []string{}
	for row := range 150 { // those of which the late node is the active one are refused
		key := fmt.Sprint("after", row)
		if status, _ := all[0].ask(t, admin, "POST", doc("shop", key), value("1")); status == 200 {
			acknowledged = append(acknowledged, key)
		}
	}
	if len(acknowledged) < 20 {
		t.Fatalf("only %d rows were acknowledged without the late node", len(acknowledged))
	}
	all[0].kill()
	late.start(t, program)
	until.True(t, time.Minute, "the failover", func() bool {
		status, _ := late.ask(t, admin, "POST", "/controller/failOver", url.Values{"otpNode": {"ns_1@" + all[0].address}})
		return status == 200
	})
	for _, d := range []*double{all[1], late} {
		until.True(t, time.Minute, "the node lists documents", func() bool {
			status, body := d.ask(t, admin, "GET", buckets+"/shop/docs", nil)
			if status != 200 {
				return false
			}
			if lost := slices.IndexFunc(acknowledged, func(key string) bool { return !strings.Contains(body, `"`+key+`"`) }); lost >= 0 {
				t.Errorf("of %d rows that were acknowledged %s is lost", len(acknowledged), acknowledged[lost])
			}
			return true
		})
	}
}
