#!/bin/bash
# Install what building, running and testing need: Debian 12 packages, and the Kafka broker's jars.
#
# Does nothing, and needs neither network nor root, when everything is there already.
#   sandbox/deps.sh                   install what is missing
#   sandbox/deps.sh --list            print the packages, one per line
#   sandbox/deps.sh --list build      only those that building needs
set -euo pipefail

# The one list of packages. A comment says what needs each group.
build=(
	# PostgreSQL 15 modules, protocol buffers, the Kafka client, TLS.
	make gcc libc6-dev pkg-config
	postgresql-15 postgresql-server-dev-15 libpq-dev libssl-dev libkrb5-dev
	librdkafka-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler
	# The programs: event loop, HTTP/2, configuration, the ledger of the Account stand-in.
	libevent-dev libnghttp2-dev libinih-dev libsqlite3-dev libjansson-dev
)
packages=(
	"${build[@]}"
	# Second compiler (with the run-time library of its sanitizers) and the formatter.
	clang-14 libclang-rt-14-dev clang-format-14
	# Tests: cmocka for units, pgTAP and its pg_prove for SQL, pytest for whole systems, with gRPC's own peers, one of
	# HTTP/2 that does what those never do, a name server, and a balancer before PostgreSQL; docker-compose and systemd
	# check the files of deploy/.
	libcmocka-dev valgrind docker-compose haproxy systemd
	pgtap libtap-parser-sourcehandler-pgtap-perl
	python3 python3-pytest python3-pytest-timeout python3-pytest-xdist
	python3-psycopg python3-protobuf python3-confluent-kafka python3-grpcio python3-h2 python3-dnslib python3-cryptography
	# Other versions of PostgreSQL, out of packages of Python.
	python3-pip
	# Sandbox: the broker needs Java 17 and comes through Maven, and so does a peer, whose source is compiled as it starts;
	# setpriv, unshare, ps and ip are in the rest; iptables makes a network lose packets.
	openjdk-17-jdk-headless maven ca-certificates
	util-linux procps iproute2 iptables git
)

if [ "${1:-}" = --list ]; then
	if [ "${2:-}" = build ]; then
		packages=("${build[@]}")
	fi
	printf '%s\n' "${packages[@]}"
	exit 0
fi

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "deps: packages are missing; run this as root, or install sudo" >&2
		exit 1
	fi
}

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for package in "${packages[@]}"; do
	is_installed "$package" || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
	echo "deps: installing ${missing[*]}"
	as_root apt-get -qq update
	# The variable is set behind sudo, which would drop it from our own environment.
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}"
fi

exec /usr/bin/python3 "$(dirname "$0")/stack.py" fetch-kafka
