#!/bin/bash
# Install what building, running and testing need: Debian 12 packages, and the Kafka broker's jars.
#
# Does nothing, and needs neither network nor root, when everything is there already.
#   sandbox/deps.sh             install what is missing
#   sandbox/deps.sh --list      print the packages, one per line
set -euo pipefail

# The one list of packages. A comment says what needs each group.
packages=(
	# Build: PostgreSQL 15 modules, protocol buffers, the Kafka client.
	make gcc libc6-dev pkg-config
	postgresql-15 postgresql-server-dev-15 libpq-dev libssl-dev libkrb5-dev
	librdkafka-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler
	# Second compiler (with the run-time library of its sanitizers) and the formatter.
	clang-14 libclang-rt-14-dev clang-format-14
	# Tests: cmocka for units, pgTAP and its pg_prove for SQL, pytest for whole systems.
	libcmocka-dev
	pgtap libtap-parser-sourcehandler-pgtap-perl
	python3 python3-pytest python3-pytest-timeout python3-psycopg python3-protobuf python3-confluent-kafka
	# Sandbox: the broker needs Java 17 and comes through Maven; setpriv and ps are in the rest.
	openjdk-17-jre-headless maven ca-certificates
	util-linux procps git
)

if [ "${1:-}" = --list ]; then
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
