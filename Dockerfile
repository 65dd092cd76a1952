# The server with what the lock file says; runs on a GPU if the container is given one, else on the CPU.
#   docker build -t lavida .
#   docker run -p 127.0.0.1:8000:8000 -v ./keys.txt:/keys.txt:ro lavida --host 0.0.0.0 --api-key-file /keys.txt
FROM python:3.11-slim AS build
WORKDIR /app
RUN pip install --no-cache-dir uv
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
COPY pyproject.toml uv.lock README.md LICENSE NOTICE ./
RUN uv sync --locked --extra serve --no-install-project
COPY llava llava
COPY shirg shirg
COPY configs configs
COPY lavida_shirg_integration.py ./
RUN uv sync --locked --extra serve

FROM python:3.11-slim
RUN useradd --create-home lavida
WORKDIR /app
COPY --from=build /app /app
USER lavida
ENV PATH=/app/.venv/bin:$PATH
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=300s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
ENTRYPOINT ["lavida", "serve"]
