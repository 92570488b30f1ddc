#!/usr/bin/python3
"""swift-run.py proxy-server|account-server|container-server|object-server CONF
Runs one of Swift's servers with the swift.conf of $SWIFT_ETC: the usual place, /etc/swift, is compiled
into the library, and tests change nothing on the machine they run on."""
import os
import sys

from swift.common import utils

utils.SWIFT_CONF_FILE = os.path.join(os.environ["SWIFT_ETC"], "swift.conf")

from swift.common.wsgi import run_wsgi  # noqa: E402 (reads SWIFT_CONF_FILE)

sys.exit(run_wsgi(sys.argv[2], sys.argv[1], verbose=False))
