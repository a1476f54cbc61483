package redis

import (
	"bufio"
	"errors"
	"strings"
	"testing"
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

func FuzzReadReply(f *testing.F) {
	f.Add("+PONG\r\n")
	f.Add("$4\r\nabcd\r\n")
	f.Fuzz(func(_ *testing.T, wire string) {
		_, _ = readReply(bufio.NewReader(strings.NewReader(wire)))
	})
}
