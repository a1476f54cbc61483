package agents

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/authority"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// certificateLifetime is how long the certificate of a database server is good. Its guest asks for the next one when two thirds of
// it have passed.
const certificateLifetime = 90 * 24 * time.Hour

// Certificate signs a certificate for the server of a guest's own instance, with the CA of its project. It is good for what the
// gateway knows of the instance; of the request nothing is used but the key.
func (be *Backend) Certificate(ctx context.Context, agentID string, req agentpoll.CertificateRequest) (reply agentpoll.CertificateReply, err error) {
	csr, err := x509.ParseCertificateRequest(req.CSR)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return reply, agentpoll.Errorf(agentpoll.Invalid, "the certificate request is not PKCS #10 in DER, signed with its own key")
	}
	if key, ok := csr.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return reply, agentpoll.Errorf(agentpoll.Invalid, "the certificate request is not for a P-256 key")
	}
	agent, err := etcdschema.Get(ctx, be.control.Store, etcdschema.AgentKey(agentID))
	if err != nil {
		return reply, err
	}
	if agent.Value.Kind != agentpoll.Guest {
		return reply, agentpoll.Errorf(agentpoll.Invalid, "a certificate is for a guest's server, and agent %s is a %s", agentID, agent.Value.Kind)
	}
	rec, err := etcdschema.Get(ctx, be.control.Store, etcdschema.InstanceKey(agent.Value.Project, agentID))
	if err != nil {
		return reply, err
	}
	in := rec.Value
	if in.Operation != nil && in.Operation.Kind == lifecycle.Delete {
		return reply, agentpoll.Errorf(agentpoll.Conflict, "instance %s is being deleted", in.ID)
	}
	ca, err := be.control.ProjectAuthority(ctx, in.Project)
	if err != nil {
		return reply, err
	}
	cert, err := ca.Sign(csr.PublicKey, authority.Request{
		Name: in.ID, Hosts: certifiedNames(in), From: be.control.Now(), For: certificateLifetime,
		Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, // members of a cluster show it to each other
	})
	if err != nil {
		return reply, err
	}
	return agentpoll.CertificateReply{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})), CA: string(ca.PEM()),
	}, nil
}

// certifiedNames are what the certificate of an instance's server is good for: its name of [datastores.ServerName], and its address
// where the gateway knows it.
func certifiedNames(in etcdschema.Instance) []string {
	names := []string{datastores.ServerName(in.ID)}
	if in.Address != "" {
		names = append(names, in.Address)
	}
	return names
}
