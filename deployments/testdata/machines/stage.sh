# stage.sh: what is between machines, in network, mount and process namespaces that nobody else has: a network "outside" with gateways, one
# "inside" with hosts, and a router between them that translates. Whoever runs this is the router.
set -eu
# What others have mounted is theirs alone: they unmount it. The layer of .ci/unsynced is this test's, too.
awk -v mine="${TMPDIR-}" '$5 != mine && $5 ~ /^\/(tmp|dev\/shm|run\/netns)\// {print $5}' /proc/self/mountinfo | sort -r | while read -r at; do umount -l "$at"; done
mkdir -p /run/systemd
mount -t tmpfs -o mode=755 tmpfs /run/systemd
ip link set lo up
for net in outside:10.87.0.1/24 inside:10.88.0.1/16; do
	ip link add "${net%%:*}" type bridge
	ip address add "${net#*:}" dev "${net%%:*}"
	ip link set "${net%%:*}" up
done
ip address add 10.88.0.9/16 dev inside # a client that may not
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<-RULES
	table ip coffer_router {
		chain translated { type nat hook postrouting priority srcnat; oifname outside masquerade; }
		chain passed { type filter hook forward priority filter; iifname outside ct state new drop; }
	}
RULES
