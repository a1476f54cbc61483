package schedules

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// aSet is a source "a" with replicas "b" and "c" that are well.
func aSet() ([]lifecycle.Member, map[string]bool) {
	set, members := etcdschema.Set{ID: "s", Kind: etcdschema.SetReplication}, []lifecycle.Member{}
	for i, id := range []string{"a", "b", "c"} {
		in := etcdschema.Instance{ID: id, SetID: "s", Host: "h", Prepared: true, Service: datastores.Status{Service: datastores.StatusHealthy}}
		m := etcdschema.SetMember{ID: id, Role: etcdschema.RoleSource}
		if i > 0 {
			m.Role = etcdschema.RoleReplica
			in.Service.Replication = &datastores.Following{Role: datastores.RoleReplica, Follows: true}
		}
		set.Members, members = append(set.Members, m), append(members, lifecycle.Member{Instance: in})
	}
	for i := range members {
		members[i].Set = set
	}
	return members, map[string]bool{}
}

func TestMaker(t *testing.T) {
	lags := func(unit datastores.LagUnit, by int64) func([]lifecycle.Member, map[string]bool) {
		return func(m []lifecycle.Member, _ map[string]bool) {
			m[1].Service.Replication = &datastores.Following{Role: datastores.RoleReplica, Follows: true, Lag: datastores.Lag{unit: by}}
		}
	}
	for name, c := range map[string]struct {
		change             func(m []lifecycle.Member, away map[string]bool)
		last, failed, want string
	}{
		"a replica":                 {want: "b"},
		"who has made the last one": {last: "c", want: "c"},
		"the source has":            {last: "a", want: "a"},
		"the first cannot":          {failed: "b", want: "c"},
		"a failed chain":            {last: "b", failed: "b", want: "c"},
		"away":                      {change: func(_ []lifecycle.Member, away map[string]bool) { away["b"] = true }, want: "c"},
		"a minute behind":           {change: lags(datastores.Seconds, 60), want: "b"},
		"more":                      {change: lags(datastores.Seconds, 61), want: "c"},
		"too many bytes":            {change: lags(datastores.Bytes, 1<<30), want: "c"},
		"it does not follow": {change: func(m []lifecycle.Member, _ map[string]bool) {
			m[1].Service.Replication = &datastores.Following{Role: datastores.RoleReplica}
		}, want: "c"},
		"nobody knows whether it does": {change: func(m []lifecycle.Member, _ map[string]bool) { m[1].Service.Replication = nil }, want: "c"},
		"it is busy": {change: func(m []lifecycle.Member, _ map[string]bool) {
			m[1].Operation = &etcdschema.Operation{Kind: lifecycle.Restart}
		}, want: "c"},
		"the replicas are gone": {change: func(_ []lifecycle.Member, away map[string]bool) { away["b"], away["c"] = true, true }, want: "a"},
		"both have failed": {change: func(_ []lifecycle.Member, away map[string]bool) { away["c"] = true }, failed: "b",
			want: "a"},
		"none but one that failed": {change: func(_ []lifecycle.Member, away map[string]bool) { away["a"], away["c"] = true, true }, failed: "b", want: "b"},
		"the log is shipped":       {change: func(m []lifecycle.Member, _ map[string]bool) { m[0].RPO = 60 }, want: "a"},
		"all are gone": {change: func(_ []lifecycle.Member, away map[string]bool) { away["a"], away["b"], away["c"] = true, true, true },
			want: ""},
	} {
		members, away := aSet()
		if c.change != nil {
			c.change(members, away)
		}
		if got, err := maker(members, away, c.last, c.failed); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %q (%v), want %q", name, got, err, c.want)
		}
	}
}

// TestYearsOfASet has a set be backed up every night for years, at two gateways that both try, while its members take turns in being the source,
// in being away and in lagging behind, in the middle of a run, too: every night has one backup, by a member that was well; those that build on
// each other are of one member; and the set keeps as many as one schedule does.
func TestYearsOfASet(t *testing.T) {
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 65))
		sch := etcdschema.Schedule{
			ID: "s", Kind: etcdschema.ScheduleIncremental, Whole: true, FullEvery: 5, Keep: 7,
			When: etcdschema.When{Cron: "30 2 * * *", Zone: "Europe/Berlin"}, Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		}
		sch.Next = following(sch, sch.Created)
		members, away := aSet()
		var all []etcdschema.Backup
		nights, by := map[string]bool{}, map[string]int{}
		for sch.Next.Before(sch.Created.AddDate(3, 0, 0)) {
			now := sch.Next
			for i, m := range members {
				away[m.ID] = random.IntN(10) == 0
				if f := m.Service.Replication; f != nil {
					is := *f
					is.Lag = datastores.Lag{datastores.Seconds: int64(random.IntN(70))}
					members[i].Service.Replication = &is
				}
			}
			for range 2 { // two gateways have seen that it is due; the second finds that it is not
				if !sch.Next.Equal(now) {
					continue
				}
				last, chain := "", etcdschema.Backup{}
				if good := goodOnes(all, sch.ID); len(good) > 0 && len(ancestry(all, good[0])) < sch.FullEvery {
					last, chain = good[0].Instance, good[0]
				}
				at, err := maker(members, away, last, failedAt(sch))
				if err != nil {
					away = map[string]bool{} // it waits
					at, err = maker(members, away, last, failedAt(sch))
				}
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				i := slices.IndexFunc(members, func(m lifecycle.Member) bool { return m.ID == at })
				if f := members[i].Service.Replication; away[at] || f != nil && f.Lag[datastores.Seconds] > 60 {
					t.Fatalf("seed %d: on %s it is made by %s, which is not well", seed, now, at)
				}
				b := etcdschema.Backup{Instance: at, Schedule: sch.ID, Status: etcdschema.BackupCompleted, Created: now}
				b.BackupID = fmt.Sprintf("%05d", len(nights))
				if chain.Instance == at {
					b.Parent = chain.BackupID
				}
				sch.Last = &etcdschema.ScheduleRun{Planned: now, At: now, Result: etcdschema.RunMade, Instance: at}
				if random.IntN(20) == 0 {
					b.Status, sch.Last.Result = etcdschema.BackupFailed, etcdschema.RunFailed
				}
				night := now.In(time.UTC).Format("2006-01-02")
				if nights[night] {
					t.Fatalf("seed %d: two backups on %s", seed, night)
				}
				nights[night], by[at] = true, by[at]+1
				sch.Next = following(sch, now)
				if random.IntN(3) == 0 { // a promotion in the middle of it
					promoted(members, random.IntN(3))
				}
				all = append(all, b)
			}
			for gone := Expired(sch, all, now); len(gone) > 0; { // with those that build on them, as they are removed
				var more []string
				for _, b := range all {
					if slices.Contains(gone, b.Parent) {
						more = append(more, b.BackupID)
					}
				}
				all = slices.DeleteFunc(all, func(b etcdschema.Backup) bool { return slices.Contains(gone, b.BackupID) })
				gone = more
			}
			for _, b := range all {
				for _, of := range ancestry(all, b) {
					if of.Instance != b.Instance {
						t.Fatalf("seed %d: backup %s of %s builds on one of %s", seed, b.BackupID, b.Instance, of.Instance)
					}
				}
			}
			if n := len(goodOnes(all, sch.ID)); n > sch.Keep+sch.FullEvery {
				t.Fatalf("seed %d: on %s the set keeps %d", seed, now, n)
			}
		}
		if len(nights) != 3*365+1 || len(by) != 3 { // one year is a leap year
			t.Errorf("seed %d: %d nights have a backup, by %v", seed, len(nights), by)
		}
	}
}

// promoted makes the i-th member the source.
func promoted(members []lifecycle.Member, i int) {
	set := members[0].Set
	set.Members = slices.Clone(set.Members)
	for k := range members {
		set.Members[k].Role, members[k].Service.Replication = etcdschema.RoleReplica, &datastores.Following{Role: datastores.RoleReplica, Follows: true}
	}
	set.Members[i].Role, members[i].Service.Replication = etcdschema.RoleSource, nil
	for k := range members {
		members[k].Set = set
	}
}
