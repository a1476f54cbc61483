package postgresql

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// sqlKind is a kind of writes in SQL. In both {n} is the round. read must answer true.
type sqlKind struct {
	name  string
	write []string // each is sent by itself
	read  string
}

// kept is where most kinds write to.
const kept = `CREATE TABLE IF NOT EXISTS kept (kind text, n int, body text, PRIMARY KEY (kind, n))`

// inKept reads what a kind has written to it.
func inKept(bodies ...string) string {
	return "SELECT string_agg(body, ',' ORDER BY kind) = '" + strings.Join(bodies, ",") + "' FROM kept WHERE n = {n} AND kind ~ '^{kind}( |$)'"
}

// kinds are the ways in which the server stores something, but for those that lose it by their nature: temporary and unlogged
// tables, advisory locks, notifications. No transaction can be prepared: max_prepared_transactions is 0 by default.
func kinds() (all []datastoretest.WriteKind) {
	for _, k := range append(append(rowKinds(), objectKinds()...), settingKinds()...) {
		all = append(all, datastoretest.WriteKind{
			Name: k.name,
			Write: func(ctx context.Context, s datastoretest.Session, round int) error {
				for _, statement := range append([]string{kept}, k.write...) {
					if err := s.(held).exec(ctx, k.of(round, statement)); err != nil {
						return err
					}
				}
				return nil
			},
			Read: func(ctx context.Context, s datastoretest.Session, round int) error {
				found, err := s.(held).one(ctx, k.of(round, k.read))
				if err == nil && !found.bool() {
					err = errors.New("the server says " + strconv.Quote(found.String()))
				}
				return err
			},
		})
	}
	return append(all, copyKind())
}

func (k sqlKind) of(round int, statement string) string {
	return strings.NewReplacer("{n}", strconv.Itoa(round), "{kind}", k.name).Replace(statement)
}

// copyKind is COPY FROM STDIN.
func copyKind() datastoretest.WriteKind {
	return datastoretest.WriteKind{
		Name: "copy",
		Write: func(ctx context.Context, s datastoretest.Session, round int) error {
			row := "copy\t" + strconv.Itoa(round) + "\tv\n"
			_, err := s.(held).conn.CopyFrom(ctx, strings.NewReader(row), "COPY kept FROM STDIN")
			return err
		},
		Read: func(ctx context.Context, s datastoretest.Session, round int) error {
			rows, err := s.(held).column(ctx, "SELECT body FROM kept WHERE kind = 'copy' AND n = $1", strconv.Itoa(round))
			if err == nil && (len(rows) != 1 || rows[0] != "v") {
				err = errors.New("the rows are " + strings.Join(rows, ","))
			}
			return err
		},
	}
}

// rowKinds write rows.
func rowKinds() []sqlKind {
	const insert = "INSERT INTO kept VALUES ('{kind}', {n}, 'v')"
	return []sqlKind{
		{"statement", []string{insert}, inKept("v")},
		{"transaction", []string{"BEGIN", insert, "INSERT INTO kept VALUES ('{kind} b', {n}, 'w')", "COMMIT"}, inKept("v", "w")},
		{"savepoint", []string{
			"BEGIN", insert, "SAVEPOINT s", "INSERT INTO kept VALUES ('{kind} b', {n}, 'no')", "ROLLBACK TO s",
			"INSERT INTO kept VALUES ('{kind} c', {n}, 'w')", "RELEASE s", "COMMIT",
		}, inKept("v", "w")},
		{"prepared statement", []string{"PREPARE p AS INSERT INTO kept VALUES ('{kind}', $1, 'v')", "EXECUTE p ({n})", "DEALLOCATE p"}, inKept("v")},
		{"update", []string{insert, "UPDATE kept SET body = 'w' WHERE kind = '{kind}' AND n = {n}"}, inKept("w")},
		{"upsert", []string{insert, insert + " ON CONFLICT (kind, n) DO UPDATE SET body = 'w'"}, inKept("w")},
		{"merge", []string{insert, `MERGE INTO kept USING (VALUES ({n})) AS x(n) ON kept.kind = '{kind}' AND kept.n = x.n WHEN MATCHED THEN UPDATE SET body = 'w'`}, inKept("w")},
		{"delete", []string{
			insert, "INSERT INTO kept VALUES ('{kind} b', {n}, 'no')", "DELETE FROM kept WHERE kind = '{kind} b' AND n = {n}",
		}, inKept("v")},
		{"truncate", []string{"CREATE TABLE truncated_{n} AS SELECT 1 AS x", "TRUNCATE truncated_{n}", "INSERT INTO truncated_{n} VALUES (7)"}, "SELECT sum(x) = 7 FROM truncated_{n}"},
		{"writes of a query", []string{"WITH w AS (INSERT INTO kept VALUES ('{kind}', {n}, 'v') RETURNING n) INSERT INTO kept SELECT '{kind} b', n, 'w' FROM w"}, inKept("v", "w")},
		{"block", []string{"DO $$ BEGIN " + insert + "; END $$"}, inKept("v")},
		{"function", []string{
			"CREATE OR REPLACE FUNCTION put(n int) RETURNS void LANGUAGE sql AS $$ INSERT INTO kept VALUES ('{kind}', n, 'v') $$", "SELECT put({n})",
		}, inKept("v")},
		{"procedure", []string{
			"CREATE OR REPLACE PROCEDURE puts(n int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO kept VALUES ('{kind}', n, 'v'); COMMIT; " +
				"INSERT INTO kept VALUES ('{kind} b', n, 'w'); END $$", "CALL puts({n})",
		}, inKept("v", "w")},
		{"trigger", []string{
			"CREATE TABLE pulled_{n} (x int)",
			"CREATE FUNCTION pulled_{n}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO kept VALUES ('{kind}', NEW.x, 'v'); RETURN NEW; END $$",
			"CREATE TRIGGER pulled BEFORE INSERT ON pulled_{n} FOR EACH ROW EXECUTE FUNCTION pulled_{n}()",
			"INSERT INTO pulled_{n} VALUES ({n})",
		}, inKept("v")},
		{"rule", []string{
			"CREATE TABLE ruled_{n} (x int)", "CREATE RULE r AS ON INSERT TO ruled_{n} DO ALSO INSERT INTO kept VALUES ('{kind}', NEW.x, 'v')",
			"INSERT INTO ruled_{n} VALUES ({n})",
		}, inKept("v")},
		{"view", []string{"CREATE OR REPLACE VIEW seen AS SELECT * FROM kept", "INSERT INTO seen VALUES ('{kind}', {n}, 'v')"}, inKept("v")},
		{"large value", []string{"INSERT INTO kept SELECT '{kind}', {n}, string_agg(md5(i::text), '') FROM generate_series(1, 2000) i"},
			"SELECT md5(body) = md5((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) i)) FROM kept WHERE kind = '{kind}' AND n = {n}"},
		{"large object", []string{"INSERT INTO kept SELECT '{kind}', {n}, lo_from_bytea(0, 'large {n}')::text"},
			"SELECT convert_from(lo_get(body::oid), 'UTF8') = 'large {n}' FROM kept WHERE kind = '{kind}' AND n = {n}"},
	}
}

// objectKinds make what rows are in, and what finds them.
func objectKinds() []sqlKind {
	return []sqlKind{
		{"sequence", []string{"CREATE SEQUENCE counted_{n} START 100", "SELECT nextval('counted_{n}'), nextval('counted_{n}')"}, "SELECT last_value > 100 FROM counted_{n}"},
		{"identity", []string{"CREATE TABLE known_{n} (id int GENERATED ALWAYS AS IDENTITY, x int)", "INSERT INTO known_{n} (x) VALUES (1), (2)"},
			"SELECT max(id) = 2 AND (SELECT last_value >= 2 FROM known_{n}_id_seq) FROM known_{n}"},
		{"create table as", []string{"CREATE TABLE made_{n} AS SELECT i FROM generate_series(1, 100) i"}, "SELECT sum(i) = 5050 FROM made_{n}"},
		{"select into", []string{"SELECT i INTO chosen_{n} FROM generate_series(1, 100) i"}, "SELECT sum(i) = 5050 FROM chosen_{n}"},
		{"alter table", []string{
			"CREATE TABLE altered_{n} AS SELECT 1 AS x", "ALTER TABLE altered_{n} ALTER x TYPE text, ADD y int NOT NULL DEFAULT 8", "ALTER TABLE altered_{n} RENAME y TO z",
		}, "SELECT x = '1' AND z = 8 FROM altered_{n}"},
		{"drop table", []string{"CREATE TABLE gone_{n} (x int)", "CREATE TABLE stays_{n} (x int)", "DROP TABLE gone_{n}"},
			"SELECT to_regclass('gone_{n}') IS NULL AND to_regclass('stays_{n}') IS NOT NULL"},
		{"partitions", []string{
			"CREATE TABLE parted_{n} (x int) PARTITION BY RANGE (x)", "CREATE TABLE part_{n} PARTITION OF parted_{n} FOR VALUES FROM (0) TO (10)", "INSERT INTO parted_{n} VALUES (7)",
		}, "SELECT sum(x) = 7 FROM part_{n}"},
		{"materialized view", []string{"CREATE TABLE source_{n} AS SELECT 1 AS x", "CREATE MATERIALIZED VIEW copied_{n} AS SELECT * FROM source_{n}",
			"UPDATE source_{n} SET x = 2", "REFRESH MATERIALIZED VIEW copied_{n}"}, "SELECT x = 2 FROM copied_{n}"},
		{"indexes", []string{
			"CREATE TABLE found_{n} (a int, b int[], c point, d int)", "CREATE INDEX ON found_{n} USING hash (a)", "CREATE INDEX ON found_{n} USING gin (b)",
			"CREATE INDEX ON found_{n} USING gist (c)", "CREATE INDEX ON found_{n} USING brin (d)", "INSERT INTO found_{n} VALUES (7, '{7}', '(7,7)', 7)",
			"CREATE FUNCTION find_{n}() RETURNS bigint LANGUAGE sql SET enable_seqscan TO off SET jit TO off AS $$ SELECT (SELECT count(*) FROM found_{n} WHERE a = 7)" +
				" + (SELECT count(*) FROM found_{n} WHERE b @> '{7}') + (SELECT count(*) FROM found_{n} WHERE c ~= '(7,7)') + (SELECT count(*) FROM found_{n} WHERE d = 7) $$",
		}, "SELECT find_{n}() = 4"},
		{"schema", []string{"CREATE SCHEMA \"Schema {n}\"", "CREATE TABLE \"Schema {n}\".t AS SELECT 7 AS x"}, "SELECT x = 7 FROM \"Schema {n}\".t"},
		{"types", []string{
			"CREATE TYPE mood_{n} AS ENUM ('sad', 'ok')", "ALTER TYPE mood_{n} ADD VALUE 'happy'", "CREATE DOMAIN even_{n} AS int CHECK (VALUE % 2 = 0)",
			"CREATE TABLE typed_{n} AS SELECT 'happy'::mood_{n} AS m, 2::even_{n} AS e",
		}, "SELECT m = 'happy' AND e = 2 FROM typed_{n}"},
		{"foreign key", []string{"CREATE TABLE parent_{n} (id int PRIMARY KEY)", "CREATE TABLE child_{n} (p int REFERENCES parent_{n})"},
			"SELECT count(*) = 1 FROM pg_constraint WHERE conrelid = 'child_{n}'::regclass AND confrelid = 'parent_{n}'::regclass"},
		{"extension", []string{"CREATE EXTENSION IF NOT EXISTS citext", "CREATE TABLE extended_{n} AS SELECT 'V'::citext AS x"}, "SELECT x = 'v' FROM extended_{n}"},
	}
}

// settingKinds say how things are to be.
func settingKinds() []sqlKind {
	return []sqlKind{
		{"grant", []string{"CREATE TABLE granted_{n} (x int)", "GRANT SELECT ON granted_{n} TO PUBLIC"},
			"SELECT relacl::text LIKE '%=r/%' FROM pg_class WHERE oid = 'granted_{n}'::regclass"},
		{"policy", []string{"CREATE TABLE guarded_{n} (x int)", "CREATE POLICY mine ON guarded_{n} USING (x > 0)", "ALTER TABLE guarded_{n} ENABLE ROW LEVEL SECURITY"},
			"SELECT relrowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid) FROM pg_class c WHERE oid = 'guarded_{n}'::regclass"},
		{"comment", []string{"CREATE TABLE described_{n} (x int)", "COMMENT ON TABLE described_{n} IS 'said'"}, "SELECT obj_description('described_{n}'::regclass) = 'said'"},
		{"setting of a role", []string{"ALTER ROLE CURRENT_USER SET geqo_pool_size = {n}"},
			"SELECT count(*) = 1 FROM pg_db_role_setting s, unnest(setconfig) c WHERE setrole = CURRENT_USER::regrole AND setdatabase = 0" +
				" AND c ~ '^geqo_pool_size=' AND split_part(c, '=', 2)::int >= {n}"},
		{"setting of a role in a database", []string{"DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET geqo_pool_size = {n}', current_database()); END $$"},
			"SELECT count(*) = 1 FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase, unnest(setconfig) c" +
				" WHERE setrole = CURRENT_USER::regrole AND datname = current_database() AND c ~ '^geqo_pool_size=' AND split_part(c, '=', 2)::int >= {n}"},
	}
}
