package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// sqlKind is a kind of writes in SQL. In both {n} is the round and {kind} the name. read must answer 1.
type sqlKind struct {
	name  string
	write []string // each is sent by itself
	read  string
}

// kept is where most kinds write to.
const kept = "CREATE TABLE IF NOT EXISTS kept (kind VARCHAR(64), n INT, body TEXT, PRIMARY KEY (kind, n))"

// inKept reads what a kind has written to it.
func inKept(bodies ...string) string {
	return "SELECT GROUP_CONCAT(body ORDER BY kind) = '" + strings.Join(bodies, ",") + "' FROM kept WHERE n = {n} AND kind REGEXP '^{kind}( |$)'"
}

// kinds are the ways in which the server stores something, but for those that lose it by their nature: temporary tables and
// the engine MEMORY. LOAD DATA LOCAL is off by default.
func kinds() (all []datastoretest.WriteKind) {
	for _, k := range sqlKinds() {
		all = append(all, k.kind())
	}
	return all
}

func sqlKinds() []sqlKind { return append(append(rowKinds(), programKinds()...), objectKinds()...) }

func (k sqlKind) kind() datastoretest.WriteKind {
	return datastoretest.WriteKind{
		Name: k.name,
		Write: func(ctx context.Context, s datastoretest.Session, round int) error {
			for _, statement := range append([]string{kept}, k.write...) {
				if _, err := s.(*held).conn.ExecContext(ctx, k.of(round, statement)); err != nil {
					return fmt.Errorf("%s: %w", statement, err)
				}
			}
			return nil
		},
		Read: func(ctx context.Context, s datastoretest.Session, round int) error {
			var found sql.NullInt64
			err := s.(*held).conn.QueryRowContext(ctx, k.of(round, k.read)).Scan(&found)
			if err == nil && found.Int64 != 1 {
				err = fmt.Errorf("the server says %v", found)
			}
			return err
		},
	}
}

func (k sqlKind) of(round int, statement string) string {
	return strings.NewReplacer("{n}", strconv.Itoa(round), "{kind}", k.name).Replace(statement)
}

// insert writes one row of a kind.
const insert = "INSERT INTO kept VALUES ('{kind}', {n}, 'v')"

// rowKinds write rows.
func rowKinds() []sqlKind {
	const second = "INSERT INTO kept VALUES ('{kind} b', {n}, 'w')"
	return []sqlKind{
		{"statement", []string{insert}, inKept("v")},
		{"transaction", []string{"START TRANSACTION", insert, second, "COMMIT"}, inKept("v", "w")},
		{"no autocommit", []string{"SET autocommit = 0", insert, second, "COMMIT", "SET autocommit = 1"}, inKept("v", "w")},
		{"savepoint", []string{
			"START TRANSACTION", insert, "SAVEPOINT s", "INSERT INTO kept VALUES ('{kind} c', {n}, 'no')", "ROLLBACK TO s", second, "COMMIT",
		}, inKept("v", "w")},
		{"two-phase commit", []string{"XA START 'kept-{n}'", insert, second, "XA END 'kept-{n}'", "XA PREPARE 'kept-{n}'", "XA COMMIT 'kept-{n}'"}, inKept("v", "w")},
		{"one-phase commit", []string{"XA START 'once-{n}'", insert, "XA END 'once-{n}'", "XA COMMIT 'once-{n}' ONE PHASE"}, inKept("v")},
		{"prepared statement", []string{"PREPARE p FROM 'INSERT INTO kept VALUES (''{kind}'', ?, ''v'')'", "EXECUTE p USING {n}", "DEALLOCATE PREPARE p"}, inKept("v")},
		{"update", []string{insert, "UPDATE kept SET body = 'w' WHERE kind = '{kind}' AND n = {n}"}, inKept("w")},
		{"upsert", []string{insert, insert + " ON DUPLICATE KEY UPDATE body = 'w'"}, inKept("w")},
		{"replace", []string{insert, "REPLACE INTO kept VALUES ('{kind}', {n}, 'w')"}, inKept("w")},
		{"delete", []string{insert, "INSERT INTO kept VALUES ('{kind} c', {n}, 'no')", "DELETE FROM kept WHERE kind = '{kind} c' AND n = {n}"}, inKept("v")},
		{"several rows", []string{"INSERT INTO kept VALUES ('{kind}', {n}, 'v'), ('{kind} b', {n}, 'w')"}, inKept("v", "w")},
		{"insert select", []string{insert, "INSERT INTO kept SELECT '{kind} b', n, 'w' FROM kept WHERE kind = '{kind}' AND n = {n}"}, inKept("v", "w")},
		{"several tables", []string{
			"CREATE TABLE one_{n} (x INT)", "CREATE TABLE two_{n} (y INT)", "INSERT INTO one_{n} VALUES (1)", "INSERT INTO two_{n} VALUES (1)",
			"UPDATE one_{n}, two_{n} SET x = 3, y = 4 WHERE x = y", "INSERT INTO one_{n} VALUES (9)", "DELETE one_{n} FROM one_{n}, two_{n} WHERE x = y + 5",
		}, "SELECT SUM(x) = 3 AND (SELECT SUM(y) FROM two_{n}) = 4 FROM one_{n}"},
		{"truncate", []string{"CREATE TABLE truncated_{n} (x INT)", "INSERT INTO truncated_{n} VALUES (1)", "TRUNCATE truncated_{n}", "INSERT INTO truncated_{n} VALUES (7)"},
			"SELECT SUM(x) = 7 FROM truncated_{n}"},
		{"large value", []string{"CREATE TABLE large_{n} (body LONGBLOB)", "INSERT INTO large_{n} VALUES (REPEAT(CHAR(0, 255, 39, 92, 10), 20000))"},
			"SELECT SHA2(body, 256) = SHA2(REPEAT(CHAR(0, 255, 39, 92, 10), 20000), 256) FROM large_{n}"},
	}
}

// programKinds have the server run what writes.
func programKinds() []sqlKind {
	return []sqlKind{
		{"procedure", []string{
			"CREATE OR REPLACE PROCEDURE put(n INT) BEGIN INSERT INTO kept VALUES ('{kind}', n, 'v'); COMMIT; INSERT INTO kept VALUES ('{kind} b', n, 'w'); END", "CALL put({n})",
		}, inKept("v", "w")},
		{"function", []string{
			"CREATE OR REPLACE FUNCTION puts(n INT) RETURNS INT BEGIN INSERT INTO kept VALUES ('{kind}', n, 'v'); RETURN n; END", "DO puts({n})",
		}, inKept("v")},
		{"trigger", []string{
			"CREATE TABLE pulled_{n} (x INT)", "CREATE TRIGGER pull_{n} AFTER INSERT ON pulled_{n} FOR EACH ROW INSERT INTO kept VALUES ('{kind}', NEW.x, 'v')",
			"INSERT INTO pulled_{n} VALUES ({n})",
		}, inKept("v")},
		{"block", []string{"BEGIN NOT ATOMIC INSERT INTO kept VALUES ('{kind}', {n}, 'v'); END"}, inKept("v")},
		{"view", []string{"CREATE OR REPLACE VIEW seen AS SELECT kind, n, body FROM kept", "INSERT INTO seen VALUES ('{kind}', {n}, 'v')"}, inKept("v")},
		{"foreign key", []string{
			"CREATE TABLE parent_{n} (id INT PRIMARY KEY)", "CREATE TABLE child_{n} (p INT, FOREIGN KEY (p) REFERENCES parent_{n} (id) ON DELETE CASCADE ON UPDATE CASCADE)",
			"INSERT INTO parent_{n} VALUES (1), (2)", "INSERT INTO child_{n} VALUES (1), (2)", "UPDATE parent_{n} SET id = 7 WHERE id = 1", "DELETE FROM parent_{n} WHERE id = 2",
		}, "SELECT SUM(p) = 7 FROM child_{n}"},
		// What an event writes when its time has come is for the test of the scheduler.
		{"event", []string{"CREATE EVENT later_{n} ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO " + insert},
			"SELECT COUNT(*) = 1 FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() AND EVENT_NAME = 'later_{n}'"},
	}
}

// objectKinds make what rows are in. Every engine that keeps something is there.
func objectKinds() []sqlKind {
	return []sqlKind{
		{"aria", []string{"CREATE TABLE aria_{n} (x INT) ENGINE=Aria TRANSACTIONAL=1", "INSERT INTO aria_{n} VALUES (3), (4)", "UPDATE aria_{n} SET x = 5 WHERE x = 4"}, "SELECT SUM(x) = 8 FROM aria_{n}"},
		{"myisam", []string{"CREATE TABLE myisam_{n} (x INT PRIMARY KEY) ENGINE=MyISAM", "INSERT INTO myisam_{n} VALUES (3), (4)", "UPDATE myisam_{n} SET x = 5 WHERE x = 4"}, "SELECT SUM(x) = 8 FROM myisam_{n} WHERE x > 0"},
		{"csv", []string{"CREATE TABLE csv_{n} (x INT NOT NULL) ENGINE=CSV", "INSERT INTO csv_{n} VALUES (3), (4)"}, "SELECT SUM(x) = 7 FROM csv_{n}"},
		{"compressed", []string{"CREATE TABLE compressed_{n} (x INT, body TEXT COMPRESSED) ROW_FORMAT=COMPRESSED", "INSERT INTO compressed_{n} VALUES (7, REPEAT('v', 5000))"},
			"SELECT x = 7 AND body = REPEAT('v', 5000) FROM compressed_{n}"},
		{"sequence", []string{"CREATE SEQUENCE counted_{n} START WITH 100 CACHE 10", "DO NEXTVAL(counted_{n}), NEXTVAL(counted_{n})"}, "SELECT next_not_cached_value > 100 FROM counted_{n}"},
		{"automatic numbers", []string{"CREATE TABLE numbered_{n} (id INT AUTO_INCREMENT PRIMARY KEY, x INT) AUTO_INCREMENT = 100", "INSERT INTO numbered_{n} (x) VALUES (1), (2)"},
			"SELECT MAX(id) = 101 FROM numbered_{n}"},
		{"create table select", []string{"CREATE TABLE made_{n} SELECT seq FROM seq_1_to_100"}, "SELECT SUM(seq) = 5050 FROM made_{n}"},
		{"alter table", []string{
			"CREATE TABLE altered_{n} (x INT)", "INSERT INTO altered_{n} VALUES (1)", "ALTER TABLE altered_{n} MODIFY x VARCHAR(10), ADD y INT NOT NULL DEFAULT 8, ALGORITHM=COPY",
			"ALTER TABLE altered_{n} ADD z INT NOT NULL DEFAULT 9, ADD INDEX (y)", "ALTER TABLE altered_{n} RENAME COLUMN z TO zz",
		}, "SELECT x = '1' AND y = 8 AND zz = 9 FROM altered_{n}"},
		{"rename and drop", []string{"CREATE TABLE before_{n} (x INT)", "RENAME TABLE before_{n} TO after_{n}", "CREATE TABLE gone_{n} (x INT)", "DROP TABLE gone_{n}"},
			"SELECT GROUP_CONCAT(TABLE_NAME) = 'after_{n}' FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ('before_{n}', 'after_{n}', 'gone_{n}')"},
		{"partitions", []string{"CREATE TABLE parted_{n} (x INT) PARTITION BY RANGE (x) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
			"INSERT INTO parted_{n} VALUES (7), (70), (700)", "ALTER TABLE parted_{n} TRUNCATE PARTITION p0"}, "SELECT SUM(x) = 770 FROM parted_{n}"},
		{"system versions", []string{"CREATE TABLE versioned_{n} (x INT) WITH SYSTEM VERSIONING", "INSERT INTO versioned_{n} VALUES (1)", "UPDATE versioned_{n} SET x = 2"},
			"SELECT GROUP_CONCAT(x ORDER BY x) = '1,2' FROM versioned_{n} FOR SYSTEM_TIME ALL"},
		{"indexes", []string{"CREATE TABLE found_{n} (x INT, y INT AS (x + 1) STORED, INDEX (x), UNIQUE (y))", "INSERT INTO found_{n} (x) VALUES (7)"},
			"SELECT (SELECT COUNT(*) FROM found_{n} FORCE INDEX (x) WHERE x = 7) + (SELECT COUNT(*) FROM found_{n} FORCE INDEX (y) WHERE y = 8) = 2"},
		{"places", []string{"CREATE TABLE placed_{n} (place POINT NOT NULL, SPATIAL INDEX (place))", "INSERT INTO placed_{n} VALUES (POINT(7, 7))"},
			"SELECT COUNT(*) = 1 FROM placed_{n} WHERE MBRCONTAINS(ST_GEOMFROMTEXT('POLYGON((6 6,6 8,8 8,8 6,6 6))'), place)"},
		{"words", []string{"CREATE TABLE said_{n} (words TEXT, FULLTEXT (words))", "INSERT INTO said_{n} VALUES ('elephants remember')"},
			"SELECT COUNT(*) = 1 FROM said_{n} WHERE MATCH(words) AGAINST('elephants')"},
	}
}
