# docker build -t daqplane .        docs/deployment.md says how to run it
FROM python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The panel is built with a Node.js from PyPI; nothing of either stays in the image.
RUN make wheel
RUN python -m venv /opt/daqplane \
 && /opt/daqplane/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /opt/daqplane/bin/pip install --no-cache-dir --no-deps --no-index dist/daqplane-*.whl

FROM python:3.11-slim-bookworm
# tini reaps what outlives its parent; `daqplane run` is no init.
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/daqplane --create-home daqplane \
 && chmod 0750 /var/lib/daqplane
COPY --from=build /opt/daqplane /opt/daqplane
ENV PATH=/opt/daqplane/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DAQ_HOME=/var/lib/daqplane \
    DAQ_HTTP_HOST=0.0.0.0
USER daqplane
VOLUME /var/lib/daqplane
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('DAQ_HTTP_PORT', '8080') + '/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--", "daqplane"]
CMD ["run"]
