# etcd.sh: an etcd over TLS that knows its clients by their certificates, with the roles of deployments/etcd-rbac.
set -eu
mkdir -p /etc/etcd-tls
cd /etc/etcd-tls
key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
openssl req -x509 $key -days 2 -subj '/CN=CA of etcd' -keyout ca.key -out ca.pem 2>/dev/null
printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >usage
for name in server root coffer-gateway coffer-operator; do
	openssl req $key -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" 2>/dev/null
	openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile usage -out "$name.pem" 2>/dev/null
done
chmod 711 .
chown etcd server.key
chown coffer coffer-gateway.key
cat >/etc/default/etcd <<-SETTINGS
	ETCD_LISTEN_CLIENT_URLS=https://127.0.0.1:2379
	ETCD_ADVERTISE_CLIENT_URLS=https://127.0.0.1:2379
	ETCD_CERT_FILE=$PWD/server.pem
	ETCD_KEY_FILE=$PWD/server.key
	ETCD_CLIENT_CERT_AUTH=true
	ETCD_TRUSTED_CA_FILE=$PWD/ca.pem
SETTINGS
install -d -o etcd -g etcd -m 700 /var/lib/etcd
systemctl start etcd
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 ETCDCTL_CACERT=$PWD/ca.pem
as() { export ETCDCTL_CERT="$PWD/$1.pem" ETCDCTL_KEY="$PWD/$1.key"; }
as root
sh -e /debs/roles.sh
etcdctl auth enable
as coffer-operator
cd /usr/share/coffer/definitions
sh -e put.sh guest/datastores/postgresql/15.json server/datastores/postgresql.json server/datastores/postgresql/15.json server/flavors/1.json
