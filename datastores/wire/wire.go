// Package wire makes of an error of a guest or a host what travels to the gateway.
package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
)

// Error makes of an error what travels: see [datastores.Told]. The kinds of datastores and agentpoll are the same. An error that
// came from the gateway, such as one about a backup's segments, goes back with its kind. nil stays nil.
func Error(err error) error {
	if err == nil {
		return nil
	}
	var own *datastores.Error
	var theirs *agentpoll.Error
	switch {
	case errors.As(err, &own):
	case errors.As(err, &theirs):
		err = &datastores.Error{Kind: datastores.ErrorKind(theirs.Kind), Message: theirs.Message, Detail: theirs.Detail}
	case errors.Is(err, context.Canceled):
		err = &datastores.Error{Kind: datastores.ErrorKind(agentpoll.Cancelled), Message: err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("not done before the deadline: %w", err)
	}
	told := datastores.Told(err)
	return &travelling{&agentpoll.Error{Kind: agentpoll.ErrorKind(told.Kind), Message: told.Message, Detail: told.Detail}, err}
}

// travelling is an error as it travels, and what it was made of.
type travelling struct {
	wire  *agentpoll.Error
	cause error
}

func (t *travelling) Error() string   { return t.wire.Message }
func (t *travelling) Unwrap() []error { return []error{t.wire, t.cause} }
