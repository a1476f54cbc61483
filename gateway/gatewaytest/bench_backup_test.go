package gatewaytest_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// backedUp is a datastore of which backups are measured beside those of the tool that comes with it.
type backedUp struct {
	store  datastore
	volume string // where its data is mounted
	// fill makes the rows %d to %d, of 1 KiB: half of each is noise, half is what all rows share.
	table, fill string
	digest      string                                       // one string of all rows
	back        func(*backupBench) *exec.Cmd                 // to its standard output
	restore     func(b *backupBench, dir string) []*exec.Cmd // from their standard input
	// serve starts a server on what was restored; address is where its socket will be. ready reports whether it answers there.
	serve func(b *backupBench, dir string) (server *exec.Cmd, address string)
	ready func(address string) bool
}

const columns = "CREATE TABLE filling (n BIGINT PRIMARY KEY, noise %s, words VARCHAR(512))"

func backedUpStores() []backedUp {
	return []backedUp{
		{
			store: mariadbStore, volume: "var/lib/mysql", table: fmt.Sprintf(columns, "VARBINARY(512)"),
			fill:   "INSERT INTO filling SELECT seq, RANDOM_BYTES(512), REPEAT('words that all rows share, ', 18) FROM seq_%d_to_%d",
			digest: "SELECT CONCAT(COUNT(*), ' ', SUM(CAST(CONV(LEFT(MD5(CONCAT_WS(' ', n, noise, words)), 12), 16, 10) AS UNSIGNED))) FROM filling",
			back:   (*backupBench).mariadbBackup, restore: (*backupBench).mariadbRestore, serve: (*backupBench).mariadbServe, ready: mariadbReady,
		},
		{
			store: postgresqlStore, volume: "var/lib/postgresql", table: fmt.Sprintf(columns, "BYTEA"),
			fill: `INSERT INTO filling SELECT n, (SELECT string_agg(sha512(convert_to(n || ' ' || k, 'UTF8')), '') FROM generate_series(1, 8) k),
				repeat('words that all rows share, ', 18) FROM generate_series(%d, %d) n`,
			digest: "SELECT count(*) || ' ' || sum(hashtextextended(f::text, 0)) FROM filling f",
			back:   (*backupBench).pgBackup, restore: (*backupBench).pgRestore, serve: (*backupBench).pgServe, ready: pgReady,
		},
	}
}

// TestBenchBackup measures backups and restores of real databases of COFFER_BENCH_BACKUP_MB (2048) MB, beside the same by the
// database's own tool, through zstd -1 and a sealer to and from a local file that is synced, in one run. Both restores end when the
// server answers. Each is done COFFER_BENCH_BACKUP_ROUNDS (3) times, in turn with the other, and the medians count, for the machine may
// be busy. What is restored has to be what was there, and the memory of guest and gateway must not grow with the size: it may peak no
// more than half higher than with a tenth of it. Below 1000 MB a tenth does not fill the buffers, and that is not looked at.
func TestBenchBackup(t *testing.T) {
	if os.Getenv("COFFER_BENCH") == "" {
		t.Skip("a benchmark: set COFFER_BENCH=1")
	}
	datastoretest.Require(t, "/usr/bin/etcd", "etcd-server")
	datastoretest.Require(t, "/usr/bin/mariadb-backup", "mariadb-backup")
	datastoretest.Require(t, "/usr/lib/postgresql/15/bin/pg_basebackup", "postgresql-15")
	datastoretest.Require(t, "/usr/bin/zstd", "zstd")
	size := int(number(t, "COFFER_BENCH_BACKUP_MB", 2048))
	w := newBackupWorld(t, programs(t))
	var lines []string
	for _, d := range backedUpStores() {
		t.Run(string(d.store), func(t *testing.T) {
			b := &backupBench{world: w, backedUp: d, t: t}
			began := time.Now()
			b.id = b.ask(d.store.tenantPart())
			b.login = b.await(b.id)
			t.Logf("create of an empty one: %s", time.Since(began).Round(time.Millisecond))
			tenth, whole := b.measure(size/10, 1), b.measure(size, int(number(t, "COFFER_BENCH_BACKUP_ROUNDS", 3)))
			lines = append(lines, tenth.lines()...)
			lines = append(lines, whole.lines()...)
			if size >= 1000 {
				wantFlat(t, "backup", tenth.backup, whole.backup)
				wantFlat(t, "restore", tenth.restore, whole.restore)
			}
		})
	}
	t.Log(table(lines))
}

// table of what was measured. Rates are of the bytes that the tool writes.
func table(lines []string) string {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nMB\t\tours\ttool, zstd, sealer, sync\tratio\tguest: before, peak, after\tgateway: before, peak, after")
	fmt.Fprint(w, strings.Join(lines, ""))
	_ = w.Flush()
	return out.String()
}

// newBackupWorld is one without bystanders, with etcd beside the gateway, so that the gateway's memory is its own, and without
// sandboxes, so that the tools find the paths that the servers know.
func newBackupWorld(t *testing.T, p gatewaytest.Programs) *world {
	t.Helper()
	w := &world{machine: newMachine(t)}
	w.wallless()
	w.etcdURL = "http://" + w.address(2, 2379)
	logs, url, peers := gatewaytest.LogDir(t), "http://"+w.address(1, 8779), "http://"+w.address(2, 2380)
	w.etcd = startUnit(t, p, logs, "", "/usr/bin/etcd", "--data-dir", w.path("etcd"), "--listen-client-urls", w.etcdURL,
		"--advertise-client-urls", w.etcdURL, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
	w.gateway = startUnit(t, p, logs, "serving", "coffer-gateway", "-insecure-http", "-listen", w.address(1, 8779), "-data-dir", w.path("gateway"),
		"-key-file", gatewaytest.KeysFile(t), "-identity", "none", "-tokens-file", gatewaytest.TokensFile(t),
		"-backup-dir", w.path("backups"), "-etcd-endpoints", w.etcdURL)
	p.PutDefinitions(t, w.etcdURL)
	hostID := w.enrol(t, url)
	w.host = startUnit(t, p, logs, "", "coffer-host", append(w.hostArgs(p, url), "-memory", "100000", "-vcpus", "100", "-disk", "1000")...)
	w.Client = gatewaytest.Client{URL: url, Token: gatewaytest.Member, Project: gatewaytest.Project}
	admin := w.Client
	admin.Token = gatewaytest.Admin
	admin.AwaitHost(t, hostID)
	return w
}

// backupBench is one instance that is backed up.
type backupBench struct {
	*world
	backedUp
	t     *testing.T
	id    string
	login login
	rows  int
}

const benchTimeout = 20 * time.Minute // for any one thing

// ask asks for an instance; more is further JSON of it. It is deleted with the test.
func (b *backupBench) ask(more string) (id string) {
	b.t.Helper()
	a := b.Want(b.t, http.StatusOK, http.MethodPost, "/instances", fmt.Sprintf(
		`{"instance":{"name":"bench","flavorRef":3,"volume":{"size":10},"datastore":{"type":%q}%s}}`, b.store, more))
	id = a.Text("instance", "id")
	b.instances = append(b.instances, id)
	b.t.Cleanup(func() { b.delete(id) })
	return id
}

func (b *backupBench) await(id string) login {
	b.t.Helper()
	b.ended(func() bool {
		status := b.Do(b.t, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "status")
		return status == "ACTIVE" || status == "ERROR"
	})
	return b.store.login(b.Await(b.t, id, "ACTIVE", benchTimeout).Text("instance", "ip", 0), "")
}

// askEvery is how often a benchmark asks whether something has ended. Every 5 ms, as other tests do, would cost gateway and etcd a
// good part of a core while they work on what is measured.
const askEvery = 50 * time.Millisecond

// ended waits for the end of what is measured.
func (b *backupBench) ended(has func() bool) {
	b.t.Helper()
	until.Promptly(b.t, benchTimeout, "the end of what is measured", func() bool {
		if has() {
			return true
		}
		until.Passed(askEvery)
		return false
	})
}

func (b *backupBench) delete(id string) {
	b.t.Helper()
	b.Do(b.t, http.MethodDelete, gatewaytest.Instance(id), "")
	b.AwaitGone(b.t, id, benchTimeout)
}

// measured is what was measured with one size of data.
type measured struct {
	what            string
	bytes           int64 // that the tool wrote
	backup, restore run
}

// run is backups or restores of one size, by us and by the tool: the backups until they are safe on disk.
type run struct {
	ours, tool     []time.Duration
	guest, gateway memory
}

// median of what was taken.
func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func (m measured) lines() []string {
	line := func(what string, r run) string {
		rate := func(d time.Duration) float64 { return float64(m.bytes) / 1e6 / d.Seconds() }
		return fmt.Sprintf("%d\t%s, %s\t%.0f MB/s\t%.0f MB/s\t%.2f\t%s\t%s\n", m.bytes/1e6, m.what, what,
			rate(median(r.ours)), rate(median(r.tool)), median(r.tool).Seconds()/median(r.ours).Seconds(), r.guest, r.gateway)
	}
	return []string{line("backup", m.backup), line("restore", m.restore)}
}

func wantFlat(t *testing.T, what string, tenth, whole run) {
	t.Helper()
	for _, m := range []struct {
		of           string
		tenth, whole memory
	}{{"guest", tenth.guest, whole.guest}, {"gateway", tenth.gateway, whole.gateway}} {
		if m.whole.peak > m.tenth.peak*3/2 {
			t.Errorf("%s: the memory of the %s grows with the data: it peaks at %d kB, with a tenth at %d kB", what, m.of, m.whole.peak, m.tenth.peak)
		}
	}
}

// measure fills the database up to that size, and backs it up and restores it in both ways, in turn.
func (b *backupBench) measure(size, rounds int) measured {
	t := b.t
	b.fillUp(size << 10)
	want := b.digestOf(b.login)
	m := measured{what: string(b.store), bytes: b.toolSize()}
	for range rounds {
		file, took := b.toolBackup()
		m.backup.tool = append(m.backup.tool, took)
		backup := b.measureBackup(&m.backup)
		m.restore.tool = append(m.restore.tool, b.toolRestore(file))
		b.measureRestore(&m.restore, backup, want)
		b.Want(t, http.StatusAccepted, http.MethodDelete, "/backups/"+backup, "")
	}
	t.Logf("%d MB: backup: ours %v, tool %v; restore: ours %v, tool %v", m.bytes/1e6, m.backup.ours, m.backup.tool, m.restore.ours, m.restore.tool)
	return m
}

// measureRestore makes an instance of a backup, from the request to ACTIVE, and deletes it.
func (b *backupBench) measureRestore(r *run, backup, want string) {
	t := b.t
	began := time.Now()
	id := b.ask(fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, backup))
	watch := b.watchMemory(id)
	l := b.await(id)
	r.ours = append(r.ours, time.Since(began))
	r.guest, r.gateway = watch()
	if got := b.digestOf(l); got != want {
		t.Errorf("restored: the digest of the rows is %q, want %q", got, want)
	}
	b.delete(id)
}

const rowsAtOnce = 1 << 16

func (b *backupBench) fillUp(rows int) {
	b.t.Helper()
	db, err := b.store.sql(b.login)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	if b.rows == 0 {
		if _, err := db.Exec(b.table); err != nil {
			b.t.Fatal(err)
		}
	}
	for b.rows < rows {
		last := min(rows, b.rows+rowsAtOnce)
		if _, err := db.Exec(fmt.Sprintf(b.fill, b.rows+1, last)); err != nil {
			b.t.Fatal(err)
		}
		b.rows = last
	}
}

func (b *backupBench) digestOf(l login) (digest string) {
	b.t.Helper()
	db, err := b.store.sql(l)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(b.digest).Scan(&digest); err != nil {
		b.t.Fatal(err)
	}
	return digest
}

// measureBackup makes one through the API and returns its id.
func (b *backupBench) measureBackup(r *run) (id string) {
	t := b.t
	watch := b.watchMemory(b.id)
	began := time.Now()
	a := b.Want(t, http.StatusAccepted, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"bench","instance":%q}}`, b.id))
	id = a.Text("backup", "id")
	b.ended(func() bool {
		a = b.Do(t, http.MethodGet, "/backups/"+id, "")
		return a.Text("backup", "status") == "COMPLETED" || a.Text("backup", "status") == "FAILED"
	})
	r.ours = append(r.ours, time.Since(began))
	r.guest, r.gateway = watch()
	if a.Text("backup", "status") != "COMPLETED" {
		t.Fatalf("the backup failed: %s", a.Body)
	}
	b.Await(t, b.id, "ACTIVE", benchTimeout)
	return id
}

// memory is what a process had resident, in kB.
type memory struct{ before, peak, after int }

func (m *memory) see(kB int) {
	if m.before == 0 {
		m.before = kB
	}
	m.peak, m.after = max(m.peak, kB), kB
}

func (m memory) String() string {
	return fmt.Sprintf("%.1f, %.1f, %.1f MiB", float64(m.before)/1024, float64(m.peak)/1024, float64(m.after)/1024)
}

const (
	sampleEvery = 100 * time.Millisecond
	calm        = 2 * time.Second // in which what was freed is given back
)

// watchMemory looks at the memory of the gateway and of an instance's guest, until a calm moment after the call of stop.
func (b *backupBench) watchMemory(id string) (stop func() (guest, gateway memory)) {
	var guest, gateway memory
	gatewayPID := b.pidOfGateway()
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			gateway.see(resident(gatewayPID))
			if kB := resident(b.guests()[id]); kB > 0 { // it may not be there yet
				guest.see(kB)
			}
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	}()
	return func() (memory, memory) {
		until.Passed(calm)
		close(ended)
		<-done
		return guest, gateway
	}
}

func (b *backupBench) pidOfGateway() int {
	for _, pid := range b.processes() {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if program, _, _ := bytes.Cut(command, []byte{0}); bytes.HasSuffix(program, []byte("/coffer-gateway")) {
			return pid
		}
	}
	b.t.Fatal("the gateway was not found")
	return 0
}

// resident is the memory of a process, in kB; 0 when there is none.
func resident(pid int) (kB int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if _, rest, ok := bytes.Cut(status, []byte("\nVmRSS:")); ok {
		_, _ = fmt.Sscan(string(rest), &kB)
	}
	return kB
}
