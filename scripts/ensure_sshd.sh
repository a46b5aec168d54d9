#!/bin/sh
# See to an SSH server for the stand-in of a build server: use the installed sshd, else fetch the
# distribution's packages and unpack them below build/. Nothing is installed and no service is
# started, so root is not needed.
#
#   scripts/ensure_sshd.sh          prints the path of the program; exits 3 where none can be had
set -eu

project=$(cd "$(dirname "$0")/.." && pwd)
folder=$project/build/sshd
program=$folder/usr/sbin/sshd

say() { printf 'ensure_sshd: %s\n' "$*" >&2; }

give_up() {
  say "no SSH server: $1"
  say "install the package openssh-server; its service need not run."
  exit 3
}

installed=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd || true)
if [ -n "$installed" ]; then
  say "using the installed sshd"
  echo "$installed"
  exit 0
fi
fetch() {
  # _apt may not enter a folder of root's home; as the caller it can: apt-get(8), APT::Sandbox.
  # libwrap0 is the one library of sshd that few machines have.
  apt-get download -qq -o APT::Sandbox::User=root openssh-server libwrap0 >>apt.log 2>&1
}

if [ ! -x "$program" ]; then
  command -v apt-get >/dev/null 2>&1 || give_up "this is not Debian or Ubuntu, so it must be installed by hand."
  say "fetching the distribution's package openssh-server into build/sshd"
  mkdir -p "$folder"
  cd "$folder"
  rm -f ./*.deb apt.log
  fetch || { apt-get update -qq >>apt.log 2>&1 && fetch; } ||
    give_up "apt-get could not download it; its output is in build/sshd/apt.log."
  for package in ./*.deb; do
    dpkg-deb -x "$package" "$folder" || give_up "its package could not be unpacked."
  done
fi
libraries=$(find "$folder/usr/lib" -name 'libwrap.so.*' -printf '%h\n' -quit)
# -t checks the configuration: without host keys that fails, but not as a missing library does (127).
code=0
LD_LIBRARY_PATH=$libraries "$program" -t -f /dev/null >/dev/null 2>&1 || code=$?
[ "$code" != 127 ] || give_up "the fetched program does not run on this machine."
say "using the one fetched into build/sshd"
echo "$program"
