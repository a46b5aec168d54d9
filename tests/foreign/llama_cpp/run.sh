#!/bin/sh
# As its page shows it: https://llama-cpp-python.readthedocs.io/en/latest/server/
cd "$(dirname "$0")" || exit 1
exec ../venv/bin/python -m llama_cpp.server --model ../model.gguf --model_alias tiny --n_ctx 256 \
  --port "$PORT"
