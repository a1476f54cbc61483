package opmsg

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

const (
	mechanism = "SCRAM-SHA-256"
	// minIterations is what a server has at least; fewer would tell the password to whoever asks for it.
	minIterations = 4096
	maxIterations = 1000000
)

// Login makes the connection one of a user whom the database has. The password is printable ASCII, so that it needs no preparation
// (RFC 4013). The server must know it, too.
func (c *Client) Login(ctx context.Context, database, user, password string) error {
	escaped := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user)
	s := scram{password: password, first: "n=" + escaped + ",r=" + rand.Text()}
	step, err := c.sasl(ctx, database, bson.D{
		{Key: "saslStart", Value: 1}, {Key: "mechanism", Value: mechanism}, {Key: "payload", Value: []byte("n,," + s.first)},
		{Key: "options", Value: bson.D{{Key: "skipEmptyExchange", Value: true}}},
	})
	if err != nil {
		return fmt.Errorf("cannot log in as %s: %w", user, err)
	}
	answer, err := s.answer(string(step.Payload))
	if err != nil {
		return fmt.Errorf("cannot log in as %s: %w", user, err)
	}
	step, err = c.sasl(ctx, database, bson.D{
		{Key: "saslContinue", Value: 1}, {Key: "conversationId", Value: step.Conversation}, {Key: "payload", Value: []byte(answer)},
	})
	if err != nil {
		return fmt.Errorf("cannot log in as %s: %w", user, err)
	}
	if !step.Done || subtle.ConstantTimeCompare(step.Payload, []byte("v="+s.signature)) != 1 {
		return fmt.Errorf("cannot log in as %s: the server does not know the password", user)
	}
	return nil
}

type saslStep struct {
	Conversation int32  `bson:"conversationId"`
	Done         bool   `bson:"done"`
	Payload      []byte `bson:"payload"`
}

func (c *Client) sasl(ctx context.Context, database string, command bson.D) (step saslStep, err error) {
	reply, err := c.Call(ctx, database, command)
	if err != nil {
		return step, err
	}
	return step, bson.Unmarshal(reply, &step)
}

// scram is the client's side of one exchange.
type scram struct {
	password  string
	first     string // the client's first message, without its header
	signature string // what the server must answer at last
}

// answer is the client's final message.
func (s *scram) answer(server string) (string, error) {
	fields := map[string]string{}
	for field := range strings.SplitSeq(server, ",") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	_, nonce, _ := strings.Cut(s.first, ",r=")
	salt, err := base64.StdEncoding.DecodeString(fields["s"])
	iterations, numErr := strconv.Atoi(fields["i"])
	if err != nil || numErr != nil || len(fields["r"]) <= len(nonce) || !strings.HasPrefix(fields["r"], nonce) ||
		iterations < minIterations || iterations > maxIterations {
		return "", errors.New("the server's challenge is none")
	}
	salted, err := pbkdf2.Key(sha256.New, s.password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	final := "c=biws,r=" + fields["r"]
	all := s.first + "," + server + "," + final
	key := keyed(salted, "Client Key")
	stored := sha256.Sum256(key)
	proof := keyed(stored[:], all)
	subtle.XORBytes(proof, proof, key)
	s.signature = base64.StdEncoding.EncodeToString(keyed(keyed(salted, "Server Key"), all))
	return final + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
