"""Revocation action for keylime's Python agent: asks xfrmd to cut a certificate off.

The agent imports this module from the unzipped payload (or from /usr/libexec/keylime, if that is on its path) and awaits
execute() with the revocation message, whose signature it has checked. Put `local_action_xfrmd_revoke` into action_list.
The user the agent runs as has to be allowed in racoon.conf: revocation { allow_user "keylime"; }.
"""

import json
import logging
import os
import socket
import subprocess
import tempfile

SOCKET = os.environ.get("XFRMD_CONTROL", "/run/xfrmd/control.sock")
ACTION = os.environ.get("XFRMD_ACTION", "/usr/libexec/keylime/local_action_xfrmd_revoke")
PATIENCE = 10.0

logger = logging.getLogger("keylime.xfrmd_revoke")


def serial_of(revocation):
    """The serial to revoke, as decimal digits; None for a message that revokes nothing."""
    if revocation.get("type") != "revocation":
        return None
    details = revocation.get("meta_data", revocation.get("metadata"))
    if isinstance(details, (str, bytes)):
        details = json.loads(details)
    serial = details["cert_serial"]
    if isinstance(serial, bool) or not str(serial).isdigit():
        raise ValueError("cert_serial is no whole number")
    return str(int(serial))


def ask(serial):
    """Has the daemon revoke it; gives its report."""
    request = {"command": "revoke", "serial": serial, "source": "keylime"}
    for unknown in ("issuer_key", "issuer_name", "certificate"):
        request[unknown] = None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(SOCKET)
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = connection.makefile("rb").readline()
    answer = json.loads(answer)
    if "result" not in answer:
        raise RuntimeError(answer.get("error", "the daemon's answer is empty"))
    return answer["result"]


def without_daemon(revocation):
    """Has the program do it: with the right to, it cuts by itself; else it keeps the message until a daemon starts."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(revocation, file)
        file.flush()
        done = subprocess.run([ACTION, file.name], capture_output=True, text=True, timeout=3 * PATIENCE, check=False)
    said = (done.stdout + done.stderr).strip()
    if done.returncode != 0:
        raise RuntimeError(said)
    logger.warning("%s", said)


def revoke(revocation):
    """Everything execute() does, without waiting for a loop. Gives the daemon's report, None if there is none."""
    serial = serial_of(revocation)
    if serial is None:
        logger.info("a message of type %s: nothing to revoke", revocation.get("type"))
        return None
    try:
        report = ask(serial)
    except (OSError, json.JSONDecodeError) as error:
        logger.warning("no answer of xfrmd on %s (%s): running %s", SOCKET, error, ACTION)
        without_daemon(revocation)
        return None
    logger.info(
        "revoked serial %s of %s: %d SAs deleted in %.1f ms",
        report["serial"],
        report["issuer"],
        report["sas_deleted"],
        report["elapsed_ms"],
    )
    return report


async def execute(revocation):
    """Entry for the agent."""
    revoke(revocation)
