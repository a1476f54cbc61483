package gatewaytest_test

import "testing"

const openstackProgram = "/usr/bin/openstack"

func testOpenstack(t *testing.T, s *stage)   {}
func testSecretsLife(t *testing.T, s *stage) {}
func testNames(t *testing.T, s *stage)       {}
func testBodies(t *testing.T, s *stage)      {}
func testDefinitions(t *testing.T, s *stage) {}
func testPorts(t *testing.T, s *stage)       {}
func (s *stage) lookForSecrets(t *testing.T) {}
