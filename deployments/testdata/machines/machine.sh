# machine.sh ADDRESS [ROUTER]: what a kernel of its own would give a machine, and its network.
set -eu
ip address add "$1" dev host0
ip link set lo up
ip link set host0 up
[ $# -lt 2 ] || ip route add default via "$2"
awk '$3 == "cgroup" {print $2}' /proc/mounts | while read -r hierarchy; do
	mount -o remount,bind,rw,nosuid,nodev,noexec "$hierarchy"
done
# Who may see all of these may mount them in a user namespace, and systemd-nspawn covers parts of its own.
mkdir -p /run/kernel/proc
mount -t proc proc /run/kernel/proc
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
for n in $(seq 0 63); do mknod "/dev/loop$n" b 7 "$n"; done
