# Not built so far. CPU: docker build -t mmstremn .
# CUDA: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t mmstremn .
FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update && apt-get install -y --no-install-recommends git libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
WORKDIR /mmstremn
COPY . .
RUN pip install --no-cache-dir torch==2.14.1 torchvision==0.29.1 --index-url ${TORCH_INDEX} \
    && pip install --no-cache-dir -c requirements/tested.txt '.[mm,export]'
WORKDIR /data
ENTRYPOINT ["mmstremn"]
