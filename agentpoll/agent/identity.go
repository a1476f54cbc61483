package agent

import (
	"crypto/ecdh"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// identityRecord is identity.json.
type identityRecord struct {
	Format  int    `json:"v"`
	AgentID string `json:"agent_id,omitempty"` // "" until the gateway has answered the enrolment
	Secret  string `json:"secret"`
	// NextSecret was sent, or is about to be, and the gateway's answer is not known.
	NextSecret string `json:"next_secret,omitempty"`
	// OldSecret is the one before Secret: the gateways know it again when etcd was set back to before the rotation.
	OldSecret  string          `json:"old_secret,omitempty"`
	Sequence   int64           `json:"sequence"` // of Secret
	Since      time.Time       `json:"since"`    // when Secret came into use
	PrivateKey []byte          `json:"private_key"`
	Options    json.RawMessage `json:"options,omitempty"`
	// CAs are those that the gateways named last, and CA what the configuration said then.
	CAs []string `json:"cas,omitempty"`
	CA  string   `json:"ca,omitempty"`
	// CommandKeys are those of the gateways. None: the agent was enrolled by gateways that do not sign.
	CommandKeys [][]byte `json:"command_keys,omitempty"`
}

// identity is who the agent is. Everything is on disk before it is sent, so that a lost answer costs nothing.
type identity struct {
	path  string
	key   *ecdh.PrivateKey
	ca    string          // of the configuration
	token agentpoll.Token // the same

	mu  sync.Mutex
	rec identityRecord
	// tryNext: NextSecret is used, since the gateway may know it already. A 401 takes it back.
	tryNext bool
	// tryOld: OldSecret is used, since Secret was refused. Never together with tryNext.
	tryOld bool
}

// openIdentity reads the identity in the agent's directory, or makes a new one.
func openIdentity(cfg Config) (*identity, error) {
	id := &identity{path: filepath.Join(cfg.Dir, "identity.json"), ca: cfg.CA}
	data, err := os.ReadFile(id.path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := id.create(); err != nil {
			return nil, err
		}
		return id, id.read(cfg.Token)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the agent's identity: %w", err)
	}
	err = json.Unmarshal(data, &id.rec)
	if err == nil && id.rec.Format != 1 {
		err = fmt.Errorf("format %d, want 1", id.rec.Format)
	}
	if err == nil {
		id.key, err = ecdh.X25519().NewPrivateKey(id.rec.PrivateKey)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use %s (restore it, or remove it and enrol with a new token): %w", id.path, err)
	}
	id.tryNext = id.rec.NextSecret != ""
	return id, id.read(cfg.Token)
}

// read reads the enrolment token of an agent that still needs it.
func (id *identity) read(token string) (err error) {
	if id.rec.AgentID == "" {
		id.token, err = agentpoll.ParseToken(token)
	}
	return err
}

func (id *identity) create() (err error) {
	if id.key, err = agentpoll.NewKey(); err != nil {
		return fmt.Errorf("cannot make the agent's key: %w", err)
	}
	return id.save(identityRecord{
		Format: 1, Secret: agentpoll.NewSecret(), Sequence: 1, Since: time.Now(), PrivateKey: id.key.Bytes(),
	})
}

// save must be called with mu held, or before anybody else knows id.
func (id *identity) save(rec identityRecord) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("cannot save the agent's identity: %w", err)
	}
	f, err := replaceFile(id.path, data)
	if err != nil {
		return fmt.Errorf("cannot save the agent's identity: %w", err)
	}
	id.rec = rec
	return f.Close()
}

func (id *identity) record() identityRecord {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.rec
}

// enrolled keeps the answer to the enrolment. secure reports that the gateway was known by its certificate.
func (id *identity) enrolled(reply agentpoll.EnrollReply, secure bool) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	rec := id.rec
	rec.AgentID, rec.Options, rec.Since = reply.AgentID, reply.Options, time.Now()
	if id.ca == "" {
		rec.CAs = id.token.CAs
	}
	rec.believe(reply.Trust, id.ca, secure)
	return id.save(rec)
}

// credential is the one to use now.
func (id *identity) credential() agentpoll.Credential {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.credentialLocked()
}

func (id *identity) credentialLocked() agentpoll.Credential {
	secret := id.rec.Secret
	switch {
	case id.tryNext:
		secret = id.rec.NextSecret
	case id.tryOld:
		secret = id.rec.OldSecret
	}
	return agentpoll.Credential{AgentID: id.rec.AgentID, Secret: secret}
}

// next returns what to ask the gateway for, with the new secret on disk. A secret whose fate is not known is offered
// again, never replaced. False when the new secret is being tried: its fate will be known soon.
func (id *identity) next() (agentpoll.RotateRequest, bool, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.tryNext {
		return agentpoll.RotateRequest{}, false, nil
	}
	if rec := id.rec; rec.NextSecret == "" {
		rec.NextSecret = agentpoll.NewSecret()
		if err := id.save(rec); err != nil {
			return agentpoll.RotateRequest{}, false, err
		}
	}
	return agentpoll.RotateRequest{
		Sequence: id.rec.Sequence, CredentialHash: agentpoll.HashSecret(id.rec.NextSecret),
	}, true, nil
}

// rotated puts the new secret in the place of the old one. secure reports that the gateway was known by its certificate.
func (id *identity) rotated(reply agentpoll.RotateReply, secure bool) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.rotatedLocked(reply, secure)
}

func (id *identity) rotatedLocked(reply agentpoll.RotateReply, secure bool) error {
	if id.rec.NextSecret == "" {
		return nil
	}
	rec := id.rec
	rec.OldSecret, rec.Secret, rec.NextSecret = rec.Secret, rec.NextSecret, ""
	rec.Sequence, rec.Since = reply.Sequence, time.Now()
	rec.believe(reply.Trust, id.ca, secure)
	if err := id.save(rec); err != nil {
		return err
	}
	id.tryNext, id.tryOld = false, false
	return nil
}

// setBack makes the old secret the one in use: etcd was restored. The newer one is offered at the next rotation.
func (id *identity) setBack() error {
	rec := id.rec
	rec.Secret, rec.NextSecret, rec.OldSecret, rec.Sequence = rec.OldSecret, rec.Secret, "", rec.Sequence-1
	if err := id.save(rec); err != nil {
		return err
	}
	id.tryOld = false
	return nil
}

// try uses the new secret from now on, to learn whether the gateway knows it.
func (id *identity) try() {
	id.mu.Lock()
	defer id.mu.Unlock()
	id.tryNext = id.rec.NextSecret != ""
	id.tryOld = id.tryOld && !id.tryNext
}

// accepted learns from an answer that the gateway knows the credential.
func (id *identity) accepted(c agentpoll.Credential) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	switch {
	case c != id.credentialLocked():
		return nil
	case id.tryOld:
		return id.setBack()
	case !id.tryNext:
		return nil
	}
	return id.rotatedLocked(agentpoll.RotateReply{Sequence: id.rec.Sequence + 1}, false)
}

// rejected learns from a 401 that the gateway does not know the credential. It returns true when there is another one
// to use at once.
func (id *identity) rejected(c agentpoll.Credential) bool {
	id.mu.Lock()
	defer id.mu.Unlock()
	if c != id.credentialLocked() {
		return true // it was replaced while the request was under way
	}
	switch {
	case id.tryNext:
		id.tryNext = false
		return true
	case id.tryOld:
		id.tryOld = false
		return false
	}
	id.tryOld = id.rec.OldSecret != ""
	return id.tryOld
}
