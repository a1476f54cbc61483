package redis

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// askUser is who puts a tenant's question. It is in the server's memory only, and only while it asks.
const askUser = "coffer-question"

// scanned is about how many keys are looked at at once.
const scanned = "1000"

// Check implements [datastores.Checker]. A server has read all that it holds, and held it against the checksum of its file, when it
// has started; what is counted and summed up here is what it has made of that: each key with its type, its length, and of texts the first MiB.
func (m *Manager) Check(ctx context.Context) (datastores.CheckReport, error) {
	report := datastores.CheckReport{By: "SCAN", Unit: "keys"}
	fields, err := m.info(ctx, "keyspace")
	if err != nil {
		return report, err
	}
	var sum datastores.Digest
	for name := range fields {
		number, ok := strings.CutPrefix(name, "db")
		if !ok {
			continue
		}
		err := m.talk(ctx, func(c *conn) error {
			if _, err := c.call("SELECT", number); err != nil {
				return err
			}
			count, err := c.call("DBSIZE")
			if err != nil {
				return err
			}
			n, err := strconv.ParseInt(count, 10, 64)
			if err != nil {
				return err
			}
			report.Objects += n
			return c.sumKeys(number, &sum)
		})
		if err != nil {
			return report, err
		}
	}
	report.Digest = sum.String()
	return report, nil
}

// sumKeys adds what each key of a database is to a sum, which the order of keys does not change. A server names a key twice only while its table
// shrinks: nobody deletes from one that is looked at.
func (c *conn) sumKeys(database string, sum *datastores.Digest) error {
	for cursor := "0"; ; {
		if err := c.allow(callTimeout); err != nil {
			return err
		}
		next, keys, err := c.scan(cursor)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := c.allow(callTimeout); err != nil {
				return err
			}
			what, err := c.describe(key)
			if err != nil {
				return err
			}
			sum.Add(database, key, what)
		}
		if cursor = next; cursor == "0" {
			return nil
		}
	}
}

// scan reads some keys, and the cursor of the next ones.
func (c *conn) scan(cursor string) (next string, keys []string, err error) {
	if _, err := c.Write(request([]string{"SCAN", cursor, "COUNT", scanned})); err != nil {
		return "", nil, err
	}
	kind, rest, err := readLine(c.r)
	if err != nil {
		return "", nil, err
	}
	if kind == '-' {
		return "", nil, replyError(rest)
	}
	if kind != '*' || rest != "2" {
		return "", nil, fmt.Errorf("want a cursor and keys, got %.40q", string(kind)+rest)
	}
	if next, err = readReply(c.r); err == nil {
		keys, err = readList(c.r)
	}
	return next, keys, err
}

// lengths are the commands that tell the length of a key, by its type.
func lengths() map[string]string {
	return map[string]string{"string": "STRLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "stream": "XLEN"}
}

// describe is the type of a key and its length, and of a text its first MiB. A key that has expired meanwhile is of type none.
func (c *conn) describe(key string) (string, error) {
	kind, err := c.call("TYPE", key)
	command := lengths()[kind]
	if err != nil || command == "" {
		return kind, err
	}
	length, err := c.call(command, key)
	if err != nil || kind != "string" {
		return kind + " " + length, err
	}
	text, err := c.call("GETRANGE", key, "0", strconv.Itoa(maxReply-1))
	return kind + " " + length + " " + text, err
}

// Ask implements [datastores.Checker]. The question is a command of words, of which one in double quotes may have spaces; its account may
// read keys, and nothing else. Items of a list are lines of the answer.
func (m *Manager) Ask(ctx context.Context, q datastores.Question) (answer string, err error) {
	refused := datastores.Errorf(datastores.Invalid, "the server does not take the question: it must be one command that only reads")
	command, ok := wordsOf(q.Query.Reveal())
	if !ok {
		return "", refused
	}
	password := rand.Text()
	rules := []string{"ACL", "SETUSER", askUser, "reset", "on", "#" + hashed(password), "~*", "-@all", "+@read", "-@dangerous", "+select"}
	if err := m.call(ctx, rules); err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, m.call(context.WithoutCancel(ctx), []string{"ACL", "DELUSER", askUser}))
	}()
	c, err := m.dial(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.call("AUTH", askUser, password); err != nil {
		return "", fmt.Errorf("AUTH: %w", err)
	}
	if q.Database != "" {
		if _, err := c.call("SELECT", q.Database); err != nil {
			return "", datastores.Errorf(datastores.Invalid, "the server does not take the question: its databases have numbers")
		}
	}
	if _, err := c.Write(request(command)); err != nil {
		return "", err
	}
	var lines datastores.Answer
	var said replyError
	switch err := readAnswer(c.r, &lines, maxDepth); {
	case errors.As(err, &said):
		return "", refused // the text may quote the question
	case err != nil:
		return "", err
	}
	return lines.String(), nil
}

const maxDepth = 8 // of lists in lists

var errLongAnswer = datastores.Errorf(datastores.Invalid, "the answer has more than %d bytes", datastores.MaxAnswer)

// readAnswer writes a reply of any kind, each text a line.
func readAnswer(r *bufio.Reader, to *datastores.Answer, depth int) error {
	kind, err := r.Peek(1)
	if err != nil {
		return err
	}
	if kind[0] != '*' {
		text, err := readReply(r)
		if err != nil {
			return err
		}
		return to.Row([]byte(text))
	}
	_, rest, err := readLine(r)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n > maxItems || depth == 0 {
		return errLongAnswer
	}
	for range n {
		if err := readAnswer(r, to, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// wordsOf divides a command into words. One in double quotes has spaces, and no quotes.
func wordsOf(text string) (words []string, ok bool) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimLeft(text, " \t\r\n") {
		var word string
		if rest, quoted := strings.CutPrefix(text, `"`); quoted {
			if word, text, ok = strings.Cut(rest, `"`); !ok {
				return nil, false
			}
		} else if i := strings.IndexAny(text, " \t\r\n"); i >= 0 {
			word, text = text[:i], text[i:]
		} else {
			word, text = text, ""
		}
		words = append(words, word)
	}
	return words, len(words) > 0
}
