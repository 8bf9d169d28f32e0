#!/bin/bash
# Starts PostgreSQL with the extension; the first time it makes the cluster, the database `orders`, and the role of the
# proxy. Environment: ORDER_PROXY_PASSWORD (of the role order_proxy), KAFKA_BROKERS (host:port, ...).
set -euo pipefail

: "${ORDER_PROXY_PASSWORD:?must be set}" "${KAFKA_BROKERS:?must be set}"
export PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/data/cluster

settings=(
	-c "listen_addresses=*"
	-c "unix_socket_directories=/tmp"
	-c "shared_preload_libraries=order_service"
	-c "order_service.databases=orders"
	-c "order_service.kafka_brokers=$KAFKA_BROKERS"
)

if [ ! -e "$PGDATA/ready" ]; then
	rm -rf "$PGDATA"
	initdb --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >/dev/null
	echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
	pg_ctl start --wait --silent -o "-c listen_addresses= -c unix_socket_directories=/tmp -c shared_preload_libraries=order_service"
	psql -h /tmp -d postgres --quiet --set=ON_ERROR_STOP=1 --set=password="$ORDER_PROXY_PASSWORD" <<-'SQL'
		CREATE DATABASE orders;
		CREATE ROLE order_proxy LOGIN PASSWORD :'password';
		\connect orders
		CREATE EXTENSION order_service;
		SELECT order_service.grant_proxy('order_proxy');
	SQL
	pg_ctl stop --wait --silent --mode=fast
	# Last, so that an interrupted beginning is begun again.
	touch "$PGDATA/ready"
fi

exec postgres "${settings[@]}"
