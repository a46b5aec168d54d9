#!/bin/sh
# As its page shows it: https://huggingface.co/docs/transformers/serving
cd "$(dirname "$0")" || exit 1
export HF_HUB_OFFLINE=1
exec ../venv/bin/transformers serve ../model --device cpu --port "$PORT"
