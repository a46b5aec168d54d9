#!/bin/bash
# shellcheck disable=SC2086 # unquoted, as the page has it
# The sample of the specification page. Its published text ends at the trap; the rest is what one
# fills in, with the options that the page names.
# Source: https://support.huaweicloud.com/docker-modelarts/modelarts_23_0219.html
gunicorn_pid=""

handle_sigterm() {
  echo "Received SIGTERM, send SIGTERM to $gunicorn_pid"
  if [ $gunicorn_pid != "" ]; then
      sleep 60
      kill -15 $gunicorn_pid  # Pass SIGTERM signals to the Gunicorn process.
      wait $gunicorn_pid      # Wait until the Gunicorn process stops.
  fi
}

trap handle_sigterm TERM

gunicorn --bind 0.0.0.0:8080 --keep-alive 200 -k gevent serve:app &
gunicorn_pid=$!
wait $gunicorn_pid
