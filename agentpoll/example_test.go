package agentpoll_test

import (
	"fmt"

	"github.com/cofferdb/coffer/agentpoll"
)

// A gateway seals a command's secret arguments to the agent that they are for.
func ExampleSeal() {
	key, err := agentpoll.NewKey() // the agent's, made at enrolment
	if err != nil {
		panic(err)
	}
	sealed, err := agentpoll.Seal(key.PublicKey().Bytes(), "command-1", []byte(`{"password":"x"}`))
	if err != nil {
		panic(err)
	}
	args, err := agentpoll.Open(key, "command-1", sealed)
	fmt.Println(string(args), err)
	// Output: {"password":"x"} <nil>
}
