package redis

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadReply(t *testing.T) {
	for wire, want := range map[string]string{
		"+PONG\r\n":           "PONG",
		":42\r\n":             "42",
		"$4\r\na\r\nb\r\n":    "a\r\nb",
		"$0\r\n\r\n":          "",
		"$-1\r\n":             "",
		"-ERR no\r\n":         "error: ERR no",
		"$9999999999\r\nx":    `error: a reply of "9999999999" bytes`,
		"*1\r\n+a\r\n":        `error: a reply of an unknown kind: "*1"`,
		"\r\n":                "error: an empty reply",
		"$5\r\nab":            "error: unexpected EOF",
		"+cut":                "error: EOF",
		"-LOADING wait a\r\n": "error: LOADING wait a",
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(wire)))
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%q read as %q, want %q", wire, got, want)
		}
	}
	var e replyError
	if _, err := readReply(bufio.NewReader(strings.NewReader("-ERR no\r\n"))); !errors.As(err, &e) {
		t.Errorf("an error of the server's is %T", err)
	}
}

func TestRequest(t *testing.T) {
	if got := string(request([]string{"SET", "", "a\r\nb"})); got != "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\r\nb\r\n" {
		t.Errorf("request = %q", got)
	}
}

func TestReadList(t *testing.T) {
	for wire, want := range map[string]string{
		"*0\r\n":                           "[]",
		"*2\r\n$1\r\na\r\n$3\r\nb\r\n\r\n": `["a" "b\r\n"]`,
		"*3\r\n+OK\r\n:1\r\n$-1\r\n":       `["OK" "1" ""]`,
		"*2\r\n-ERR a\r\n+OK\r\n":          "error: ERR a",
		"-NOPERM no\r\n":                   "error: NOPERM no",
		"*1\r\n*1\r\n+a\r\n":               `error: a reply of an unknown kind: "*1"`,
		"*-1\r\n":                          `error: want a list, got "*-1"`,
		"*999999999\r\n":                   `error: want a list, got "*999999999"`,
		"+OK\r\n":                          `error: want a list, got "+OK"`,
		"*2\r\n+a\r\n":                     "error: EOF",
	} {
		list, err := readList(bufio.NewReader(strings.NewReader(wire)))
		got := fmt.Sprintf("%q", list)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%q read as %s, want %s", wire, got, want)
		}
	}
}

func TestParseInfo(t *testing.T) {
	got := parseInfo("# Replication\r\nrole:master\r\nslave0:ip=127.0.0.1,port=1\r\n\r\n:\r\nx")
	want := map[string]string{"role": "master", "slave0": "ip=127.0.0.1,port=1", "": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add("+PONG\r\n")
	f.Add("$4\r\nabcd\r\n")
	f.Add("*2\r\n$1\r\na\r\n-ERR\r\n")
	f.Add("user default on #00 ~* &* +@all\nrole:master\r\n:")
	f.Fuzz(func(_ *testing.T, wire string) {
		_, _ = readReply(bufio.NewReader(strings.NewReader(wire)))
		_, _ = readList(bufio.NewReader(strings.NewReader(wire)))
		parseInfo(wire)
		parseAccounts(strings.Split(wire, "\n"))
	})
}
