# countersign as a container image: one binary, no shell, not root.
#
#   docker build --tag countersign .                       (distroless)
#   docker build --tag countersign --target static .       (scratch: nothing but the binary)
#   podman build --format docker --tag countersign .       (the OCI format has no HEALTHCHECK)
#
# Both base images can be replaced by mirrors, or pinned by digest, with --build-arg. Each binary
# is made in a stage of its own, `build` and `build-static`, which a folder with one that is
# made already can take the place of: --build-context build=FOLDER.
ARG BUILD_IMAGE=docker.io/library/rust:1-bookworm
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot
# What the labels say.
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown

FROM ${BUILD_IMAGE} AS source
WORKDIR /src
COPY . .

# The caches outlive the build, so a change of the code compiles the code and not its dependencies.
FROM source AS build
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin countersign && \
    install -D -m 0755 target/release/countersign /out/usr/local/bin/countersign && \
    install -D -m 0644 LICENSE /out/usr/share/doc/countersign/LICENSE && \
    install -d -m 0755 /out/etc/countersign

# With the C library in the binary; and with what `trust = "system"` reads, which scratch has not.
FROM source AS build-static
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo rustc --release --locked --bin countersign -- -C target-feature=+crt-static && \
    install -D -m 0755 target/release/countersign /out/usr/local/bin/countersign && \
    install -D -m 0644 LICENSE /out/usr/share/doc/countersign/LICENSE && \
    install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt && \
    install -d -m 0755 /out/etc/countersign

# What follows is said twice, since the two images have nothing below them in common.
FROM scratch AS static
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="countersign" \
      org.opencontainers.image.description="A reverse proxy that terminates mutual TLS and tells the service who is calling" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="scratch"
COPY --from=build-static /out/ /
USER 65532:65532
WORKDIR /
EXPOSE 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/countersign", "healthcheck", "--config", "/etc/countersign/countersign.toml"]
ENTRYPOINT ["/usr/local/bin/countersign"]
CMD ["run", "--config", "/etc/countersign/countersign.toml"]

FROM ${RUN_IMAGE} AS distroless
ARG RUN_IMAGE
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="countersign" \
      org.opencontainers.image.description="A reverse proxy that terminates mutual TLS and tells the service who is calling" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${RUN_IMAGE}"
COPY --from=build /out/ /
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /
EXPOSE 8443
# First SIGTERM drains, second ends at once.
STOPSIGNAL SIGTERM
# Asks the [admin] address of the config; it is the binary itself, since there is no shell.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/countersign", "healthcheck", "--config", "/etc/countersign/countersign.toml"]
ENTRYPOINT ["/usr/local/bin/countersign"]
CMD ["run", "--config", "/etc/countersign/countersign.toml"]
