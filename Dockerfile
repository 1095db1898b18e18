# How to build and run it: docs/deploy.md. TORCH names another requirements file for PyTorch, as with make.
FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv /opt/kmex
ENV PATH=/opt/kmex/bin:$PATH
ARG TORCH=requirements-torch.lock
COPY requirements.lock $TORCH ./
RUN pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes -r requirements.lock
RUN pip install --no-cache-dir --no-deps --only-binary :all: -r $TORCH
COPY pyproject.toml README.md LICENSE ./
COPY .streamlit .streamlit
COPY kmex_core kmex_core
COPY app app
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist .
RUN pip install --no-deps --no-index dist/*.whl

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 kmex && install --directory --owner kmex --group kmex /store /data
COPY --from=build /opt/kmex /opt/kmex
# all addresses of the container, of which the host publishes what `docker run --publish` names
ENV PATH=/opt/kmex/bin:$PATH \
    KMEX_CACHE=/store \
    KMEX_DATA=/data \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0
USER kmex
WORKDIR /home/kmex
VOLUME /store
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=5)"]
CMD ["kmex", "app", "--port", "8501"]
