#!/bin/sh
# What a notebook instance starts: JupyterLab on 8888. The model is not served from here: run.sh is.
# The platform mounts the token that its API shows. Without one JupyterLab makes its own up, and
# writes it to its log.
token=$HOME/.huaweicloud/token
set -- --ip=0.0.0.0 --port=8888 --no-browser --ServerApp.root_dir="$HOME/work"
[ ! -r "$token" ] || set -- "$@" --IdentityProvider.token="$(cat "$token")"
exec jupyter lab "$@"
