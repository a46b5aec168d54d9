#!/bin/sh
# See to a browser for the tests of the console page: use the Chromium that is installed, else, as
# root on Debian, install the distribution's headless one.
#
#   scripts/ensure_chromium.sh          prints the path of the program; exits 3 where none can be had
set -eu

say() { printf 'ensure_chromium: %s\n' "$*" >&2; }

find_it() {
  command -v chromium-headless-shell || command -v chromium || command -v google-chrome
}

give_up() {
  say "no browser: $1"
  say "install Chromium (https://www.chromium.org/getting-involved/download-chromium/) and put chromium on the PATH."
  exit 3
}

if find_it; then
  exit 0
fi
command -v apt-get >/dev/null 2>&1 || give_up "this is not Debian, so it must be installed by hand."
[ "$(id -u)" = 0 ] || give_up "only root can install it here: apt-get install chromium-headless-shell."
say "installing the distribution's package chromium-headless-shell"
install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium-headless-shell >&2
}
install || { apt-get update -qq >&2 && install; } || give_up "apt-get could not install it; see above."
find_it || give_up "it is installed, and there is no program chromium-headless-shell."
