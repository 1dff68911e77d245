# openwit on NVIDIA GPUs: training and evaluation, and the image of every node of a cluster. From the project's root:
#   docker build -f infra/docker/gpu.Dockerfile -t openwit:0.1.0-gpu .
#   docker run --gpus all --shm-size 8g openwit:0.1.0-gpu doctor
# The development image, because DeepSpeed compiles its operators with nvcc at first use. wget: KubeRay's probes call it.
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04

RUN apt-get update \
 && apt-get install -y --no-install-recommends git g++ libaio-dev wget python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1001 openwit \
 && python3 -m venv /opt/venv

ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
WORKDIR /opt/openwit

# Dependencies first: this layer is rebuilt only when the versions change. torch's wheel on PyPI is the CUDA 13 one.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline/__init__.py pipeline/__init__.py
RUN mkdir training evaluation orchestration && touch training/__init__.py evaluation/__init__.py orchestration/__init__.py \
 && pip install --constraint constraints.txt --editable .

COPY pipeline pipeline
COPY training training
COPY evaluation evaluation
COPY orchestration orchestration

USER openwit
WORKDIR /home/openwit
ENTRYPOINT ["openwit"]
CMD ["doctor"]
