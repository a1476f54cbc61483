package etcdschema

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Outage reports whether err says that etcd could not be asked, or could not serve anybody, rather than something about the
// records in question.
func Outage(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrSessionLost) {
		return true
	}
	if refused, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return theirs(refused.Code())
	}
	s, ok := status.FromError(err)
	return ok && theirs(s.Code())
}

// theirs reports whether a code is about etcd's own state.
func theirs(c codes.Code) bool {
	switch c {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.DataLoss, codes.Unauthenticated, codes.PermissionDenied:
		return true
	}
	return false
}
