"""Whether a gateway is ready, as an exit code: what a container's health check runs.

`python -P -m gateway.probe [URL]`; the port alone is what ASR_GATEWAY_SERVER__PORT says, else 8080. An engine by itself
has its answer at /health, which the URL says then. Only the standard library is imported: the command line takes a
second of a core to start, and this is run again and again.
"""

from __future__ import annotations

import http.client
import os
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PATIENCE_S: Final = 3.0
_USUAL_PORT: Final = "8080"  # config.settings.Server's, which would take half a second to import


def probe(url: str) -> str | None:
    """Return None where the gateway is ready, else why it is not."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "127.0.0.1", at.port or 80, timeout=_PATIENCE_S)
    try:
        connection.request("GET", at.path or "/health/ready")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer ({type(error).__name__})"
    finally:
        connection.close()
    return None if status == HTTPStatus.OK else f"{url} is not ready ({status})"


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Return the exit code: 0 ready, 1 not."""
    here = f"http://127.0.0.1:{environ.get('ASR_GATEWAY_SERVER__PORT', _USUAL_PORT)}"
    fault = probe(arguments[0] if arguments else here)
    if fault is not None:
        sys.stderr.write(f"{fault}\n")
    return 0 if fault is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
