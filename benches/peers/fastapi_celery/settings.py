"""Where things are: from the environment, read once."""

import os

# postgres://user@host:port/name
DATABASE_URL = os.environ["PEER_DATABASE_URL"]
# redis://host:port/db
REDIS_URL = os.environ["PEER_REDIS_URL"]
# Seconds after which Redis gives the unacknowledged message of a dead worker to another one.
VISIBILITY_TIMEOUT_S = int(os.environ.get("PEER_VISIBILITY_TIMEOUT_S", "3600"))
# Seconds between looks for such messages.
RESTORE_INTERVAL_S = int(os.environ.get("PEER_RESTORE_INTERVAL_S", "10"))
