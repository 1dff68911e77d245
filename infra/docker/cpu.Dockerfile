# openwit on CPUs: the demo, curation nodes, tests. From the project's root:
#   docker build -f infra/docker/cpu.Dockerfile -t openwit:0.1.0-cpu .
FROM python:3.11.14-slim-bookworm

# g++: DeepSpeed compiles its shared-memory collective at first use. wget: KubeRay's health probes call it.
RUN apt-get update \
 && apt-get install -y --no-install-recommends git g++ libaio-dev wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 openwit

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 DS_ACCELERATOR=cpu \
    RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
WORKDIR /opt/openwit

# Dependencies first: this layer is rebuilt only when the versions change.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline/__init__.py pipeline/__init__.py
RUN mkdir training evaluation orchestration && touch training/__init__.py evaluation/__init__.py orchestration/__init__.py \
 && pip install --extra-index-url https://download.pytorch.org/whl/cpu --constraint constraints.txt --editable .

COPY pipeline pipeline
COPY training training
COPY evaluation evaluation
COPY orchestration orchestration

USER openwit
WORKDIR /home/openwit
ENTRYPOINT ["openwit"]
CMD ["run", "demo"]
