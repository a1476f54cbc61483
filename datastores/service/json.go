package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SaveJSON puts value into the file name below dir, atomically and durably, for the guest alone. dir is the guest's own.
func SaveJSON(dir, name string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return WriteFile(dir, name, b, -1, -1)
}

// LoadJSON reads what SaveJSON has put there. A file that is missing leaves value as it is and is no error.
func LoadJSON(dir, name string, value any) error {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, value)
	}
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", name, err)
	}
	return nil
}
