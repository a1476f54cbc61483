package datastores_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// ended is a program that has ended with these last words.
type ended string

func (ended) Error() string       { return "loader: exit status 1" }
func (e ended) LastWords() string { return string(e) }

func TestTold(t *testing.T) {
	tests := map[string]struct {
		err                   error
		kind                  datastores.ErrorKind
		message, detail, gone string
	}{
		"own": {
			err:     fmt.Errorf("prepare, step users: %w", datastores.Errorf(datastores.Exists, `user "bob" is there already`)),
			kind:    datastores.Exists,
			message: `user "bob" is there already`,
			detail:  "prepare, step users: user \"…\" is there already",
		},
		"own alone": {
			err: datastores.Errorf(datastores.Full, "the volume is full: enlarge it"), kind: datastores.Full,
			message: "the volume is full: enlarge it",
		},
		"own with a detail": {
			err: &datastores.Error{Kind: datastores.Conflict, Message: "no", Detail: "because"}, kind: datastores.Conflict,
			message: "no", detail: "because",
		},
		"a path": {
			err: errors.New("open /var/lib/coffer/instances/0190/guest/users.acl: no such file or directory"), kind: datastores.Internal,
			message: "open users.acl: no such file or directory",
		},
		"a path in an own": {
			err: datastores.Errorf(datastores.Invalid, "the file /srv/a/b.conf is not there"), kind: datastores.Invalid,
			message: "the file b.conf is not there",
		},
		"a url, a share and a range stay": {
			err: errors.New("https://127.0.0.1:8779/agent/v1/poll: 3/4 of 10.0.0.0/8"), kind: datastores.Internal,
			message: "https://127.0.0.1:8779/agent/v1/poll: 3/4 of 10.0.0.0/8",
		},
		"quotes": {
			err: errors.New(`Error 1062 (23000): Duplicate entry 'it's CANARY' for key 'PRIMARY'`), kind: datastores.Internal,
			message: `Error 1062 (23000): Duplicate entry '…' for key '…'`, gone: "CANARY",
		},
		"mariadb's client": {
			err:  fmt.Errorf("cannot restore: %w", ended("--------------\nINSERT INTO t VALUES ('CANARY')\n--------------\n\nERROR 2006 (HY000) at line 24: Server has gone away\n")),
			kind: datastores.Internal, message: "Server has gone away (cannot restore: loader: exit status 1)",
			detail: "cannot restore: loader: exit status 1\nERROR 2006 (HY000) at line 24: Server has gone away", gone: "CANARY",
		},
		"a quote cut off": {
			err:  ended("ERROR 1064 (42000) at line 1: You have an error in your SQL syntax near 'INSERT INTO t\nVALUES ('CANARY"),
			kind: datastores.Internal, message: "You have an error in your SQL syntax near … (loader: exit status 1)", gone: "CANARY",
			detail: "loader: exit status 1\nERROR 1064 (42000) at line 1: You have an error in your SQL syntax near …",
		},
		"postgresql": {
			err: ended("2026-01-01 00:00:00 UTC [7] ERROR:  duplicate key value violates unique constraint \"t_pkey\"\n" +
				"2026-01-01 00:00:00 UTC [7] DETAIL:  Key (a)=(CANARY) already exists: no error.\n" +
				"2026-01-01 00:00:00 UTC [7] CONTEXT:  COPY t, line 1\n2026-01-01 00:00:00 UTC [7] STATEMENT:  COPY t FROM stdin\n\terror CANARY\n"),
			kind: datastores.Internal, message: `duplicate key value violates unique constraint "…" (loader: exit status 1)`, gone: "CANARY",
			detail: "loader: exit status 1\n2026-01-01 00:00:00 UTC [7] ERROR:  duplicate key value violates unique constraint \"…\"",
		},
		"no word": {
			err: ended("done\n"), kind: datastores.Internal, message: "loader: exit status 1",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			told := datastores.Told(test.err)
			if told.Kind != test.kind || told.Message != test.message || told.Detail != test.detail {
				t.Errorf("told %q, %q, detail\n%q; want %q, %q, detail\n%q", told.Kind, told.Message, told.Detail, test.kind, test.message, test.detail)
			}
			if test.gone != "" && strings.Contains(told.Message+told.Detail, test.gone) {
				t.Errorf("%q is told: %+v", test.gone, told)
			}
		})
	}
}

func TestToldIsBounded(t *testing.T) {
	told := datastores.Told(datastores.Errorf(datastores.Internal, "%s", strings.Repeat("é\n", 1000)))
	if len(told.Message) > 400 || strings.Contains(told.Message, "\n") || !strings.HasSuffix(told.Message, "…") {
		t.Errorf("a message of %d bytes: %q", len(told.Message), told.Message)
	}
	told = datastores.Told(ended(strings.Repeat("error: no\n", 1000)))
	if len(told.Detail) > 2<<10 {
		t.Errorf("a detail of %d bytes", len(told.Detail))
	}
	if datastores.Told(nil) != nil {
		t.Error("nothing is told as something")
	}
}

func TestReason(t *testing.T) {
	tests := map[string]struct{ words, reason string }{
		"mariadb": {"2026-11-28  4:47:00 0 [ERROR] InnoDB: old trouble\n" +
			"2026-11-28  4:48:00 0 [Note] Starting MariaDB 10.11.6 source revision as process 7\n" +
			"2026-11-28  4:48:00 0 [Note] InnoDB: Physically writing the file full; Please wait ...\n" +
			"2026-11-28  4:48:00 0 [ERROR] InnoDB: Cannot allocate memory for the buffer pool\n" +
			"2026-11-28  4:48:00 0 [ERROR] Plugin 'InnoDB' init function returned error.\n" +
			"2026-11-28  4:48:00 0 [ERROR] Aborting\n", "InnoDB: Cannot allocate memory for the buffer pool"},
		"postgresql": {"2026-11-28 04:47:00.123 UTC [12] FATAL:  could not map anonymous shared memory: Cannot allocate memory\n",
			"could not map anonymous shared memory: Cannot allocate memory"},
		"redis": {"12:M 28 Nov 2026 04:47:00.123 # Bad file format reading the append only file /srv/x/appendonly.aof.1.incr.aof: make a backup\n",
			"Bad file format reading the append only file appendonly.aof.1.incr.aof: make a backup"},
		"a tool":  {"pg_basebackup: error: connection to server was refused\n", "connection to server was refused"},
		"nothing": {"all is well\n", "it left no word of why"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := datastores.Reason(test.words); got != test.reason {
				t.Errorf("%q; want %q", got, test.reason)
			}
		})
	}
}

func FuzzTold(f *testing.F) {
	f.Add("x '", "ERROR: `a` \"b\" /c/d/e")
	f.Fuzz(func(t *testing.T, text, words string) {
		told := datastores.Told(fmt.Errorf("%s: %w", text, ended(words)))
		if len(told.Message) > 400 || len(told.Detail) > 2<<10 || strings.ContainsAny(told.Message, "\n\r") || told.Message == "" {
			t.Errorf("%+v", told)
		}
	})
}
