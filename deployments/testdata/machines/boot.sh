# boot.sh NAME DIRECTORY NETWORK PACKAGES GROUPS: boots a machine whose disk is this one's, as far as it is Debian's, with a layer over it.
# Its control groups are below GROUPS, its packages of Coffer in /debs.
set -eu
name=$1 dir=$2 network=$3 packages=$4 groups=$5
mkdir -p "$dir/upper" "$dir/work" "$dir/root"
root=$dir/root
mount -t overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" overlay "$root"
cd "$root"
rm -rf etc/systemd/system etc/init.d etc/rc?.d etc/fstab etc/resolv.conf etc/coffer* etc/default/coffer* etc/default/etcd \
	usr/bin/coffer* usr/lib/coffer usr/lib/systemd/system/coffer* var/lib/coffer* var/lib/etcd usr/sbin/policy-rc.d
mkdir etc/systemd/system
echo "$name" >etc/hostname
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts | while read -r hierarchy; do
	group=$hierarchy/$groups/$name
	mkdir -p "$group"
	if [ -e "$hierarchy/cpuset.cpus" ]; then
		for g in "$hierarchy/$groups" "$group"; do
			cat "$hierarchy/cpuset.cpus" >"$g/cpuset.cpus"
			cat "$hierarchy/cpuset.mems" >"$g/cpuset.mems"
		done
	fi
	echo $$ >"$group/cgroup.procs"
done
# A machine of one's own has no list of forbidden system calls.
export SYSTEMD_SECCOMP=0
exec systemd-nspawn --boot --directory="$root" --machine="$name" --register=no --keep-unit --network-bridge="$network" --capability=all \
	--resolv-conf=off --link-journal=no --bind-ro="$packages:/debs"
