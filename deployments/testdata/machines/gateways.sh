# gateways.sh ADDRESS: two gateways over TLS, of one machine: the package's, and another with a unit that differs in where things are.
set -eu
coffer keys new --file /etc/coffer-keys
chown coffer /etc/coffer-keys
settings() {
	cat <<-SETTINGS
		COFFER_LISTEN=0.0.0.0:$2
		COFFER_TLS_NAMES=$1
		COFFER_KEY_FILE=/etc/coffer-keys
		COFFER_BACKUP_DIR=/var/lib/coffer/backups
		COFFER_ETCD_ENDPOINTS=https://127.0.0.1:2379
		COFFER_ETCD_CA=/etc/etcd-tls/ca.pem
		COFFER_ETCD_CERT=/etc/etcd-tls/coffer-gateway.pem
		COFFER_ETCD_KEY=/etc/etcd-tls/coffer-gateway.key
	SETTINGS
}
settings "$1" 8779 >>/etc/default/coffer-gateway
settings "$1" 8781 >/etc/default/coffer-gateway-2
sed 's#-data-dir /var/lib/coffer#&-2#; s#^StateDirectory=coffer$#& coffer-2#; s#default/coffer-gateway$#&-2#' \
	/usr/lib/systemd/system/coffer-gateway.service >/etc/systemd/system/coffer-gateway-2.service
systemctl daemon-reload
systemctl start coffer-gateway
