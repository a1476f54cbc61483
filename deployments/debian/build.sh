#!/bin/sh
# Builds Debian packages of what `task build` has made in bin/, or in $BIN, into a directory: build.sh VERSION DIRECTORY
# [PACKAGE]; all without one.
set -eu
cd "$(dirname "$0")/../.."
VERSION=$1 GOARCH=$(go env GOARCH) BIN=${BIN:-bin}
export VERSION GOARCH BIN
mkdir -p "$2"
into=$2 only=${3:-}
build() {
	[ -z "$only" ] || [ "$only" = "$1" ] || return 0
	GUEST=${3:-} go run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0 package -p deb -f "deployments/debian/$2.yaml" -t "$into"
}
for package in coffer coffer-gateway coffer-host; do build $package $package; done
for guest in "$BIN"/guests/*-guest; do
	guest=${guest##*/}
	guest=${guest%-guest}
	build "coffer-guest-$guest" coffer-guest "$guest"
done
