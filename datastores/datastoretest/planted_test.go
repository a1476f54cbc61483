package datastoretest_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
)

// everything is a manager with every capability.
type everything interface {
	datastores.Manager
	datastores.Databases
	datastores.Users
	datastores.Access
	datastores.Root
	datastores.Configuration
	datastores.OverridesChecker
	datastores.Backups
	datastores.Replication
	datastores.Logs
	datastores.Upgrader
	datastores.Names
	datastores.UpgradeChecker
	datastores.Modules
}

// defect is a fault that somebody may well build, and the test that must find it.
type defect struct {
	found string
	plant func(everything) datastores.Manager
}

func defects() map[string]defect {
	return map[string]defect{
		"a restore that loses everything": {"restore/memory_impl/copy", func(m everything) datastores.Manager {
			return backups{planted{m}, func(b *datastores.BackupStrategy) {
				b.Restore = func(context.Context, datastores.RestoreRequest) error { return nil }
			}}
		}},
		"a restore that forgets the increments": {"incremental backups/memory_impl/copy", func(m everything) datastores.Manager {
			return backups{planted{m}, func(b *datastores.BackupStrategy) {
				restore := b.Restore
				b.Restore = func(ctx context.Context, req datastores.RestoreRequest) error {
					req.Chain = req.Chain[:1]
					return restore(ctx, req)
				}
			}}
		}},
		"a backup that hides that it failed": {"backup that fails/memory_impl/copy", func(m everything) datastores.Manager {
			return backups{planted{m}, func(b *datastores.BackupStrategy) {
				backup := b.Backup
				b.Backup = func(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
					reply, _ := backup(ctx, req)
					return reply, nil
				}
			}}
		}},
		"a restore that says that it succeeded": {"restore of a damaged backup/memory_impl/copy", func(m everything) datastores.Manager {
			return backups{planted{m}, func(b *datastores.BackupStrategy) {
				restore := b.Restore
				b.Restore = func(ctx context.Context, req datastores.RestoreRequest) error {
					_ = restore(ctx, req)
					return nil
				}
			}}
		}},
		"a password in what is kept of a backup": {"restore/memory_impl/copy", func(m everything) datastores.Manager {
			return backups{planted{m}, func(b *datastores.BackupStrategy) {
				backup := b.Backup
				b.Backup = func(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
					_, err := backup(ctx, req)
					return datastores.BackupReply{Meta: json.RawMessage(`"root of all"`)}, err
				}
			}}
		}},
		"it lies about the restart":              {"static parameters", func(m everything) datastores.Manager { return liar{planted{m}} }},
		"overrides go with the manager":          {"static parameters", func(m everything) datastores.Manager { return forgetful{planted{m}} }},
		"whoever asks uses the values":           {"overrides with which no server starts", func(m everything) datastores.Manager { return hands{planted{m}} }},
		"a server that ignores what it has":      {"overrides with which no server starts", func(m everything) datastores.Manager { return lenient{planted{m}} }},
		"no way back from a failed start":        {"falling back cut short", func(m everything) datastores.Manager { return oneway{planted{m}} }},
		"a user that may go anywhere":            {"access", func(m everything) datastores.Manager { return generous{planted{m}} }},
		"a restored root that nobody knows of":   {"root after a restore/memory_impl/copy", func(m everything) datastores.Manager { return &unaware{planted: planted{m}} }},
		"a user that brings another along":       {"start and stop", func(m everything) datastores.Manager { return shadowed{planted{m}} }},
		"a prepare that is done once":            {"prepare cut short", once()},
		"a restart that loses something":         {"start and stop", forgets(inmemory.AtStart)},
		"a kill that loses something":            {"killed", forgets(inmemory.AtKill)},
		"a kill that loses it under a backup":    {"backup of a killed server/memory_impl/slow", forgets(inmemory.AtKill)},
		"a resize that loses something":          {"memory", forgets(inmemory.AtResize)},
		"a restore that loses something":         {"restore/memory_impl/slow", forgets(inmemory.AtRestore)},
		"increments that lose something":         {"incremental backups/memory_impl/copy", forgets(inmemory.AtIncrements)},
		"a replica without something":            {"replica/memory_impl/follow", forgets(inmemory.AtAttach)},
		"a replica's restart that loses it":      {"replica survives restarts/memory_impl/follow", forgets(inmemory.AtStart)},
		"a read-only start that loses something": {"read-only source/memory_impl/follow", forgets(inmemory.AtReadOnlyStart)},
		"a detach that loses something":          {"detach/memory_impl/follow", forgets(inmemory.AtDetach)},
		"a promotion that loses something":       {"promotion/memory_impl/follow", forgets(inmemory.AtPromotion)},
		"a kill that loses it after a promotion": {"promotion/memory_impl/follow", forgets(inmemory.AtKill)},
		"an upgrade that loses something":        {"upgrade", forgets(inmemory.AtUpgrade)},
		"what a user made goes with the user":    {"access together", func(m everything) datastores.Manager { return greedy{planted{m}} }},
		"sessions that outlive their password":   {"sessions", func(m everything) datastores.Manager { m.(lingerer).Linger(); return m }},
		"a delete that stops half way":           {"half a delete", func(m everything) datastores.Manager { return halver{planted{m}} }},
		"a guest that shares its places":         {"all connections taken", func(m everything) datastores.Manager { m.(sharer).ShareConnections(); return m }},
		"a user taken for another":               {"users alike", func(m everything) datastores.Manager { return confused{planted{m}} }},
		"a database taken for another":           {"databases alike", func(m everything) datastores.Manager { return confused{planted{m}} }},
		"a module that leaves its file":          {"modules", func(m everything) datastores.Manager { return littering{planted{m}} }},
		"a module that stays as it was":          {"modules", func(m everything) datastores.Manager { return stale{planted{m}, map[string]bool{}} }},
		"a system log that can be off":           {"logs", func(m everything) datastores.Manager { return quiet{planted{m}} }},
		"an upgrade that goes back":              {"upgrade", func(m everything) datastores.Manager { return younger{planted{m}} }},
		"an upgrade that looks at nothing":       {"upgrade", func(m everything) datastores.Manager { return blind{planted{m}} }},
		"a replica that takes writes":            {"replica refuses tenants/memory_impl/follow", replicas(detached)},
		"a source that is never read-only":       {"read-only source/memory_impl/follow", replicas(open)},
		"a promotion that waits for nobody":      {"replica/memory_impl/follow", replicas(hasty)},
		"a former source that keeps what it has": {"former source that was not fenced/memory_impl/follow", replicas(stubborn)},
	}
}

// TestWhatWasCutIsTold: a test that cuts calls says where it did so and what they answered.
func TestWhatWasCutIsTold(t *testing.T) {
	says, err := again(t, "a prepare that is done once", "^TestPlantedDefects$/^prepare_cut_short$")
	want := `prepare, after it was cut at step 1, "writing nothing", and answered context canceled: half a server is in the way`
	if err == nil || !strings.Contains(says, want) {
		t.Errorf("%v, and it does not say %q:\n%s", err, want, says)
	}
}

const plantedEnv = "COFFER_TEST_PLANTED"

// TestPlantedDefects runs, in a process of its own for each defect, the test that is there to find it: it must fail.
func TestPlantedDefects(t *testing.T) {
	if name := os.Getenv(plantedEnv); name != "" {
		memory := new(inmemory.Datastore)
		h := harness(memory, plant(t, memory, defects()[name]))
		h.Timeout = 3 * time.Second
		datastoretest.Run(t, h)
		return
	}
	for name, d := range defects() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantFound(t, name, d.found)
		})
	}
}

// wantFound checks that a test of the suite finds the defect of that name.
func wantFound(t *testing.T, name, found string) {
	t.Helper()
	test := t.Name()[:strings.Index(t.Name(), "/")] + "/" + strings.ReplaceAll(found, " ", "_")
	pattern := "^" + strings.ReplaceAll(test, "/", "$/^") + "$"
	says, err := again(t, name, pattern)
	if err == nil || !strings.Contains(says, "--- FAIL: "+test+" ") {
		t.Errorf("%s did not find it: %v\n%s", test, err, says)
	}
}

// again runs this program's tests for one case, in a process of its own.
func again(t *testing.T, name, pattern string) (says string, err error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", pattern, "-test.v")
	cmd.Env = append(os.Environ(), plantedEnv+"="+name)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestExceptions: an exception takes a test away and is printed; one that takes none away is an error.
func TestExceptions(t *testing.T) {
	const reason = "it cannot be done here"
	cases := map[string]struct {
		exception datastoretest.Exception
		fails     bool
		says, not string
	}{
		"a test":           {datastoretest.Exception{Test: "root", Reason: reason}, false, `EXCEPTION: "root" is not run: ` + reason, "/root "},
		"a test of all":    {datastoretest.Exception{Test: "restore", Reason: reason}, false, reason, "/restore/"},
		"a strategy":       {datastoretest.Exception{Test: "restore/memory_impl/slow", Reason: reason}, false, reason, "/restore/memory_impl/slow"},
		"a part":           {datastoretest.Exception{Test: "change users/name", Reason: reason}, false, reason, "/change_users/name"},
		"a kind of writes": {datastoretest.Exception{Test: "kinds of writes/texts at once", Reason: reason}, false, "the harness has no Kinds", ""},
		"no such part":     {datastoretest.Exception{Test: "change users/hair", Reason: reason}, true, "excuses nothing", ""},
		"no such test":     {datastoretest.Exception{Test: "flying", Reason: reason}, true, `exception "flying" excuses nothing`, ""},
		"no such strategy": {datastoretest.Exception{Test: "restore/memory_impl/x", Reason: reason}, true, "excuses nothing", ""},
		"no reason":        {datastoretest.Exception{Test: "root"}, true, "excuses nothing", ""},
	}
	if name := os.Getenv(plantedEnv); name != "" {
		memory := new(inmemory.Datastore)
		h := harness(memory, memory.Plugin())
		h.Exceptions = []datastoretest.Exception{cases[name].exception}
		datastoretest.Run(t, h)
		return
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			says, err := again(t, name, "^TestExceptions$/^(root|restore|change_users|kinds_of_writes)$")
			if (err != nil) != c.fails || !strings.Contains(says, c.says) || c.not != "" && strings.Contains(says, c.not) {
				t.Errorf("want fail %v, %q and not %q; got %v\n%s", c.fails, c.says, c.not, err, says)
			}
		})
	}
}

// plant is the datastore in memory with a defect.
func plant(t *testing.T, memory *inmemory.Datastore, d defect) datastores.Plugin {
	t.Helper()
	whole := memory.Plugin()
	var defaults inmemory.Options
	if err := json.Unmarshal(whole.Manifest().Offers[0].Guest, &defaults); err != nil {
		t.Fatal(err)
	}
	open := func(env datastores.Env, o inmemory.Options) datastores.Manager {
		options, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		m, err := whole.Open(env, options)
		if err != nil {
			t.Fatal(err)
		}
		return d.plant(m.(everything))
	}
	return datastores.NewPlugin("memory", defaults, open)
}
