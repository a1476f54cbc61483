package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
)

// docs/protocol.md must not lie: each of its messages is one of the type that is named above it, nothing lost, and
// every field of every type, call, header, limit and kind of error is on the page.
func TestProtocolPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	messages := map[string]any{
		"EnrollRequest": &agentpoll.EnrollRequest{}, "EnrollReply": &agentpoll.EnrollReply{},
		"PollRequest": &agentpoll.PollRequest{}, "PollReply": &agentpoll.PollReply{},
		"Progress": &agentpoll.Progress{}, "Result": &agentpoll.Result{},
		"RotateRequest": &agentpoll.RotateRequest{}, "RotateReply": &agentpoll.RotateReply{},
	}
	example := regexp.MustCompile("(?s)<!-- (\\w+) -->\n```json\n(.*?)```")
	fields := map[string]bool{}
	for _, m := range example.FindAllSubmatch(page, -1) {
		name, text := string(m[1]), m[2]
		message, ok := messages[name]
		if !ok {
			t.Errorf("%s is no message", name)
			continue
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(message); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		_ = json.Unmarshal(text, &want)
		_ = json.Unmarshal(again, &got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is not what Go makes of it: %s", name, diff)
		}
		mark(fields, reflect.ValueOf(message).Elem())
		messages[name] = reflect.New(reflect.TypeOf(message).Elem()).Interface()
	}
	for _, message := range messages {
		for _, field := range fieldsOf(reflect.TypeOf(message).Elem()) {
			if !fields[field] {
				t.Errorf("no example shows %s", field)
			}
		}
	}
	for _, want := range []string{
		"POST " + agentpoll.PathEnroll, "POST " + agentpoll.PathPoll, "POST " + agentpoll.PathProgress,
		"POST " + agentpoll.PathResult, "POST " + agentpoll.PathRotate,
		"PUT " + agentpoll.PathSegment, "GET " + agentpoll.PathSegment, "PUT " + agentpoll.PathLogChunk, "DELETE /agent/v1/logs/{id}",
		agentpoll.HeaderSHA256 + ": ", fmt.Sprintf("a segment %d bytes", agentpoll.MaxSegment),
		fmt.Sprintf("nothing has moved for %.0f minutes", stall.Minutes()),
		agentpoll.HeaderCursor + ": " + agentpoll.Cursor{Epoch: "7c1e0d52", Revision: 4716}.String(), agentpoll.HeaderHold + ": ",
		fmt.Sprintf("may have %d bytes, all headers together %d", agentpoll.MaxBody, agentpoll.MaxHeader),
		agentpoll.Credential{AgentID: "<agent id>", Secret: "<secret, 43 characters of base64url>"}.Header(),
		fmt.Sprintf("at most %d ids", maxRunning), fmt.Sprintf("gives up %.0f s after", margin.Seconds()),
		fmt.Sprintf("cut after %.0f s or more", cutAfter.Seconds()),
		fmt.Sprintf("up to %.0f s, doubling, up to %.0f minute", againFirst.Seconds(), againCap.Minutes()),
		fmt.Sprintf("up to %.0f s, doubling, up to %.0f s", againFirst.Seconds(), unreachableCap.Seconds()),
		fmt.Sprintf("up to %.0f minute, doubling, up to %.0f minutes", slowerFirst.Minutes(), slowerCap.Minutes()),
		fmt.Sprintf("`Retry-After`, up to %.0f minutes", maxRetryAfter.Minutes()),
		"`" + string(agentpoll.Guest) + "`", "`" + string(agentpoll.Host) + "`",
		"| `" + string(agentpoll.Invalid) + "`", "| `" + string(agentpoll.NotFound) + "`",
		"| `" + string(agentpoll.Exists) + "`", "| `" + string(agentpoll.Conflict) + "`",
		"| `" + string(agentpoll.Unsupported) + "`", "| `" + string(agentpoll.Cancelled) + "`",
		"| `" + string(agentpoll.Expired) + "`", "| `" + string(agentpoll.Internal) + "`",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// mark notes the fields that are not zero in a value, as Type.Field.
func mark(fields map[string]bool, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		mark(fields, v.Elem())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			mark(fields, v.Index(i))
		}
	case wire(v.Type()):
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				fields[v.Type().Name()+"."+v.Type().Field(i).Name] = true
				mark(fields, v.Field(i))
			}
		}
	}
}

// fieldsOf lists the fields of a type of the wire and of those in it.
func fieldsOf(t reflect.Type) (fields []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if !wire(t) {
		return nil
	}
	for f := range t.Fields() {
		fields = append(append(fields, t.Name()+"."+f.Name), fieldsOf(f.Type)...)
	}
	return fields
}

func wire(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && strings.HasSuffix(t.PkgPath(), "/agentpoll")
}
