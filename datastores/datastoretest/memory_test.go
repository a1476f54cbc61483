package datastoretest_test

import (
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

func TestMemory(t *testing.T) {
	memory := &datastoretest.Memory{}
	datastoretest.Run(t, datastoretest.Harness{
		Plugin:  memory.Plugin(),
		NewEnv:  func(t *testing.T) datastores.Env { return datastoretest.NewEnv(t, "nobody") },
		Connect: memory.Connect,
	})
}
