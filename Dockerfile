# micro-gw alone: for `serve`, beside an Envoy of its own image (docker-compose.yml), and for building artifacts.
#
# Base images are pinned by version. Pin their digests, too, where a build must be the same for ever:
# `docker buildx imagetools inspect IMAGE` tells them.

FROM rust:1.95.0-bookworm AS build
# The toolchain of this image, not another one that rustup would fetch for rust-toolchain.toml.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /source
COPY . .
# As everything that is passed on: locked, and without the paths of the build in it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    .ci/release && \
    install -D -m 0755 target/dist/micro-gw /out/bin/micro-gw
# A new volume takes owner and mode from what the image has in its place.
RUN install -d -m 0700 /out/run/micro-gw /out/var-lib/micro-gw

# No shell, no package manager; glibc, libgcc and the public certificate authorities.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="micro-gw" \
      org.opencontainers.image.description="An immutable, isolated API microgateway on stock Envoy" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/bin/ /usr/local/bin/
COPY --from=build --chown=65532:65532 /out/run/ /run/
COPY --from=build --chown=65532:65532 /out/var-lib/ /var/lib/
# Where keys and the last live artifact are kept: /var/lib/micro-gw.
ENV XDG_DATA_HOME=/var/lib
USER 65532:65532
WORKDIR /
# The admin interface, where it is configured to be reached.
EXPOSE 9000
ENTRYPOINT ["/usr/local/bin/micro-gw"]
CMD ["--help"]
