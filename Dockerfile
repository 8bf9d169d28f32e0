# The images of docker-compose.yml, each a target: postgres, account, proxy. Everything is Debian's; nothing is fetched
# from anywhere else.

FROM debian:bookworm-slim AS build
WORKDIR /source
COPY sandbox/deps.sh sandbox/deps.sh
RUN apt-get -qq update \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $(bash sandbox/deps.sh --list build) \
	&& rm -rf /var/lib/apt/lists/*
COPY . .
RUN make build && make install DESTDIR=/image


FROM debian:bookworm-slim AS postgres
RUN apt-get -qq update \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends postgresql-15 librdkafka1 libprotobuf-c1 \
	&& rm -rf /var/lib/apt/lists/* \
	&& install -d -o postgres -g postgres /data
COPY --from=build /image/ /
COPY deploy/docker/postgres.sh /usr/local/bin/postgres.sh
USER postgres
VOLUME /data
EXPOSE 5432
ENTRYPOINT ["/usr/local/bin/postgres.sh"]


FROM debian:bookworm-slim AS programs
RUN apt-get -qq update \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends libevent-core-2.1-7 \
		libevent-extra-2.1-7 libinih1 libjansson4 libnghttp2-14 libpq5 libprotobuf-c1 libsqlite3-0 libssl3 \
	&& rm -rf /var/lib/apt/lists/*
COPY --from=build /source/build/programs-gcc/account /source/build/programs-gcc/order-proxy \
	/source/build/programs-gcc/orderctl /source/build/programs-gcc/order-bench /usr/local/bin/
USER nobody


FROM programs AS account
EXPOSE 9000 9001
ENTRYPOINT ["account", "--listen", "0.0.0.0:9000", "--admin", "0.0.0.0:9001"]


FROM programs AS proxy
EXPOSE 8082 9094
ENTRYPOINT ["order-proxy"]
