package double

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ArgvFile is where cbbackupmgr's double keeps, in its working directory, with which arguments it was run, a line of JSON each time.
const ArgvFile = "double-argv"

// archive is what cbbackupmgr was told.
type archive struct {
	dir, repo, cluster string
}

// backupMain is cbbackupmgr: config, backup and restore, of whole clusters. It takes the account from CB_USERNAME and CB_PASSWORD.
func backupMain(ctx context.Context, args []string) error {
	if err := record(args); err != nil {
		return err
	}
	if len(args) == 0 {
		return errors.New("no command")
	}
	var a archive
	for rest := args[1:]; len(rest) > 0; rest = rest[1:] {
		into := map[string]*string{"--archive": &a.dir, "--repo": &a.repo, "--cluster": &a.cluster}[rest[0]]
		switch {
		case rest[0] == "--no-progress-bar":
		case into == nil || len(rest) < 2:
			return fmt.Errorf("the double does not know %q", rest[0])
		default:
			*into, rest = rest[1], rest[1:]
		}
	}
	if a.dir == "" || a.repo == "" || (args[0] != "config") != (a.cluster != "") {
		return errors.New("required flags are missing: --archive, --repo, and --cluster but for config")
	}
	switch args[0] {
	case "config":
		if err := os.Mkdir(filepath.Join(a.dir, a.repo), 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(a.dir, ".backup"), []byte("{}"), 0o600)
	case "backup":
		return a.backup(ctx)
	case "restore":
		return a.restore(ctx)
	}
	return fmt.Errorf("the double does not know %q", args[0])
}

func record(args []string) error {
	line, err := json.Marshal(args)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(ArgvFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// call asks the cluster.
func (a archive) call(ctx context.Context, method, path string, form url.Values, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.cluster+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.SetBasicAuth(os.Getenv("CB_USERNAME"), os.Getenv("CB_PASSWORD"))
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s %s: %s %s", method, path, resp.Status, body)
	case out == nil:
		return nil
	}
	return json.Unmarshal(body, out)
}

// backupFile is the file of a bucket.
func backupFile(dir, bucket string) string {
	return filepath.Join(dir, url.PathEscape(bucket)+".bucket")
}

// documents are what the console lists.
type documents struct {
	Rows []struct {
		ID  string `json:"id"`
		Doc struct {
			JSON string `json:"json"`
		} `json:"doc"`
	} `json:"rows"`
}

// backup writes each bucket to a file of its own.
func (a archive) backup(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(a.dir, a.repo)); err != nil {
		return fmt.Errorf("the repository is not there: %w", err)
	}
	dir := filepath.Join(a.dir, a.repo, time.Now().UTC().Format("2006-01-02T15_04_05.000000000Z"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	var buckets []struct{ Name string }
	if err := a.call(ctx, "GET", "/pools/default/buckets", nil, &buckets); err != nil {
		return err
	}
	for _, b := range buckets {
		var docs documents
		if err := a.call(ctx, "GET", "/pools/default/buckets/"+url.PathEscape(b.Name)+"/docs", nil, &docs); err != nil {
			return err
		}
		text, err := json.Marshal(docs)
		if err != nil {
			return err
		}
		if err := os.WriteFile(backupFile(dir, b.Name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// restore loads the last backup into buckets that are there.
func (a archive) restore(ctx context.Context) error {
	all, err := filepath.Glob(filepath.Join(a.dir, a.repo, "*Z"))
	if err != nil || len(all) == 0 {
		return errors.Join(err, errors.New("there is no backup in the repository"))
	}
	files, err := filepath.Glob(filepath.Join(slices.Max(all), "*.bucket"))
	if err != nil {
		return err
	}
	for _, file := range files {
		var docs documents
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &docs)
		}
		if err != nil {
			return err
		}
		bucket := strings.TrimSuffix(filepath.Base(file), ".bucket") // still escaped
		if err := a.call(ctx, "GET", "/pools/default/buckets/"+bucket, nil, nil); err != nil {
			return err
		}
		for _, row := range docs.Rows {
			if err := a.call(ctx, "POST", "/pools/default/buckets/"+bucket+"/docs/"+url.PathEscape(row.ID), url.Values{"value": {row.Doc.JSON}}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
