#!/bin/sh
# The boot file: CMD ["sh", "/home/run.sh"]. `exec` all the way down, so that the server itself is
# PID 1 and gets the platform's SIGTERM; a shell in between would keep it.
#
# The kernel drops a SIGTERM that PID 1 has no handler for, and the server takes a moment to have one.
# Until then this trap ends the service at once, for nobody uses it yet; and from `env` on SIGTERM is
# blocked, which keeps it until model_service/processes/signals.py asks for it. Without coreutils it is dropped.
# Source: pid_namespaces(7); env(1), --block-signal.
trap 'exit 0' TERM
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
hold='env --block-signal=TERM'
$hold true 2>/dev/null || hold=
exec $hold sh "$here/ma-user/infer/run.sh"
