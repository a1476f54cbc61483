package troveconf

import (
	"fmt"
	"strconv"
	"strings"
)

// Bool reads a boolean in any of oslo.config's ways to write it.
func Bool(value string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true", "1", "on", "yes":
		return true, nil
	case "false", "0", "off", "no":
		return false, nil
	}
	return false, fmt.Errorf("%q is no boolean; want true or false", value)
}

// Int reads an integer.
func Int(value string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", value)
	}
	return n, nil
}

// List reads a list by commas; it may stand in brackets, its elements in quotes. Empty elements are left out.
func List(value string) []string {
	value = strings.TrimSpace(value)
	if inside, ok := strings.CutPrefix(value, "["); ok && strings.HasSuffix(inside, "]") {
		value = strings.TrimSuffix(inside, "]")
	}
	list := []string{}
	for _, element := range strings.Split(value, ",") {
		if element = unquoted(strings.TrimSpace(element)); element != "" {
			list = append(list, element)
		}
	}
	return list
}

// Pair is a member of a dictionary.
type Pair struct{ Key, Value string }

// Dict reads a dictionary, key:value by commas; it may stand in braces.
func Dict(value string) ([]Pair, error) {
	value = strings.TrimSpace(value)
	if inside, ok := strings.CutPrefix(value, "{"); ok {
		if value, ok = strings.CutSuffix(inside, "}"); !ok {
			return nil, fmt.Errorf("the closing } is missing")
		}
	}
	pairs := []Pair{}
	for _, member := range List(value) {
		key, v, ok := strings.Cut(member, ":")
		p := Pair{unquoted(strings.TrimSpace(key)), unquoted(strings.TrimSpace(v))}
		if !ok || p.Key == "" || p.Value == "" {
			return nil, fmt.Errorf("%q is no member of a dictionary; want name:value", member)
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}
