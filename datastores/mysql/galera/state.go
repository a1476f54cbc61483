package galera

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// StateFile is what a server leaves in its data directory of where it stands.
const StateFile = "grastate.dat"

// ViewFile is where a running server keeps, in its data directory, whom it is together with. It reads it when it starts: those that were
// together last go on as soon as they are again. It removes the file when it is stopped.
const (
	ViewFile    = "gvwstate.dat"
	MaxViewFile = 64 << 10
)

var memberOfView = regexp.MustCompile(`(?m)^member: .*$`)

// HasLost reports whether a [ViewFile] is of fewer members than one before, and all of them were there.
func HasLost(view, before string) bool {
	now, then := memberOfView.FindAllString(view, -1), memberOfView.FindAllString(before, -1)
	return len(now) < len(then) && !slices.ContainsFunc(now, func(m string) bool { return !slices.Contains(then, m) })
}

// State is what [StateFile] says.
type State struct {
	Position Position
	// Founds: the server was the last one that was in the cluster, or the only one, so nobody has what it lacks.
	Founds bool
}

// Position is a place in the history of a cluster.
type Position struct {
	History string // UUID
	Number  int64  // of the last transaction; -1: not known
}

// none is the position of a server that is in no history.
var none = Position{History: "00000000-0000-0000-0000-000000000000", Number: -1}

// Known reports whether the position says from where on a server lacks something.
func (p Position) Known() bool { return p.History != "" && p.History != none.History && p.Number >= 0 }

// Lost reports whether the server has a history and the position says not how far it is: it has crashed.
func (p Position) Lost() bool { return p.History != "" && p.History != none.History && p.Number < 0 }

// String is as the server's option wsrep_start_position has it.
func (p Position) String() string { return p.History + ":" + strconv.FormatInt(p.Number, 10) }

// ParseState reads a [StateFile].
func ParseState(file []byte) (s State, err error) {
	s.Position = none
	for line := range strings.Lines(string(file)) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "uuid":
			s.Position.History = value
		case "seqno":
			if s.Position.Number, err = strconv.ParseInt(value, 10, 64); err != nil {
				return State{}, fmt.Errorf("%s: seqno: %w", StateFile, err)
			}
		case "safe_to_bootstrap":
			s.Founds = value == "1"
		}
	}
	return s, nil
}

var recovered = regexp.MustCompile(`WSREP: Recovered position: ([0-9a-f-]{36}):(-?\d+)`)

// Recovered takes what a server says that was started with --wsrep-recover: its first megabyte.
type Recovered struct{ said bytes.Buffer }

// Write implements [io.Writer]. It never fails.
func (r *Recovered) Write(p []byte) (int, error) {
	r.said.Write(p[:min(len(p), max(0, 1<<20-r.said.Len()))])
	return len(p), nil
}

// Position is what the server's storage engine has.
func (r *Recovered) Position() (Position, error) {
	found := recovered.FindSubmatch(r.said.Bytes())
	if found == nil {
		return none, errors.New("the server does not say where it stands")
	}
	n, err := strconv.ParseInt(string(found[2]), 10, 64)
	return Position{string(found[1]), n}, err
}

// Status is how a running server gets on with its cluster.
type Status struct {
	Position  Position
	Primary   bool   // it is among those that may take writes: more than half of those that were there before
	Ready     bool   // it takes statements
	Doing     string // Synced, Donor/Desynced, Joined, Joining, Initialized
	Size      int    // of those that it is together with
	Addresses []string
}

// ReadStatus reads the server's variables of status.
func ReadStatus(of map[string]string) (s Status) {
	s.Position.History = of["wsrep_cluster_state_uuid"]
	s.Position.Number, _ = strconv.ParseInt(of["wsrep_last_committed"], 10, 64)
	s.Primary, s.Ready = of["wsrep_cluster_status"] == "Primary", of["wsrep_ready"] == "ON"
	s.Doing = of["wsrep_local_state_comment"]
	s.Size, _ = strconv.Atoi(of["wsrep_cluster_size"])
	for at := range strings.SplitSeq(of["wsrep_incoming_addresses"], ",") {
		if host, _, err := net.SplitHostPort(at); err == nil && net.ParseIP(host) != nil {
			s.Addresses = append(s.Addresses, host)
		}
	}
	slices.Sort(s.Addresses)
	return s
}

// Trouble says why the server takes no writes; "": it does. A member that copies itself to another one takes them.
func (s Status) Trouble() string {
	switch {
	case !s.Primary:
		return fmt.Sprintf("the server is with %d of its cluster, which are too few to take writes; it goes on when the others are back", s.Size)
	case !s.Ready || s.Doing != "Synced" && !strings.HasPrefix(s.Doing, "Donor"):
		return "the server has not caught up with its cluster: it says " + s.Doing
	}
	return ""
}
