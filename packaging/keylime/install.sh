#!/bin/sh
# Installs the actions for keylime's agents: install.sh [DESTDIR]. PROGRAMS names the folder with our programs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
programs=${PROGRAMS:-$here/../../target/release}
to=${1:-}/usr/libexec/keylime
install -d -m 0755 "$to"
install -m 0755 "$programs/local_action_xfrmd_revoke" "$to/"
for name in update_crl deletesa; do
	ln -sf local_action_xfrmd_revoke "$to/local_action_$name"
done
install -m 0644 "$here"/local_action_*.py "$to/"
