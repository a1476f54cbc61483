package control

import (
	"context"
	"errors"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// SSLRequest is what a change of TLS may say: one of the three, and a mode to enable.
type SSLRequest struct {
	Enable       bool               `json:"enable"`
	Disable      bool               `json:"disable"`
	Rollback     bool               `json:"rollback"`
	Mode         datastores.TLSMode `json:"mode"`
	ContainerRef *string            `json:"container_ref"`
	PasswordRef  *string            `json:"password_ref"`
}

func (q SSLRequest) check() error {
	asked := 0
	for _, one := range []bool{q.Enable, q.Disable, q.Rollback} {
		if one {
			asked++
		}
	}
	switch {
	case asked != 1:
		return fault.Errorf(fault.BadRequest, `Validation error: ssl must have one of "enable": true, "disable": true and "rollback": true.`)
	case q.ContainerRef != nil || q.PasswordRef != nil:
		return fault.Errorf(fault.BadRequest, "Validation error: ssl['container_ref'] and ssl['password_ref'] name secrets of a key manager, which there is none of here; leave them out: "+
			"the certificate is then of the project's own CA.")
	case q.Mode != "" && !q.Enable:
		return fault.Errorf(fault.BadRequest, `Validation error: ssl['mode'] goes with "enable": true.`)
	case q.Mode != "" && !q.Mode.On():
		return fault.Errorf(fault.BadRequest, "Validation error: ssl['mode'] must be %s (plain connections too) or %s (TLS alone).", datastores.TLSBasic, datastores.TLSEnforced)
	}
	return nil
}

// SetSSL has an instance's server, and its replicas, speak TLS otherwise: all of them, or none.
func (cp *Plane) SetSSL(ctx context.Context, c Caller, id string, q SSLRequest) (is datastores.SSLReply, err error) {
	if err := q.check(); err != nil {
		return is, err
	}
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return is, err
	}
	if of := in.ReplicaOf(); of != "" {
		return is, fault.Errorf(fault.Unprocessable, "Instance %s is a replica: it speaks TLS as its source %s does, so ask for it there.", in.ID, of)
	}
	if in.Clustered() {
		return is, fault.Errorf(fault.NotImplemented, "Operation not supported for instances that are part of a cluster: the members of cluster %s all speak TLS to each other.", in.SetID)
	}
	return cp.speak(ctx, c, in, q)
}

// speak asks the server first, then its replicas, which are told at once whether they follow it by TLS. When one of them cannot, those
// that have changed go back.
func (cp *Plane) speak(ctx context.Context, c Caller, in lifecycle.Member, q SSLRequest) (is datastores.SSLReply, err error) {
	method, args := datastores.MethodSSLAction, datastores.SSLArgs{Enable: q.Enable, Mode: q.Mode}
	if q.Rollback {
		method = datastores.MethodSSLRollback
	}
	if err := cp.CallInstance(ctx, c, in.ID, false, method, args, &is); err != nil {
		return is, err
	}
	args.Source = is.Mode.On()
	changed := []string{in.ID}
	for _, replica := range in.Replicas() {
		var its datastores.SSLReply
		if err = cp.CallInstance(ctx, c, replica, true, method, args, &its); err != nil {
			break
		}
		changed = append(changed, replica)
		is.RestartRequired = is.RestartRequired || its.RestartRequired
	}
	if err == nil {
		return is, nil
	}
	ctx = context.WithoutCancel(ctx) // a client that has gone must not leave half of it
	was := datastores.SSLArgs{Enable: in.Service.TLS.On()}
	if was.Enable {
		was.Mode = in.Service.TLS
	}
	for _, id := range changed {
		was.Source = was.Enable && id != in.ID
		if undo := cp.CallInstance(ctx, c, id, true, datastores.MethodSSLAction, was, nil); undo != nil {
			cp.Log.Warn("a server does not speak TLS as before", "instance_id", id, "err", undo)
			err = errors.Join(err, undo)
		}
	}
	return is, err
}
