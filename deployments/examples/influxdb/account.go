package influxdb

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores/volume"
)

// adminUser is the guest's own account. It has no password: the guest signs who it is with a secret that only it and the server
// know. The secret is the instance's, not the data's, so the account works after a restore of anybody's data.
const adminUser = "os_admin"

const secretFile = "secret"

// secret is made when it is first asked for.
func (m *Manager) secret() (string, error) {
	var secret string
	if err := volume.Own(m.env).LoadJSON(secretFile, &secret); err != nil || secret != "" {
		return secret, err
	}
	secret = rand.Text()
	return secret, volume.Own(m.env).SaveJSON(secretFile, secret)
}

// token says that its bearer is the guest, for a minute (RFC 7519).
func (m *Manager) token() (string, error) {
	secret, err := m.secret()
	claims := fmt.Sprintf(`{"username":%q,"exp":%d}`, adminUser, time.Now().Add(time.Minute).Unix())
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil)), err
}

// The server keeps databases and users as one protobuf message, Data of its services/meta/internal/meta.proto.
const (
	databasesField = 5
	usersField     = 6
)

// makeAccount puts the guest's account into the file of a server that does not run: a new one would let the first who comes make
// himself its administrator, and root may have dropped the account.
func (m *Manager) makeAccount() error {
	data, err := volume.Data(m.env).ReadFile(folder+"/"+metaFile, maxMeta)
	if errors.Is(err, fs.ErrNotExist) {
		err = volume.Data(m.env).MakeDir(folder + "/meta")
		for field, value := range map[int]uint64{1: 0, 2: 1, 3: uint64(time.Now().UnixNano()), 7: 0, 8: 0, 9: 0} { // all are required
			data = binary.AppendUvarint(append(data, byte(field<<3)), value)
		}
	}
	if err != nil {
		return err
	}
	users, err := namesOf(data, usersField)
	if err != nil || slices.Contains(users, adminUser) {
		return err
	}
	user := message(1, adminUser) + message(2, "*") + "\x18\x01" // name; hash, of no password; admin
	data = append(data, message(usersField, user)...)
	return volume.Data(m.env).WriteFile(folder+"/"+metaFile, data)
}

// message is a field that holds bytes.
func message(field int, content string) string {
	return string(binary.AppendUvarint([]byte{byte(field<<3 | 2)}, uint64(len(content)))) + content
}

// namesOf returns the names of the databases or users: the first field of each.
func namesOf(data []byte, field int) (names []string, err error) {
	for len(data) > 0 {
		var tag int
		var content []byte
		if tag, content, data, err = next(data); err != nil {
			return nil, err
		}
		if tag != field<<3|2 {
			continue
		}
		_, name, _, err := next(content)
		if err != nil {
			return nil, err
		}
		names = append(names, string(name))
	}
	return names, nil
}

// next takes the first field off a message; content is nil when it is a number.
func next(data []byte) (tag int, content, rest []byte, err error) {
	t, n := binary.Uvarint(data)
	value, size := binary.Uvarint(data[max(n, 0):])
	if n <= 0 || size <= 0 || t&7 != 0 && t&7 != 2 {
		return 0, nil, nil, errors.New("the server's file of databases and users is damaged")
	}
	data = data[n+size:]
	if t&7 == 0 {
		return int(t), nil, data, nil
	}
	if value > uint64(len(data)) {
		return 0, nil, nil, errors.New("the server's file of databases and users is cut short")
	}
	return int(t), data[:value], data[value:], nil
}
