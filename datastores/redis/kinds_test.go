package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// commandKind is a kind of writes. The words of a command stand between bars, {n} is the round. reads tells which answer
// each command must have.
type commandKind struct {
	name  string
	write []string
	reads map[string]string
}

// library has a function that writes two keys, and one that reads a key.
const library = "#!lua name={name}\nredis.register_function('put{name}', function(keys, args) " +
	"redis.call('SET', keys[1], args[1]) redis.call('SET', keys[2], args[1]) return 1 end)\n" +
	"redis.register_function{function_name='get{name}', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}"

func libraryOf(name string) string { return strings.ReplaceAll(library, "{name}", name) }

// kinds are the ways in which the server stores something. The server keeps no script that was only loaded, and no message. An
// estimate is not counted: that would change it, on a replica for itself.
func kinds() (all []datastoretest.WriteKind) {
	for _, k := range append(append(valueKinds(), typeKinds()...), programKinds()...) {
		all = append(all, datastoretest.WriteKind{
			Name: k.name,
			Write: func(ctx context.Context, s datastoretest.Session, round int) error {
				// A connection of its own: a transaction or another database is for this one alone.
				c := s.(held).client.Conn()
				defer func() { _ = c.Close() }()
				for _, command := range k.write {
					if err := c.Do(ctx, barred(command, round)...).Err(); err != nil {
						return fmt.Errorf("%s: %w", command, err)
					}
				}
				return nil
			},
			Read: func(ctx context.Context, s datastoretest.Session, round int) error {
				for command, want := range k.reads {
					got, err := s.(held).client.Do(ctx, barred(command, round)...).Result()
					if fmt.Sprint(got) != want {
						return fmt.Errorf("%s: %v, %v", command, got, err)
					}
				}
				return nil
			},
		})
	}
	return all
}

func barred(command string, round int) (args []any) {
	for word := range strings.SplitSeq(strings.ReplaceAll(command, "{n}", strconv.Itoa(round)), "|") {
		args = append(args, word)
	}
	return args
}

func valueKinds() []commandKind {
	return []commandKind{
		{"set", []string{"SET|plain:{n}|v"}, map[string]string{"GET|plain:{n}": "v"}},
		{"several keys", []string{"MSET|ma:{n}|v|mb:{n}|w"}, map[string]string{"MGET|ma:{n}|mb:{n}": "[v w]"}},
		{"changed values", []string{"INCRBY|count:{n}|41", "INCR|count:{n}", "APPEND|text:{n}|ab", "SETRANGE|text:{n}|1|xyz", "SETBIT|bits:{n}|7|1"},
			map[string]string{"GET|count:{n}": "42", "GET|text:{n}": "axyz", "BITCOUNT|bits:{n}": "1"}},
		{"expiry", []string{"SET|long:{n}|v|EX|99999", "SET|kept:{n}|v|EX|99999", "PERSIST|kept:{n}", "SET|later:{n}|v", "EXPIRE|later:{n}|99999"},
			map[string]string{"EXISTS|long:{n}|kept:{n}|later:{n}": "3", "TTL|kept:{n}": "-1"}},
		{"delete", []string{"SET|gone:{n}|v", "SET|stays:{n}|v", "DEL|gone:{n}", "SET|taken:{n}|v", "GETDEL|taken:{n}"},
			map[string]string{"EXISTS|gone:{n}|taken:{n}|stays:{n}": "1"}},
		{"rename and copy", []string{"SET|before:{n}|v", "RENAME|before:{n}|after:{n}", "COPY|after:{n}|copy:{n}"},
			map[string]string{"MGET|before:{n}|after:{n}|copy:{n}": "[<nil> v v]"}},
		{"other database", []string{"SELECT|3", "SET|other:{n}|v", "MOVE|other:{n}|0", "SELECT|0"}, map[string]string{"GET|other:{n}": "v"}},
	}
}

func typeKinds() []commandKind {
	return []commandKind{
		{"hash", []string{"HSET|hash:{n}|f|v|g|w", "HDEL|hash:{n}|g", "HINCRBY|hash:{n}|h|7"}, map[string]string{"HMGET|hash:{n}|f|g|h": "[v <nil> 7]"}},
		{"list", []string{"RPUSH|list:{n}|a|b|c", "LMOVE|list:{n}|moved:{n}|LEFT|RIGHT", "LPOP|list:{n}"},
			map[string]string{"LRANGE|list:{n}|0|-1": "[c]", "LRANGE|moved:{n}|0|-1": "[a]"}},
		{"blocking list", []string{"RPUSH|blocking:{n}|a|b", "BLMOVE|blocking:{n}|blocked:{n}|LEFT|RIGHT|1", "RPUSH|blocking:{n}|c", "BLPOP|blocking:{n}|1"},
			map[string]string{"LRANGE|blocking:{n}|0|-1": "[c]", "LRANGE|blocked:{n}|0|-1": "[a]"}},
		{"set of members", []string{"SADD|set:{n}|a|b", "SADD|also:{n}|b", "SINTERSTORE|both:{n}|set:{n}|also:{n}", "SMOVE|set:{n}|also:{n}|a"},
			map[string]string{"SMEMBERS|both:{n}": "[b]", "SCARD|also:{n}": "2"}},
		{"sorted set", []string{"ZADD|sorted:{n}|1|a|2|b", "ZINCRBY|sorted:{n}|5|a", "ZRANGESTORE|top:{n}|sorted:{n}|1|1"},
			map[string]string{"ZRANGE|sorted:{n}|0|-1": "[b a]", "ZRANGE|top:{n}|0|-1": "[a]"}},
		{"estimates and places", []string{"PFADD|estimate:{n}|a|b|c", "GEOADD|places:{n}|16.37|48.21|vienna"}, map[string]string{
			"EXISTS|estimate:{n}": "1", "ZCARD|places:{n}": "1",
		}},
		{"stream", []string{"XADD|stream:{n}|1-1|f|v", "XADD|stream:{n}|2-1|f|w", "XDEL|stream:{n}|1-1", "XADD|stream:{n}|3-1|f|x"},
			map[string]string{"XRANGE|stream:{n}|-|+": "[[2-1 [f w]] [3-1 [f x]]]"}},
		{"readers of a stream", []string{"XADD|read:{n}|1-1|f|v", "XADD|read:{n}|2-1|f|v", "XGROUP|CREATE|read:{n}|g|0", "XREADGROUP|GROUP|g|c|STREAMS|read:{n}|>", "XACK|read:{n}|g|1-1"},
			map[string]string{"XPENDING|read:{n}|g": "[1 2-1 2-1 [[c 1]]]"}},
	}
}

func programKinds() []commandKind {
	const script = "redis.call('SET', KEYS[1], 'v') redis.call('SET', KEYS[2], 'v') return 1"
	return []commandKind{
		{"transaction", []string{"MULTI", "SET|multi:{n}|v", "HSET|multi-hash:{n}|f|v", "EXPIRE|multi:{n}|99999", "EXEC"},
			map[string]string{"GET|multi:{n}": "v", "HGET|multi-hash:{n}|f": "v"}},
		{"transaction that watches", []string{"WATCH|watched:{n}", "MULTI", "SET|watched:{n}|v", "SET|watched-too:{n}|v", "EXEC"},
			map[string]string{"MGET|watched:{n}|watched-too:{n}": "[v v]"}},
		{"transaction in another database", []string{"SELECT|3", "MULTI", "SET|far:{n}|v", "MOVE|far:{n}|0", "SELECT|0", "SET|near:{n}|v", "EXEC"},
			map[string]string{"MGET|far:{n}|near:{n}": "[v v]"}},
		{"script", []string{"EVAL|" + script + "|2|eval:{n}|eval-too:{n}"}, map[string]string{"MGET|eval:{n}|eval-too:{n}": "[v v]"}},
		{"script in a transaction", []string{"MULTI", "EVAL|" + script + "|2|inner:{n}|inner-too:{n}", "SET|outer:{n}|v", "EXEC"},
			map[string]string{"MGET|inner:{n}|inner-too:{n}|outer:{n}": "[v v v]"}},
		{"function", []string{"FUNCTION|LOAD|" + libraryOf("lib{n}"), "FCALL|putlib{n}|2|function:{n}|function-too:{n}|v"},
			map[string]string{"MGET|function:{n}|function-too:{n}": "[v v]", "FCALL_RO|getlib{n}|1|function:{n}": "v"}},
		{"function in a transaction", []string{"MULTI", "FUNCTION|LOAD|" + libraryOf("multilib{n}"), "FCALL|putmultilib{n}|2|called:{n}|called-too:{n}|v", "EXEC"},
			map[string]string{"MGET|called:{n}|called-too:{n}": "[v v]", "FCALL_RO|getmultilib{n}|1|called:{n}": "v"}},
		{"changed library", []string{"FUNCTION|LOAD|" + libraryOf("old{n}"), "FUNCTION|LOAD|" + libraryOf("new{n}"), "FUNCTION|DELETE|old{n}", "SET|changed:{n}|v"},
			map[string]string{"FCALL_RO|getnew{n}|1|changed:{n}": "v"}},
	}
}
