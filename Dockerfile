# zagg-catalog with zagg, for workers and for the command line.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY zagg_catalog ./zagg_catalog
COPY flows ./flows
RUN python -m venv /opt/zagg-catalog \
    && /opt/zagg-catalog/bin/pip install --no-cache-dir -c constraints.txt '.[aggregator]'

FROM python:3.12-slim
COPY --from=build /opt/zagg-catalog /opt/zagg-catalog
COPY deployments /app/deployments
ENV PATH=/opt/zagg-catalog/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home zagg
USER zagg
WORKDIR /app
ENTRYPOINT ["zagg-catalog"]
CMD ["--help"]
