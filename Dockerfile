# Cordée in a container: a static binary, a user that is nobody, no shell.
#
#   docker build --build-arg COMMIT=$(git rev-parse HEAD) -t cordee:0.1.0 .

FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS=linux
ARG TARGETARCH
ARG COMMIT=unknown
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOFLAGS=-mod=readonly \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.commit=$COMMIT" -o /root-of-image/usr/local/bin/cordee ./cmd/cordee
# A new volume takes owner and mode of the folder that it is mounted on. These
# are of the user below, so that no service ever has to run as root: the pool's
# own folder, and those that `prepare` of docker-compose.yml hands to others.
RUN cd /root-of-image && mkdir -p -m 0755 etc/cordee etc/ssl/certs var/lib && \
    mkdir -m 0700 var/lib/cordee var/lib/bitcoind var/lib/redis && mkdir -p -m 0755 run/bitcoind && \
    cp /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/

FROM scratch
ARG VERSION=0.1.0
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="cordee" \
      org.opencontainers.image.description="A Bitcoin mining pool for a consortium" \
      org.opencontainers.image.licenses="ISC" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build --chown=10001:10001 /root-of-image/ /
USER 10001:10001
ENV CORDEE_CONFIG=/etc/cordee/cordee.toml
EXPOSE 3333 8080
# It asks the pool over its own socket: exit 1 where no pool answers.
HEALTHCHECK --interval=15s --timeout=6s --start-period=60s --retries=3 CMD ["/usr/local/bin/cordee", "status", "--json"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/cordee"]
CMD ["serve", "--log", "json"]
