package lifecycle

import (
	"fmt"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// NotAllowed is returned for what cannot be asked for in the instance's present state. HTTP 422.
type NotAllowed struct{ Message string }

func (e *NotAllowed) Error() string { return e.Message }

// Conflict is returned for what something known stands against, which is to be mended first. HTTP 409.
type Conflict struct{ Message string }

func (e *Conflict) Error() string { return e.Message }

// Hostless is returned for what only a host can do, of an instance that has none. HTTP 501.
type Hostless struct{ Message string }

func (e *Hostless) Error() string { return e.Message }

// Hosted refuses what only a host can do, of an instance that runs on a machine of its own.
func Hosted(in etcdschema.Instance) error {
	if in.Host == "" {
		return &Hostless{fmt.Sprintf("Instance %s runs on a machine of its own: no host can resize it or take it elsewhere, but whoever runs that machine can.", in.ID)}
	}
	return nil
}

// Leading is returned for what cannot be done to an instance that others follow. HTTP 403, as in Trove.
type Leading struct{ Message string }

func (e *Leading) Error() string { return e.Message }

// mustFollow refuses to make a source of a replica that is known not to have what its source has.
func mustFollow(in Member) error {
	if why := Astray(in); why != "" {
		return &Conflict{fmt.Sprintf("Instance %s does not follow its source: %s. Nothing was done: have it follow again first (the action follow), promote another replica, or eject the source if it is gone.", in.ID, why)}
	}
	return nil
}

// notAllowed refuses what cannot be done to an instance now: in Trove's sentence, and then in words what can be done.
func notAllowed(in Member) error {
	status := Status(in)
	if in.Operation == nil && in.Failed == "" && !in.isHeld() && down(in.Instance) {
		status = strings.ToUpper(string(in.Service.Service))
	}
	return &NotAllowed{fmt.Sprintf("Instance %s is not currently available for an action to be performed (instance status was %s). %s", in.ID, status, Next(in))}
}

// followAgain says what can be done about a replica that does not follow.
const followAgain = "The action follow has it follow again, with discard anew from its source; or detach it, or delete it"

// rejoins says what becomes of one that could not follow the source of a failover.
const rejoins = "Its set has it try again every half a minute."

// Next says what can be done about an instance that is not simply ready; "" when it is.
func Next(in Member) string {
	kind, by := in.held()
	switch op := in.Doing(); {
	case op != nil && op.Kind == Delete:
		return "It is being deleted."
	case op != nil:
		return fmt.Sprintf("Its %s is at step %q: wait until it ends, give it up with reset_status, or delete the instance.", op.Kind, op.Step)
	case !in.Prepared && in.ReplicaOf() != "":
		return "It is not ready, and its fault says why: the action follow makes it anew from its source, or delete it."
	case !in.Prepared:
		return "It never became ready, and its fault says why: delete it."
	case kind != "" && SetStepOf(in.Set) == Rejoining:
		return "It is to follow the new source of its set when its turn comes: wait, or give that up with reset_status."
	case kind != "" && in.Clustered():
		return fmt.Sprintf("It takes part in the %s of its cluster %s: wait until that ends.", kind, in.SetID)
	case kind != "":
		return fmt.Sprintf("It takes part in the %s of instance %s: wait until that ends, or give it up with reset_status of that instance.", kind, by)
	case in.Failed == Follow:
		return "It does not follow its source. " + followAgain + "."
	case triedAgain(in.Failed):
		return "It does not follow its source yet. " + rejoins + " " + followAgain + "."
	case in.Failed == Fence:
		return "It refuses writes, and its fault says why: reset_status lets it take writes again."
	case in.Failed != "":
		return "Its fault says why: restart it. Its configuration group can be detached and its volume resized before; it can also be deleted."
	case down(in.Instance):
		return "Its database server does not run: restart it. Its configuration group can be detached and its volume resized before."
	case in.Service.Service == datastores.StatusBlocked:
		return "Its database server does not answer: restart it."
	case Astray(in) != "":
		return "It does not follow its source: " + Astray(in) + ". It cannot be promoted as long as that is so. " + followAgain + "."
	case in.RestartRequired:
		return "Some of its parameters take a restart."
	}
	return ""
}

// down reports whether the guest says that the database server does not run.
func down(in etcdschema.Instance) bool {
	return in.Service.Service == datastores.StatusShutdown || in.Service.Service == datastores.StatusCrashed
}

// Serves refuses what needs the database server when the guest cannot be asked for it.
func Serves(in Member) error {
	busy := in.Operation != nil && !harmless(in.Operation.Kind)
	kind, _ := in.held()
	if !in.Prepared || busy || kind != "" && !harmless(kind) || down(in.Instance) {
		return notAllowed(in)
	}
	return nil
}

// harmless reports whether the guest can be asked for what needs the database server beside an operation of this kind.
func harmless(kind string) bool { return standard().operation(kind).Harmless }

// Ready refuses an operation unless the instance is up and nothing is being done to it.
func Ready(in Member) error {
	if in.Failed != "" || down(in.Instance) {
		return notAllowed(in)
	}
	return Free(in)
}

// Leads refuses a new replica of an instance that cannot be copied now. An instance that is being copied may be copied once more.
func Leads(in Member) error {
	if kind, _ := in.held(); in.Failed != "" || in.Operation != nil || kind == UpgradeSet {
		return notAllowed(in)
	}
	return Serves(in)
}

// Free refuses what cannot be asked for while something else is being done, nor of an instance that never was ready. What heals
// an instance asks for no more.
func Free(in Member) error {
	if !in.Prepared || in.Operation != nil || in.isHeld() {
		return notAllowed(in)
	}
	return nil
}
