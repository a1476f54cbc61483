#!/bin/sh
# Makes the trees of Apache Cassandra 4.1 and 5.0 that tests run, as its archive lays them out, of what Maven Central serves:
#
#   cassandra.sh DIRECTORY
#
# They are DIRECTORY/cassandra-4.1 and DIRECTORY/cassandra-5.0; one that is there is left alone. Operators unpack Apache's archive instead:
# this needs no mirror of it. Every jar must be the one that cassandra.sha256 names. Needs mvn. A tree that was not finished is removed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
if [ $# != 1 ]; then
	sed -n '4,4s/^# *//p' "$0" >&2
	exit 2
fi
mkdir -p "$1"
into=$(cd "$1" && pwd)
for version in 4.1.10 5.0.6; do
	tree=$into/cassandra-${version%.*}
	[ ! -e "$tree" ] || continue
	half=$(mktemp -d "$tree.half-XXXXXX")
	trap 'rm -rf "$half"' EXIT
	trap 'exit 130' INT TERM
	mkdir "$half/bin" "$half/lib"
	cat >"$half/pom.xml" <<-POM
		<project xmlns="http://maven.apache.org/POM/4.0.0">
		  <modelVersion>4.0.0</modelVersion>
		  <groupId>coffer</groupId><artifactId>tree</artifactId><version>1</version><packaging>pom</packaging>
		  <dependencies>
		    <dependency><groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId><version>$version</version></dependency>
		  </dependencies>
		</project>
	POM
	echo "Cassandra $version"
	mvn -B -q -f "$half/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy-dependencies -DoutputDirectory="$half/lib" || {
		echo "$0: Maven Central has not given the jars of cassandra-all $version; its words are above. Try again, or set a mirror in ~/.m2/settings.xml" >&2
		exit 1
	}
	(cd "$half/lib" && sha256sum *.jar) >"$half/sums"
	sed -n "s/^\([0-9a-f]*\)  ${version}\//\1  /p" "$here/cassandra.sha256" | diff - "$half/sums" >&2 || {
		echo "$0: these are not the jars of cassandra-all $version that cassandra.sha256 names" >&2
		exit 1
	}
	rm "$half/pom.xml" "$half/sums"
	printf '#!/bin/sh\n# The guest starts the server itself.\necho %s\n' "$version" >"$half/bin/cassandra"
	chmod -R a+rX "$half"
	chmod 755 "$half/bin/cassandra"
	mv "$half" "$tree"
	trap - EXIT
done
