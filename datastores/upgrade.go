package datastores

import (
	"context"
	"encoding/json"
)

// Upgrader is implemented by a manager that can take over the data of another version.
type Upgrader interface {
	// Upgrade is called of a manager that was made with the new version's options, while the server, made with the options
	// From, is stopped. It brings the data to the new version, starts the server and returns when it answers. After an
	// error of kind [Invalid] nothing was changed, and the old version can be started again.
	Upgrade(ctx context.Context, req UpgradeRequest) error
}

// UpgradeRequest says what was there.
type UpgradeRequest struct {
	From     json.RawMessage // the guest options of the version before
	Progress func(message string)
}
