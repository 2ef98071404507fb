# The same app without Azure Functions, for Azure Container Apps or wherever containers run: docs/deploy.md.
FROM python:3.13-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
WORKDIR /app
COPY requirements.txt requirements-local.txt ./
RUN python -m venv --without-pip /venv && pip --python /venv/bin/python install --requirement requirements.txt
RUN pip --python /venv/bin/python install --constraint requirements-local.txt uvicorn httptools uvloop

FROM python:3.13-slim-bookworm
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RANKLOOP_DATA=/tmp/rankloop RANKLOOP_LOG_LEVEL=warning RANKLOOP_LOG_FORMAT=json
ENV AzureWebJobsDisableHomepage=true
WORKDIR /app
COPY --from=packages /venv /venv
COPY . ./
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/venv/bin/python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
ENTRYPOINT ["/venv/bin/python", "-m", "localhost", "--host", "0.0.0.0", "--port", "8080", "--auth", "--replicas"]
