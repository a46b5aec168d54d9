#!/bin/sh
# What a notebook instance starts: JupyterLab on 8888. The model is not served from here: run.sh is.
# Without a token of the platform's, JupyterLab makes one up and writes it to its log.
token=$HOME/.huaweicloud/token
set -- --ip=0.0.0.0 --port=8888 --no-browser --ServerApp.root_dir="$HOME/work"
[ ! -r "$token" ] || set -- "$@" --IdentityProvider.token="$(cat "$token")"
exec jupyter lab "$@"
