package datastoretest

import (
	"context"
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Harness is what a datastore brings to the suite.
type Harness struct {
	Plugin datastores.Plugin
	// Options are the guest half to test with; nil is the plug-in's defaults.
	Options []byte
	// NewEnv makes a place of its own for one server and takes it away with the test, see [NewEnv].
	NewEnv func(t *testing.T) datastores.Env
	// Connect logs in over the network as a tenant's program does, uses the database when one is named, asks the
	// server something and disconnects. The error says why it was not let in.
	Connect func(ctx context.Context, address, user, password, database string) error

	// ConnectTLS is Connect by TLS: it fails when the server does not speak it, or config does not take its certificate. Needed for tls.
	ConnectTLS func(ctx context.Context, login Login, config *tls.Config) error

	// Session logs in as Connect does and keeps the connection. Needed for users.
	Session func(ctx context.Context, login Login) (Session, error)

	// FewConnections are values of parameters with which the server lets few sessions in, some dozens at most. nil: that is not
	// tested.
	FewConnections datastores.Values

	// Obstruct puts something in the way of deleting login's database or user that is still there when all sessions of tenants
	// have ended. nil: there is no such thing, and it is not tested.
	Obstruct func(ctx context.Context, env datastores.Env, login Login) (Obstacle, error)

	// Write stores the items of numbers from to to-1, each of some 100 bytes that follow from its number (see [Item]), one
	// after the other, making what they need when it is missing; an item that is there is no error. It returns how many the
	// server has acknowledged, also with an error. Needed for backups, replication and upgrade.
	Write func(ctx context.Context, login Login, from, to int) (acknowledged int, err error)
	// Digest tells how many items there are, and a digest of everything that is in login's database. Without any item it is
	// no error either.
	Digest func(ctx context.Context, login Login) (items int, digest string, err error)

	// Kinds are the ways in which the server stores what it acknowledges, all that it has: what one of them stores must be
	// there whatever happens to the server. A tenant of its own in a database of its own uses them. Needs Session. nil: that is not tested.
	Kinds []WriteKind

	// Dynamic and Static are values of parameters that can be changed at run time, and only by a restart; not the defaults. nil:
	// there are none of that kind.
	// Show tells what the running server has for a parameter, in the words of the values (fmt.Sprint of them). Needed for
	// configuration.
	Dynamic, Static datastores.Values
	Show            func(ctx context.Context, m datastores.Manager, parameter string) (string, error)
	// Refused are values that Parameters allow and with which no server of this size starts, for each reason that there is: a
	// value that the program does not know, that contradicts another one, or takes more memory than there is. nil: that is not
	// tested.
	Refused []datastores.Values

	// Stir makes a running server write something to a log that is on. nil: a login, and an item where there are any.
	Stir func(ctx context.Context, login Login, log string) error

	// Modules is what to put into modules of types of this datastore's own, by type. nil: it has none.
	Modules map[string]ModuleTrial

	// Older are the guest options of an older version, whose data Options can take over. nil: upgrade is not tested.
	Older []byte
	// UpgradeObstacles are what the check before an upgrade from Older must find, one of each kind, of an
	// [datastores.UpgradeChecker].
	UpgradeObstacles []UpgradeObstacle

	// Diverges says why a former source that has what the new one has not cannot be attached: then Attach must fail.
	// "": it must take back what it has too much.
	Diverges string

	// PrivatePorts are those at which the server listens beside the ports that its versions open to tenants. Each function
	// tries to get in there without an account, as other users of the machine can: its error says how that was refused.
	PrivatePorts map[int]func(ctx context.Context, env datastores.Env) error

	// Kill ends the server's processes as SIGKILL does and returns when they are gone. nil: that is not tested.
	Kill func(ctx context.Context, env datastores.Env) error

	// Timeout is how long one call may take; 0: a minute. Prepare may take twice as long.
	Timeout time.Duration

	// Exceptions are what this datastore cannot do as the suite has it. Each is printed; one that excuses nothing is an
	// error.
	Exceptions []Exception
	exceptions *exceptions // made by [Run]
}

// Login is how a tenant's program comes to its data.
type Login struct{ Address, User, Password, Database string }

// suiteTest is one row of the suite.
type suiteTest struct {
	name  string
	needs datastores.Capability // "": none
	// each: it is run for each of these strategies. nil: once.
	each func(*stage) []datastores.StrategyName
	run  func(*testing.T, *stage)
}

// suite is the table. A row leaves what stands on the stage as it found it, if it does not say otherwise.
func suite() []suiteTest {
	return []suiteTest{
		{"prepare cut short", "", nil, alone(testPrepareCutShort)},
		{"prepare again", "", nil, shared(testPrepareAgain)},
		{"process", "", nil, shared(testProcess)},
		{"closed to strangers", "", nil, shared(testClosed)},
		{"start and stop", "", nil, shared(testStartAndStop)},
		{"outlives its manager", "", nil, shared(testOutlivesManager)},
		{"status beside anything", "", nil, shared(testStatusBesideAnything)},
		{"cancelled", "", nil, shared(testCancelled)},
		{"killed", "", nil, shared(testKilled)},
		{kindsTest, "", nil, shared(testKinds)},
		{"memory", "", nil, shared(testMemory)},

		{"databases", datastores.CanDatabases, nil, shared(testDatabases)},
		{"database names", datastores.CanDatabases, nil, shared(testDatabaseNames)},
		{"databases alike", datastores.CanDatabases, nil, shared(testDatabasesAlike)},
		{"databases cut short", datastores.CanDatabases, nil, shared(testDatabasesCutShort)},
		{"users", datastores.CanUsers, nil, shared(testUsers)},
		{"change users", datastores.CanUsers, nil, shared(testChangeUsers)},
		{"user names", datastores.CanUsers, nil, shared(testUserNames)},
		{"users alike", datastores.CanUsers, nil, shared(testUsersAlike)},
		{"passwords", datastores.CanUsers, nil, shared(testPasswords)},
		{"users cut short", datastores.CanUsers, nil, shared(testUsersCutShort)},
		{"sessions", datastores.CanUsers, nil, shared(testSessions)},
		{"delete in use", datastores.CanUsers, nil, shared(testDeleteInUse)},
		{"half a delete", datastores.CanUsers, nil, shared(testHalfADelete)},
		{"access", datastores.CanAccess, nil, shared(testAccess)},
		{"access together", datastores.CanAccess, nil, shared(testTogether)},
		{"root", datastores.CanRoot, nil, shared(testRoot)},

		{"parameters", datastores.CanConfiguration, nil, shared(testParameters)},
		{"dynamic parameters", datastores.CanConfiguration, nil, shared(testDynamic)},
		{"static parameters", datastores.CanConfiguration, nil, shared(testStatic)},
		{"overrides cut short", datastores.CanConfiguration, nil, shared(testOverridesCutShort)},
		{"overrides of a stopped server", datastores.CanConfiguration, nil, shared(testOverridesStopped)},
		{"overrides with which no server starts", datastores.CanConfiguration, nil, shared(testOverridesRefused)},
		{"falling back cut short", datastores.CanConfiguration, nil, shared(testFallBackCutShort)},
		{"overrides at prepare", datastores.CanConfiguration, nil, alone(testOverridesAtPrepare)},

		{"all connections taken", datastores.CanConfiguration, nil, shared(testCrowd)},

		{"logs", datastores.CanLogs, nil, shared(testLogs)},
		{"user logs", datastores.CanLogs, nil, shared(testUserLogs)},

		{"modules", datastores.CanModules, nil, shared(testModules)},

		{"restore", datastores.CanBackup, backupStrategies, testRestore},
		{"root after a restore", datastores.CanBackup, backupStrategies, testRootAfterRestore},
		{"backup beside writes", datastores.CanBackup, backupStrategies, testBackupBesideWrites},
		{"backup that fails", datastores.CanBackup, backupStrategies, testBackupFails},
		{"backup cancelled", datastores.CanBackup, backupStrategies, testBackupCancelled},
		{"backup of a killed server", datastores.CanBackup, backupStrategies, testBackupOfKilled},
		{"incremental backups", datastores.CanIncrementalBackup, incrementalStrategies, testIncremental},
		{"restore cut short", datastores.CanBackup, backupStrategies, testRestoreCutShort},
		{"restore of a damaged backup", datastores.CanBackup, backupStrategies, testRestoreDamaged},

		{"check", datastores.CanCheck, nil, testCheck},

		{"replica", datastores.CanReplication, replicationStrategies, testReplica},
		{"replica refuses tenants", datastores.CanReplication, replicationStrategies, testReplicaRefusesTenants},
		{"replica refuses root", datastores.CanReplication, replicationStrategies, testReplicaRefusesRoot},
		{"replica survives restarts", datastores.CanReplication, replicationStrategies, testReplicaRestarts},
		{"second replica", datastores.CanReplication, replicationStrategies, testSecondReplica},
		{"read-only source", datastores.CanReplication, replicationStrategies, testReadOnlySource},
		{"replica is watched", datastores.CanReplication, replicationStrategies, testReplicaIsWatched},
		{"replication methods twice", datastores.CanReplication, replicationStrategies, testReplicationTwice},
		// Before those that may use replicas up: a former source that diverges does not come back, and the last replica is detached.
		{"replica by tls", datastores.CanReplication, replicationStrategies, testReplicaTLS},
		{"promotion", datastores.CanReplication, replicationStrategies, testPromotion},
		{"promotion cut short", datastores.CanReplication, replicationStrategies, testPromotionCutShort},
		{"former source that was not fenced", datastores.CanReplication, replicationStrategies, testNotFenced},
		{"detach", datastores.CanReplication, replicationStrategies, testDetach},

		{"tls", datastores.CanTLS, nil, shared(testTLS)},
		{"tls of a stopped server", datastores.CanTLS, nil, shared(testTLSStopped)},

		{"upgrade", datastores.CanUpgrade, nil, alone(testUpgrade)},
	}
}

// Run runs the suite: what every datastore must do, and what this one says that it can do.
func Run(t *testing.T, h Harness) {
	h.exceptions = &exceptions{t: t, all: h.Exceptions, excused: map[Exception]bool{}, ran: map[string]bool{}}
	h.Kinds = slices.DeleteFunc(slices.Clone(h.Kinds), func(kind WriteKind) bool { return h.exceptions.excuse(kindsTest + "/" + kind.Name) })
	g := &stage{Harness: h, t: t, fleets: map[datastores.StrategyName]*fleet{}}
	g.manager = g.standing(t).manager
	rows := suite()
	for _, c := range rows {
		if !g.can(c.needs) {
			continue
		}
		if c.each == nil {
			g.row(c, c.name)
			continue
		}
		for _, g.strategy = range c.each(g) {
			g.row(c, c.name+"/"+g.strategy.String())
		}
	}
	h.exceptions.check(rows)
}

// row runs a test, if there is no exception for it.
func (g *stage) row(c suiteTest, name string) {
	g.exceptions.row = name
	if g.exceptions.excuse(c.name) || g.exceptions.excuse(name) {
		return
	}
	if !g.t.Run(name, func(t *testing.T) { g.play(t, c) }) {
		g.renew()
	}
}

// play runs one row, when the harness has what it needs.
func (g *stage) play(t *testing.T, c suiteTest) {
	missing := ""
	switch c.needs {
	case datastores.CanConfiguration:
		if g.Show == nil {
			missing = "Show"
		}
	case datastores.CanTLS:
		if g.ConnectTLS == nil {
			missing = "ConnectTLS"
		}
	case datastores.CanBackup, datastores.CanIncrementalBackup, datastores.CanReplication:
		if g.Write == nil || g.Digest == nil {
			missing = "Write and Digest"
		}
	}
	g.exceptions.ran[c.name] = true
	if missing != "" {
		t.Fatalf("the harness lacks %s, which a datastore of capability %s must have", missing, c.needs)
	}
	c.run(t, g)
}

// stage is what stands ready for the tests of one datastore. Servers are made when first needed, and stopped when the suite
// ends.
type stage struct {
	Harness
	t        *testing.T         // of the whole suite
	manager  datastores.Manager // to ask for strategies
	strategy datastores.StrategyName
	shared   *server
	source   *server // of backups
	fleets   map[datastores.StrategyName]*fleet
}

func (g *stage) can(c datastores.Capability) bool {
	return c == "" || slices.Contains(g.Plugin.Manifest().Capabilities, c)
}

func shared(test func(*testing.T, *server)) func(*testing.T, *stage) {
	return func(t *testing.T, g *stage) {
		s := g.standing(t)
		s.leftAsFound(t)
		test(t, s)
	}
}

func alone(test func(*testing.T, Harness)) func(*testing.T, *stage) {
	return func(t *testing.T, g *stage) { test(t, g.Harness) }
}

func backupStrategies(g *stage) []datastores.StrategyName {
	return datastores.StrategyNames(g.manager.(datastores.Backups).BackupStrategies())
}

func incrementalStrategies(g *stage) (names []datastores.StrategyName) {
	for _, s := range g.manager.(datastores.Backups).BackupStrategies() {
		if s.Incremental {
			names = append(names, s.StrategyName)
		}
	}
	return names
}

func replicationStrategies(g *stage) []datastores.StrategyName {
	return datastores.StrategyNames(g.manager.(datastores.Replication).ReplicationStrategies())
}
