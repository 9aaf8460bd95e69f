#!/bin/sh
# Runs once in the unzipped payload, as root, when the agent has been found trustworthy.
set -eu

# The certificate package is named after the agent.
certificate=$(find . -maxdepth 1 -name '*-cert.crt' ! -name 'RevocationNotifier-cert.crt' | head -n 1)
[ -n "$certificate" ] || { echo "autorun.sh: no agent certificate in the payload" >&2; exit 1; }
name=${certificate%-cert.crt}
ln -sf "$certificate" mycert.crt
ln -sf "$name-private.pem" mykey.pem
chmod 600 "$name-private.pem"

# racoon looks a CA's list up by the hash of its name.
hash=$(openssl x509 -noout -hash -in cacert.crt)
ln -sf cacrl.pem "$hash.r0"

install -D -m 0755 ipsec-tools.conf /etc/ipsec-tools.conf
install -D -m 0600 racoon.conf /etc/racoon/racoon.conf

# The policies first: from here on nothing that they cover goes out in clear.
service setkey restart
service racoon restart
