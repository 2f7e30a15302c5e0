# zagg-catalog with zagg and Prefect: for the command line, flow runs, workers and a server.
# `make image` builds and checks it.
ARG PYTHON=3.12.12
# Tags can move; docs/operate/operations.md shows how to name both by their digests.
ARG BUILD_BASE=python:${PYTHON}-bookworm
ARG BASE=python:${PYTHON}-slim-bookworm

FROM ${BUILD_BASE} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY tools/make-image tools/
COPY deployments deployments
COPY zagg_catalog zagg_catalog
COPY flows flows
RUN ["python", "tools/make-image", "environment", "/opt/zagg-catalog"]

FROM ${BASE}
RUN useradd --uid 10001 --user-group --home-dir /work --create-home zagg
COPY --from=build /opt/zagg-catalog /opt/zagg-catalog
COPY deployments /app/deployments
# The root file system may be read-only: all files of a run are below /work.
ENV PATH=/opt/zagg-catalog/bin:$PATH \
    HOME=/work \
    TMPDIR=/work \
    XDG_CACHE_HOME=/work/cache \
    PREFECT_HOME=/work/prefect \
    PREFECT_UI_STATIC_DIRECTORY=/work/ui \
    ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER=/work/zagg-pickups \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /app
VOLUME /work
# Healthy: Prefect's API answers, if one is set.
HEALTHCHECK --interval=60s --timeout=15s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; u = os.environ.get('PREFECT_API_URL'); u and r.urlopen(u + '/health', timeout=10)"]
CMD ["zagg-catalog", "--help"]
