# host.sh GATEWAYS CA TOKEN POOL IDS: coffer-host of the package, with its settings.
set -eu
(umask 077 && mkdir /etc/coffer && echo "$3" >/etc/coffer/enrolment-token)
cat >>/etc/default/coffer-host <<-SETTINGS
	COFFER_HOST_GATEWAYS=$1
	COFFER_HOST_CA=$2
	COFFER_HOST_TOKEN_FILE=/etc/coffer/enrolment-token
	COFFER_HOST_ADDRESS_POOL=$4
	COFFER_HOST_IDS=$5
	COFFER_HOST_INTERFACE=host0
	COFFER_HOST_MEMORY=4096
	COFFER_HOST_DISK=20
SETTINGS
systemctl enable --now coffer-host 2>/dev/null
