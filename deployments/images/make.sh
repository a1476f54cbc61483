#!/bin/sh
# Makes an image: a tree of Debian's files that coffer-host runs guests and servers in, without booting it.
#
#   make.sh [-m MIRROR] [-s SUITE] [-o SUITE:PACKAGE]... [-x SUITE:PACKAGE]... [-t TARBALL:PATH]... DIRECTORY PACKAGE...
#
#   make.sh /var/lib/coffer/images/debian-13 mariadb-server mariadb-backup tzdata postgresql-17 valkey-server
#
# DIRECTORY must not exist. Its last part is the image's name, which definitions give as "image"; the directory above it is
# coffer-host's -image-dir, by default /var/lib/coffer/images. -o takes a package from an older suite: PostgreSQL's pg_upgrade needs the programs of the version
# before, as in -o bookworm:postgresql-15. -x unpacks one below /opt/SUITE that cannot be installed beside the newer, with its
# libraries as the last that are looked for. -t unpacks a tarball of this machine's, compressed or not, below a path of the image.
# Needs root and debootstrap. No service is started. A tree that was not finished is removed.
set -eu

mirror=http://deb.debian.org suite=trixie older= apart= tarballs=
while getopts m:s:o:x:t: option; do
	case $option in
	m) mirror=$OPTARG ;;
	s) suite=$OPTARG ;;
	o) older="$older $OPTARG" ;;
	x) apart="$apart $OPTARG" ;;
	t) tarballs="$tarballs $OPTARG" ;;
	*) sed -n '4,6s/^# *//p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
if [ $# -lt 2 ]; then
	sed -n '4,6s/^# *//p' "$0" >&2
	exit 2
fi
tree=$1
shift
if [ -e "$tree" ]; then
	echo "$0: $tree is there already" >&2
	exit 1
fi
mkdir -p "$(dirname "$tree")"
half=$(mktemp -d "$tree.half-XXXXXX")
log=$half.log
trap 'status=$?; [ $status = 0 ] || { tail -n 20 "$log" >&3; rm -rf "$half"; }; rm -f "$log"; exit $status' EXIT
trap 'exit 130' INT TERM
exec 3>&1 >"$log" 2>&1
chmod 755 "$half"

inside() { chroot "$half" env DEBIAN_FRONTEND=noninteractive "$@"; }

echo "debootstrap $suite" >&3
debootstrap --variant=minbase "$suite" "$half" "$mirror/debian"

# Servers are run by hosts, never by packages.
printf '#!/bin/sh\nexit 101\n' >"$half/usr/sbin/policy-rc.d"
chmod 755 "$half/usr/sbin/policy-rc.d"
mkdir -p "$half/etc/postgresql-common"
echo 'create_main_cluster = false' >"$half/etc/postgresql-common/createcluster.conf"

# With the security updates: a pg_upgrade that is older than the data's server refuses the data.
cp /etc/resolv.conf "$half/etc/resolv.conf"
for s in $suite $older $apart; do
	echo "deb $mirror/debian ${s%%:*} main"
	# What is unstable is mended in its own suite.
	[ "${s%%:*}" = sid ] || echo "deb $mirror/debian-security ${s%%:*}-security main"
done | sort -u >"$half/etc/apt/sources.list"
printf 'APT::Default-Release "/^%s/";\nAPT::Install-Recommends "false";\n' "$suite" >"$half/etc/apt/apt.conf.d/90coffer"
# A mirror may be behind with what changes every six hours.
[ "$suite" != sid ] || echo 'Acquire::Check-Valid-Until "false";' >>"$half/etc/apt/apt.conf.d/90coffer"
inside apt-get update
echo "packages $*" >&3
inside apt-get install -y "$@"
for o in $older; do
	echo "package ${o#*:} of ${o%%:*}" >&3
	inside apt-get install -y "${o#*:}"
done
for x in $apart; do
	echo "package ${x#*:} of ${x%%:*}, in /opt/${x%%:*}" >&3
	mkdir -p "$half/opt/${x%%:*}" "$half/tmp/apart"
	inside sh -ec "cd /tmp/apart && apt-get download ${x#*:}/${x%%:*} && dpkg -x *.deb /opt/${x%%:*}"
	rm -r "$half/tmp/apart"
	echo "/opt/${x%%:*}/usr/lib/$(uname -m)-linux-gnu" >"$half/etc/ld.so.conf.d/zz-${x%%:*}.conf"
done
[ -z "$apart" ] || inside ldconfig
for t in $tarballs; do
	echo "tarball ${t%%:*}, in ${t#*:}" >&3
	mkdir -p "$half${t#*:}"
	tar -xf "${t%%:*}" -C "$half${t#*:}" --no-same-owner
done
inside apt-get clean
touch "$half/etc/hosts" "$half/etc/passwd" "$half/etc/group" # they are mounted over
mv "$half" "$tree"
echo "$tree" >&3
