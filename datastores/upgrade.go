package datastores

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Upgrader is implemented by a manager that can take over the data of another version.
type Upgrader interface {
	// Upgrade is called of a manager that was made with the new version's options, while the server, made with the options
	// From, is stopped. It brings the data to the new version, starts the server and returns when it answers. After an
	// error of kind [Invalid] nothing was changed, and the old version can be started again.
	Upgrade(ctx context.Context, req UpgradeRequest) error
}

// UpgradeChecker is implemented by an [Upgrader] that can find out beforehand what would be in an upgrade's way.
type UpgradeChecker interface {
	// CheckUpgrade is called as Upgrade is, but while the server, made with the options From, runs and tenants use it. It
	// leaves no trace. An error of kind [Invalid] names everything that the new version does not know or take over, and says
	// what to do, see [Obstacles]; the upgrade is refused. After any other error it goes on, and Upgrade finds out.
	CheckUpgrade(ctx context.Context, req UpgradeRequest) error
}

// UpgradeRequest says what was there.
type UpgradeRequest struct {
	From     json.RawMessage // the guest options of the version before
	Progress func(message string)
}

// Obstacles is the error of an [UpgradeChecker]; nil when nothing was found. Each of what was found says what is in the way and
// what to do about it.
func Obstacles(found []string) error {
	if len(found) == 0 {
		return nil
	}
	return &Error{Kind: Invalid, Message: FirstOf(found), Detail: strings.Join(found, "\n")}
}

// mostObstacles is how many are told; the rest is counted.
const mostObstacles = 3

// FirstOf names the first three of what was found, and says how many more there are.
func FirstOf(found []string) string {
	named := strings.Join(found[:min(mostObstacles, len(found))], "; ")
	if more := len(found) - mostObstacles; more > 0 {
		named += fmt.Sprintf("; and %d more", more)
	}
	return named
}
