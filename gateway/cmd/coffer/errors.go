package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitNotAllowed  = 4
	exitUnavailable = 5
	exitIncomplete  = 6
)

// exits is the one table from HTTP to exit codes. What is not here is exitFailed. Trove answers 401, not 403, to those
// who are no admin.
var exits = map[int]int{
	http.StatusNotFound:           exitNotFound,
	http.StatusUnauthorized:       exitNotAllowed,
	http.StatusForbidden:          exitNotAllowed,
	http.StatusRequestTimeout:     exitUnavailable,
	http.StatusTooManyRequests:    exitUnavailable,
	http.StatusBadGateway:         exitUnavailable,
	http.StatusServiceUnavailable: exitUnavailable,
	http.StatusGatewayTimeout:     exitUnavailable,
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// codedError is an error whose exit code is known.
type codedError struct {
	code int
	error
}

func notFoundf(format string, args ...any) error {
	return &codedError{exitNotFound, fmt.Errorf(format, args...)}
}

// fail prints an error as one line and returns the exit code.
func (a *app) fail(err error) int {
	if err == nil {
		return exitOK
	}
	code, message := explain(err)
	if message != "" {
		fmt.Fprintln(a.errs, "coffer:", plain(message))
	}
	return code
}

// explain works out an error's exit code, and what a person should read of it.
func explain(err error) (code int, message string) {
	var (
		usage    *usageError
		coded    *codedError
		answer   gophercloud.ErrUnexpectedResponseCode
		noplace  *gophercloud.ErrEndpointNotFound
		invalid  gophercloud.ErrInvalidInput
		hostname *url.Error
		network  *net.OpError
	)
	message = oneLine(err.Error())
	switch {
	case errors.As(err, &usage):
		return exitUsage, message
	case errors.As(err, &coded):
		return coded.code, message
	case errors.As(err, &answer):
		code, ok := exits[answer.Actual]
		if !ok {
			code = exitFailed
		}
		return code, faultMessage(answer)
	case errors.As(err, &invalid):
		return exitFailed, fmt.Sprintf("%q: %s", invalid.Value, invalid.Info)
	case errors.As(err, &noplace):
		return exitFailed, "the catalogue has no service of type database in this region: check OS_REGION_NAME, or give --endpoint"
	case errors.Is(err, context.Canceled):
		return exitFailed, "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		return exitUnavailable, "out of time; --timeout gives more"
	case errors.As(err, &hostname):
		return exitUnavailable, fmt.Sprintf("cannot reach %s: %v; is the gateway running, and the address right?", origin(hostname.URL), hostname.Err)
	case errors.As(err, &network):
		return exitUnavailable, message
	}
	return exitFailed, message
}

// oneLine joins the lines of a message.
func oneLine(message string) string {
	var lines []string
	for line := range strings.Lines(message) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// wrongFlag says what is wrong with a flag, without what only programmers know, and where the flags are listed.
func wrongFlag(cmd *cobra.Command, err error) error {
	message, number, _ := strings.Cut(err.Error(), " flag: strconv.")
	if number != "" {
		message += " flag"
	}
	return usagef("%s; %s --help lists the flags", message, cmd.CommandPath())
}

// faultMessage digs the message out of {"itemNotFound": {"code": 404, "message": "…"}}.
func faultMessage(answer gophercloud.ErrUnexpectedResponseCode) string {
	var faults map[string]struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(answer.Body, &faults) == nil {
		for _, f := range faults {
			if f.Message != "" {
				return f.Message
			}
		}
	}
	return fmt.Sprintf("%s %s answered %d %s", answer.Method, answer.URL, answer.Actual, http.StatusText(answer.Actual))
}

func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Scheme + "://" + u.Host
}

// named wants as many arguments as use names in capitals; one in brackets may be left out, one with … repeated.
func named(use string) cobra.PositionalArgs {
	least, most := 0, 0
	for _, word := range strings.Fields(use)[1:] {
		switch {
		case strings.HasPrefix(word, "[") && strings.HasSuffix(word, "…]"):
			most = 1 << 10
		case strings.HasSuffix(word, "…"):
			least, most = least+1, 1<<10
		case strings.HasPrefix(word, "["):
			most++
		default:
			least, most = least+1, most+1
		}
	}
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("want: %s %s", cmd.Parent().CommandPath(), use)
		}
		return nil
	}
}
