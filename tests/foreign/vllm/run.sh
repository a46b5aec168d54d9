#!/bin/sh
# As its page shows it: https://docs.vllm.ai/en/latest/cli/serve/
cd "$(dirname "$0")" || exit 1
export VLLM_CPU_KVCACHE_SPACE=1 VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1
exec ../venv/bin/vllm serve ../model --served-model-name tiny --port "$PORT" --dtype float32 \
  --max-model-len 256 --enforce-eager
