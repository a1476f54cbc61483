package cassandra

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// cqlKind is a kind of writes: the table that it needs, once; what it writes, and what a SELECT JSON must find. {n} is the round, {k}
// the keyspace.
type cqlKind struct {
	name  string
	make  []string
	write []string
	reads map[string]string
}

func kinds() (all []datastoretest.WriteKind) {
	for _, k := range cqlKinds() {
		all = append(all, datastoretest.WriteKind{
			Name: k.name,
			Write: func(ctx context.Context, s datastoretest.Session, round int) error {
				return s.(held).exec(ctx, filled(append(k.make, k.write...), s.(held).database, round)...)
			},
			Read: func(ctx context.Context, s datastoretest.Session, round int) error {
				for question, want := range k.reads {
					var got string
					err := s.(held).one(ctx, filled([]string{question}, s.(held).database, round)[0], &got)
					if want = strings.ReplaceAll(want, "{n}", strconv.Itoa(round)); got != want {
						return fmt.Errorf("%s: %s, %w; want %s", question, got, err, want)
					}
				}
				return nil
			},
		})
	}
	return all
}

func filled(statements []string, keyspace string, round int) (list []string) {
	for _, s := range statements {
		list = append(list, strings.NewReplacer("{n}", strconv.Itoa(round), "{k}", name(keyspace)).Replace(s))
	}
	return list
}

func cqlKinds() []cqlKind {
	const table = "CREATE TABLE IF NOT EXISTS {k}."
	return []cqlKind{
		{"insert", []string{table + "plain (n int PRIMARY KEY, v text)"}, []string{"INSERT INTO {k}.plain (n, v) VALUES ({n}, 'v')"},
			map[string]string{"SELECT JSON n, v FROM {k}.plain WHERE n = {n}": `{"n": {n}, "v": "v"}`}},
		{"update and delete", []string{table + "changed (n int, c int, v text, PRIMARY KEY (n, c))"},
			[]string{
				"INSERT INTO {k}.changed (n, c, v) VALUES ({n}, 1, 'a')", "INSERT INTO {k}.changed (n, c, v) VALUES ({n}, 2, 'a')",
				"UPDATE {k}.changed SET v = 'b' WHERE n = {n} AND c = 1", "DELETE FROM {k}.changed WHERE n = {n} AND c = 2",
			},
			map[string]string{"SELECT JSON c, v FROM {k}.changed WHERE n = {n}": `{"c": 1, "v": "b"}`, "SELECT JSON count(*) FROM {k}.changed WHERE n = {n}": `{"count": 1}`}},
		{"batch", []string{table + "plain (n int PRIMARY KEY, v text)", table + "batched (n int PRIMARY KEY, v text)"},
			[]string{"BEGIN BATCH INSERT INTO {k}.batched (n, v) VALUES ({n}, 'v'); INSERT INTO {k}.plain (n, v) VALUES (77{n}, 'w'); APPLY BATCH"},
			map[string]string{"SELECT JSON v FROM {k}.batched WHERE n = {n}": `{"v": "v"}`}},
		{"condition", []string{table + "conditional (n int PRIMARY KEY, v text)"},
			[]string{"INSERT INTO {k}.conditional (n, v) VALUES ({n}, 'a') IF NOT EXISTS", "UPDATE {k}.conditional SET v = 'b' WHERE n = {n} IF v = 'a'"},
			map[string]string{"SELECT JSON v FROM {k}.conditional WHERE n = {n}": `{"v": "b"}`}},
		{"counter", []string{table + "counted (n int PRIMARY KEY, c counter)"},
			[]string{"UPDATE {k}.counted SET c = c + 41 WHERE n = {n}", "UPDATE {k}.counted SET c = c + 1 WHERE n = {n}"},
			map[string]string{"SELECT JSON c FROM {k}.counted WHERE n = {n}": `{"c": 42}`}},
		{"collections", []string{table + "collected (n int PRIMARY KEY, l list<int>, s set<text>, m map<text, int>)"},
			[]string{
				"INSERT INTO {k}.collected (n, l, s, m) VALUES ({n}, [1], {'a', 'b'}, {'x': 1})",
				"UPDATE {k}.collected SET l = l + [2], s = s - {'b'}, m['y'] = 2 WHERE n = {n}",
			},
			map[string]string{"SELECT JSON l, s, m FROM {k}.collected WHERE n = {n}": `{"l": [1, 2], "s": ["a"], "m": {"x": 1, "y": 2}}`}},
		{"time to live", []string{table + "mortal (n int PRIMARY KEY, v text)"}, []string{"INSERT INTO {k}.mortal (n, v) VALUES ({n}, 'v') USING TTL 99999"},
			map[string]string{"SELECT JSON v FROM {k}.mortal WHERE n = {n}": `{"v": "v"}`}},
		{"type and index", []string{
			"CREATE TYPE IF NOT EXISTS {k}.place (town text)", table + "indexed (n int PRIMARY KEY, p frozen<place>, v text)",
			"CREATE INDEX IF NOT EXISTS by_v ON {k}.indexed (v)",
		},
			[]string{"INSERT INTO {k}.indexed (n, p, v) VALUES ({n}, {town: 'Graz'}, 'v{n}')"},
			map[string]string{"SELECT JSON p FROM {k}.indexed WHERE v = 'v{n}'": `{"p": {"town": "Graz"}}`}},
		{"a table of its own", []string{table + "own{n} (n int PRIMARY KEY)"}, []string{"INSERT INTO {k}.own{n} (n) VALUES ({n})", "TRUNCATE {k}.own{n}", "INSERT INTO {k}.own{n} (n) VALUES (1)"},
			map[string]string{"SELECT JSON n FROM {k}.own{n}": `{"n": 1}`}},
	}
}
