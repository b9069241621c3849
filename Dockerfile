# A message server in a container: the locked packages, the source, no root.
#
#   docker build -t pushd .
#   docker run --stop-timeout 40 -p 8480:8480 -v pushd:/data \
#     -e PUSHD_PUBLIC_URL=https://push.example.org pushd

FROM python:3.11-slim-trixie AS packages
COPY requirements.lock .
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes \
      -r requirements.lock

FROM python:3.11-slim-trixie
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 \
    PUSHD_HOST=0.0.0.0 PUSHD_DATA_DIR=/data PUSHD_LOG_FORMAT=json
COPY --from=packages /venv /venv
COPY pushd /app/pushd
RUN python -m compileall -q /app \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin pushd \
 && install --directory --owner pushd /data
USER 10001
VOLUME /data
EXPOSE 8480
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD python -c \
  "from urllib.request import urlopen; urlopen('http://127.0.0.1:${PUSHD_PORT:-${PORT:-8480}}/health/live', timeout=3)"
ENTRYPOINT ["python", "-m", "pushd"]
CMD ["serve"]
