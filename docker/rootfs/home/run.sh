#!/bin/sh
# The boot file: CMD ["sh", "/home/run.sh"]. `exec` all the way down, so that the server itself is
# PID 1 and gets the platform's SIGTERM; a shell in between would keep it.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
exec sh "$here/ma-user/infer/run.sh"
