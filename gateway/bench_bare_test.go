package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// barePath is what a command costs without any product code: three HTTP exchanges (the caller's, the guest's poll, the
// guest's result) and two etcd transactions (put the command if it is not there; delete it and put its result if it is),
// both told by a watch. Values are as long as the product's.
type barePath struct {
	etcd *clientv3.Client
	srv  *httptest.Server
	stop context.CancelFunc
	wait sync.WaitGroup

	mu      sync.Mutex
	parked  map[string]chan string // guest -> the command that wakes its poll
	waiting map[string]chan struct{}
}

const bareCommand, bareResult = 380, 200 // bytes, of a list_databases and its empty result

func newBarePath(t testing.TB, endpoint string, guests int) *barePath {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &barePath{etcd: etcd, stop: cancel, parked: map[string]chan string{}, waiting: map[string]chan struct{}{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /call/{guest}", b.call)
	mux.HandleFunc("POST /poll/{guest}", b.poll)
	mux.HandleFunc("POST /result/{guest}/{id}", b.result)
	b.srv = httptest.NewServer(mux)
	watch := etcd.Watch(ctx, "/bare/", clientv3.WithPrefix())
	b.wait.Go(func() { b.watch(watch) })
	for i := range guests {
		b.parked[fmt.Sprint(i)] = make(chan string, 1)
	}
	for i := range guests {
		b.wait.Go(func() { b.guest(ctx, fmt.Sprint(i)) })
	}
	t.Cleanup(func() {
		cancel()
		b.wait.Wait()
		b.srv.CloseClientConnections()
		b.srv.Close()
		_ = etcd.Close()
	})
	return b
}

func (b *barePath) watch(answers clientv3.WatchChan) {
	for answer := range answers {
		for _, e := range answer.Events {
			parts := strings.Split(string(e.Kv.Key), "/") // /bare/commands/<guest>/<id>, /bare/results/<id>
			b.mu.Lock()
			switch {
			case e.Type == clientv3.EventTypeDelete:
			case parts[2] == "commands":
				b.parked[parts[3]] <- parts[4]
			case b.waiting[parts[3]] != nil:
				close(b.waiting[parts[3]])
				delete(b.waiting, parts[3])
			}
			b.mu.Unlock()
		}
	}
}

func (b *barePath) call(w http.ResponseWriter, r *http.Request) {
	id := uuid.Must(uuid.NewV7()).String()
	done := make(chan struct{})
	b.mu.Lock()
	b.waiting[id] = done
	b.mu.Unlock()
	key := "/bare/commands/" + r.PathValue("guest") + "/" + id
	_, err := b.etcd.Txn(r.Context()).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, strings.Repeat("c", bareCommand))).Commit()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	select {
	case <-done:
		_ = json.NewEncoder(w).Encode(map[string][]string{"databases": {}})
	case <-r.Context().Done():
	}
}

func (b *barePath) poll(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // net/http notices a lost peer only after it
	b.mu.Lock()
	commands := b.parked[r.PathValue("guest")]
	b.mu.Unlock()
	select {
	case id := <-commands:
		_ = json.NewEncoder(w).Encode(map[string]string{"id": id, "command": strings.Repeat("c", bareCommand)})
	case <-r.Context().Done():
	}
}

func (b *barePath) result(w http.ResponseWriter, r *http.Request) {
	key := "/bare/commands/" + r.PathValue("guest") + "/" + r.PathValue("id")
	_, err := b.etcd.Txn(r.Context()).If(clientv3.Compare(clientv3.ModRevision(key), ">", 0)).
		Then(clientv3.OpDelete(key), clientv3.OpPut("/bare/results/"+r.PathValue("id"), strings.Repeat("r", bareResult))).Commit()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// guest polls, and sends each result beside its next poll.
func (b *barePath) guest(ctx context.Context, name string) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var results sync.WaitGroup
	defer results.Wait()
	for ctx.Err() == nil {
		var command struct{ ID string }
		if barePost(ctx, client, b.srv.URL+"/poll/"+name, &command) != nil {
			return
		}
		results.Go(func() { _ = barePost(ctx, client, b.srv.URL+"/result/"+name+"/"+command.ID, nil) })
	}
}

func barePost(ctx context.Context, client *http.Client, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if into == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
