package double

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"
)

const (
	usersNamespace = "admin.system.users"
	rolesNamespace = "admin.system.roles"
	mechanism      = "SCRAM-SHA-256"
	iterations     = 15000
	keyUser        = "__system"
)

// login is a user as whom a connection has logged in. The id tells it from another user of that name who was made later.
type login struct {
	user, database string
	id             bson.Binary
}

// session is one connection's.
type session struct {
	logins       []login
	conversation *scram.ServerConversation
	number       int32
	as           login
}

func credentials(user, password string) (bson.D, error) {
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		return nil, refuse(badValue, "the password cannot be prepared: "+err.Error())
	}
	salt := make([]byte, 28)
	_, _ = rand.Read(salt)
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return nil, err
	}
	return bson.D{{Key: mechanism, Value: bson.D{
		{Key: "iterationCount", Value: int32(iterations)}, {Key: "salt", Value: base64.StdEncoding.EncodeToString(salt)},
		{Key: "storedKey", Value: bson.Binary{Data: stored.StoredKey}}, {Key: "serverKey", Value: bson.Binary{Data: stored.ServerKey}},
	}}}, nil
}

func storedCredentials(d bson.D) (c scram.StoredCredentials, err error) {
	d = document(document(d, "credentials"), mechanism)
	salt, err := base64.StdEncoding.DecodeString(text(d, "salt"))
	c.KeyFactors = scram.KeyFactors{Salt: string(salt), Iters: int(integer(d, "iterationCount"))}
	stored, _ := get(d, "storedKey")
	server, _ := get(d, "serverKey")
	a, okA := stored.(bson.Binary)
	b, okB := server.(bson.Binary)
	if !okA || !okB || err != nil {
		return c, errors.New("no credentials")
	}
	c.StoredKey, c.ServerKey = a.Data, b.Data
	return c, nil
}

func (s *store) user(name, database string) (bson.D, bool) {
	c := s.all[usersNamespace]
	if c == nil {
		return nil, false
	}
	d, ok := c.byID[string(identity(database+"."+name))]
	return d, ok
}

// privilegesOf are the session's now. A login whose user was dropped, also when another has the name now, has ended.
func (m *mongod) privilegesOf(s *session) (all []privilege) {
	if m.config.text("security.authorization") != "enabled" {
		all, _ = m.store.privileges([]bson.D{{{Key: "role", Value: "__system"}, {Key: "db", Value: "local"}}})
		return all
	}
	var valid []login
	for _, l := range s.logins {
		if l.user == keyUser && l.database == "local" {
			p, _ := m.store.privileges([]bson.D{{{Key: "role", Value: "__system"}, {Key: "db", Value: "local"}}})
			all, valid = append(all, p...), append(valid, l)
			continue
		}
		d, ok := m.store.user(l.user, l.database)
		if id, _ := get(d, "userId"); !ok || string(identity(id)) != string(identity(l.id)) {
			continue
		}
		p, _ := m.store.privileges(documents(d, "roles"))
		all, valid = append(all, p...), append(valid, l)
	}
	s.logins = valid
	return all
}

func saslStart(r *request) (bson.D, error) {
	if text(r.command, "mechanism") != mechanism {
		return nil, refuse(kind{334, "MechanismUnavailable"}, "Received authentication for mechanism "+text(r.command, "mechanism")+" which is not enabled")
	}
	database := r.database
	server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
		name = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name) // the library leaves that to us
		if name == keyUser && database == "local" && r.mongod.keyCredentials != nil {
			r.session.as = login{user: name, database: database}
			return storedCredentials(bson.D{{Key: "credentials", Value: r.mongod.keyCredentials}})
		}
		d, ok := r.mongod.store.user(name, database)
		if !ok {
			return scram.StoredCredentials{}, errors.New("no such user")
		}
		id, _ := get(d, "userId")
		binary, _ := id.(bson.Binary)
		r.session.as = login{name, database, binary}
		return storedCredentials(d)
	})
	if err != nil {
		return nil, err
	}
	r.session.conversation = server.NewConversation()
	r.session.number++
	return saslContinue(r)
}

func saslContinue(r *request) (bson.D, error) {
	c := r.session.conversation
	v, _ := get(r.command, "payload")
	payload, ok := v.(bson.Binary)
	if c == nil || !ok {
		return nil, refuse(authenticationFailed, "Authentication failed.")
	}
	if c.Done() && c.Valid() { // the empty exchange of drivers that do not skip it
		return saslReply(r.session.number, true, nil), nil
	}
	answer, err := c.Step(string(payload.Data))
	if err != nil {
		r.session.conversation = nil
		return nil, refuse(authenticationFailed, "Authentication failed.")
	}
	if c.Valid() {
		r.session.logins = append(r.session.logins, r.session.as)
	}
	return saslReply(r.session.number, c.Valid(), []byte(answer)), nil
}

func saslReply(number int32, done bool, payload []byte) bson.D {
	if payload == nil {
		payload = []byte{}
	}
	return bson.D{{Key: "conversationId", Value: number}, {Key: "done", Value: done}, {Key: "payload", Value: payload}}
}
