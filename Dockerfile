# The agent as an image: built on Debian 12, run as an unprivileged user with nothing but its libraries.
# SPDX-License-Identifier: Apache-2.0

FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev make pkg-config \
        librdkafka-dev librocksdb-dev libjansson-dev libssl-dev libutf8proc-dev \
        libcsv-dev libjemalloc-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make && strip build/kinlog

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
        librdkafka1 librocksdb7.8 libjansson4 libssl3 libutf8proc2 libcsv3 libjemalloc2 \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 65532 -g 65532 -m 0700 /var/lib/kinlog
COPY --from=build /src/build/kinlog /usr/bin/kinlog
COPY --from=build /src/packaging/kinlog.conf /etc/kinlog/kinlog.conf
COPY --from=build /src/LICENSE /usr/share/doc/kinlog/LICENSE
LABEL org.opencontainers.image.title="kinlog" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
VOLUME /var/lib/kinlog
ENV KINLOG_CONFIG=/etc/kinlog/kinlog.conf
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["kinlog", "status", "--config", "/etc/kinlog/kinlog.conf"]
ENTRYPOINT ["kinlog"]
CMD ["run", "--config", "/etc/kinlog/kinlog.conf"]
