# The image holds one static binary and nothing else: certificate roots and time
# zones are inside it, and so is its health check.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN make build VERSION="$VERSION" && mkdir -p /root-of-image/data

FROM scratch
COPY --from=build /src/bin/manti /manti
COPY --from=build --chown=65532:65532 /root-of-image/data /data
USER 65532:65532
# container tells manti that other machines call it: it listens on :8080.
ENV container=docker MANTI_DATA=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s CMD ["/manti", "health"]
ENTRYPOINT ["/manti"]
CMD ["serve"]
