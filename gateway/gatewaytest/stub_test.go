package gatewaytest_test

import "testing"

func testSecretsLife(t *testing.T, s *stage) {}
func testDefinitions(t *testing.T, s *stage) {}
func testPorts(t *testing.T, s *stage)       {}
func (s *stage) lookForSecrets(t *testing.T) {}
