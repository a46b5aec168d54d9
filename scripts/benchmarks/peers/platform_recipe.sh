#!/bin/bash
# The run.sh of the specification page. Its published text ends at the trap; what starts gunicorn is
# filled in with the options that the page names, and the 60 s can be compressed.
gunicorn_pid=""

handle_sigterm() {
  echo "Received SIGTERM, send SIGTERM to $gunicorn_pid"
  if [ "$gunicorn_pid" != "" ]; then
      sleep "${DRAIN_SECONDS:-60}"
      kill -15 "$gunicorn_pid"  # Pass SIGTERM signals to the Gunicorn process.
      wait "$gunicorn_pid"      # Wait until the Gunicorn process stops.
  fi
}

trap handle_sigterm TERM

gunicorn --bind "0.0.0.0:$PORT" --keep-alive 200 -k gevent platform_recipe:app &
gunicorn_pid=$!
wait "$gunicorn_pid"
