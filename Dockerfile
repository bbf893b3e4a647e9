# docker build --tag loadkit .      (the same for amd64 and arm64; docs/ci.md says how it is run)

# The Python that the figures in docs/performance.md were measured with.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS builder
# What the compiled engine takes. Versions are the distribution's: this stage is thrown away.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py README.md ./
COPY profiles profiles
COPY loadkit loadkit
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /dist .
RUN python -m venv --without-pip /opt/loadkit \
    && python -m pip --python /opt/loadkit/bin/python install --no-cache-dir /dist/*.whl
# A wheel may do without what is compiled; an image may not. It ends with what is missing.
WORKDIR /
RUN ["/opt/loadkit/bin/python", "-c", "import sys, loadkit.engine.aio._hook; from loadkit.engine.compiled import native_missing; sys.exit(native_missing())"]

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="loadkit" \
      org.opencontainers.image.description="High-concurrency TCP echo and load testing" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
COPY --from=builder /opt/loadkit /opt/loadkit
ENV PATH=/opt/loadkit/bin:$PATH
# Nothing that installs is left. The import writes the bytecode of what is used of the standard library, which the image
# comes without: nobody could write it later, and each start, of each health check too, would compile it again.
RUN python3 -c "import loadkit.cli.app, loadkit.doctor.check, loadkit.report.as_markdown, loadkit.report.as_junit" \
    && python3 -c "import loadkit.report.as_jsonl, loadkit.report.as_openmetrics, loadkit.report.as_html" \
    && python3 -c "import loadkit.report.as_csv, loadkit.report.as_table, loadkit.report.as_hlog, loadkit.report.as_hgrm" \
    && python3 -c "import loadkit.run.blast, loadkit.run.ping, loadkit.run.serve, loadkit.run.worker, loadkit.cli.live_screen" \
    && python3 -c "import loadkit.engine.native.engine, loadkit.engine.aio.loop, uvloop, rich.live" \
    && /usr/local/bin/python3 -m pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip \
    && rm -rf /usr/local/lib/python3*/ensurepip \
    && install --directory --owner=65532 --group=65532 /out
# An echo server that only its own container reaches is none.
ENV LOADKIT_SERVE_LISTEN=0.0.0.0:7000 \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 7000
USER 65532:65532
WORKDIR /out
STOPSIGNAL SIGTERM
# Connects, sends, compares. It asks where serve listens by LOADKIT_SERVE_LISTEN.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["loadkit", "ping"]
ENTRYPOINT ["loadkit"]
CMD ["--help"]
