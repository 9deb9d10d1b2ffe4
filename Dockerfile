# An image for the CPU: codec in /venv, the files to work on in /data.
#
#   docker build -t audiocodec .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" audiocodec encode in.wav out.tok
#
# EXTRAS: of pyproject.toml, separated by commas. eval, train and all need a C compiler, which is
# in the first stage only.
FROM python:3.11-slim AS build
ARG EXTRAS=onnx
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /source
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt torch \
    --index-url https://download.pytorch.org/whl/cpu --extra-index-url https://pypi.org/simple
COPY pyproject.toml README.md LICENSE ./
COPY audiocodec ./audiocodec
COPY cli ./cli
COPY recipes ./recipes
RUN pip install --no-cache-dir -c constraints.txt ".[$EXTRAS]"

FROM python:3.11-slim
COPY --from=build /venv /venv
# Numba and Matplotlib write caches; the user of `docker run --user` has no home.
ENV PATH=/venv/bin:$PATH HOME=/tmp NUMBA_CACHE_DIR=/tmp MPLCONFIGDIR=/tmp ORT_DISABLE_TELEMETRY=1
RUN useradd --create-home --uid 1000 codec
USER codec
WORKDIR /data
ENTRYPOINT ["codec"]
CMD ["--help"]
