package gatewaytest_test

import (
	"database/sql"
	"net/http"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// testCrowd takes all connections of a MariaDB, as a user and as root. The guest has places of its own, and a restart makes
// room.
func testCrowd(t *testing.T, s *stage) {
	_, id, address := s.create(t, mariadbStore, `,"users":[{"name":"ann","password":"one of many"}]`)
	at := gatewaytest.Instance(id)
	crowd(t, openMySQL(t, address, "ann", "one of many", ""))
	s.member.Want(t, http.StatusAccepted, http.MethodPost, at+"/databases", `{"databases":[{"name":"d"}]}`)
	root := s.member.Want(t, http.StatusOK, http.MethodPost, at+"/root", "").Text("user", "password")
	crowd(t, openMySQL(t, address, "root", root, ""))
	s.member.Want(t, http.StatusOK, http.MethodGet, at+"/databases", "")
	s.member.Want(t, http.StatusAccepted, http.MethodPost, at+"/action", `{"restart":{}}`)
	s.member.Await(t, id, "ACTIVE", lifeTimeout)
	s.member.Want(t, http.StatusOK, http.MethodGet, at+"/databases", "")
}

// crowd opens connections until there are no more.
func crowd(t *testing.T, db *sql.DB) {
	t.Helper()
	const enough = 10_000
	for range enough {
		conn, err := db.Conn(t.Context())
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatalf("the server takes %d connections", enough)
}
