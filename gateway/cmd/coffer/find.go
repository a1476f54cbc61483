package main

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// find turns a thing's name or id into an id. kind is what people call it, and the command that lists it.
func find[T any](kind, ref string, list func() ([]T, error), of func(T) (id, name string)) (string, error) {
	if _, err := uuid.Parse(ref); err == nil {
		return ref, nil
	}
	all, err := list()
	if err != nil {
		return "", err
	}
	var ids []string
	for _, one := range all {
		if id, name := of(one); name == ref {
			ids = append(ids, id)
		}
	}
	switch len(ids) {
	case 0:
		return "", notFoundf("there is no %s %q; `coffer %s list` shows what there is", kind, ref, kind)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%d %ss are named %q; say which by id: %s", len(ids), kind, ref, strings.Join(ids, ", "))
}
