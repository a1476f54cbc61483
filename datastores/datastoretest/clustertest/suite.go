package clustertest

import "testing"

// stageTest is one row of the stage. It leaves a settled cluster.
type stageTest struct {
	name string
	run  func(*testing.T, *cluster)
}

func stage() []stageTest {
	return []stageTest{
		{"found", testFound},
		{"restart", testRestart},
		{"killed", testKilled},
		{"cut off", testCutOff},
		{"outside of a quorum", testOutside},
		{"all are killed", testAllKilled},
		{"all are stopped", testAllStopped},
		{"backup", testBackup},
		{"grow", testGrow},
		{"shrink", testShrink},
		{"lost", testLost},
	}
}

// Run runs the stage.
func Run(owner *testing.T, h Harness) {
	h.defaults()
	var c *cluster
	for _, test := range stage() {
		passed := owner.Run(test.name, func(t *testing.T) {
			if c == nil {
				c = newCluster(t, owner, h)
			}
			test.run(t, c)
		})
		if !passed {
			c = nil
		}
	}
}
