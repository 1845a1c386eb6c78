# Stands in for S3 and SQS on one machine; for trying things out, never for tasks that matter.
FROM python:3.13-slim
COPY scripts/locks/services/python.lock ./
RUN useradd --system --uid 10001 --create-home simulator \
  && pip install --no-cache-dir --require-hashes --no-deps -r python.lock
USER simulator
WORKDIR /home/simulator
ENV SERVICES=s3,sqs GATEWAY_PORT=4566 BIND_HOST=0.0.0.0 IOT_MTLS_ENABLED=0 MINISTACK_HOST=simulator
EXPOSE 4566
CMD ["ministack"]
