"""docs/openapi.json, as a gateway serves it. Run `python -m tests.openapi_document` to renew it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.api.openapi import document
from gateway.api.paths import add_routes
from gateway.api.request import Paths

FILE = Path(__file__).parents[1] / "docs" / "openapi.json"


def published() -> dict[str, Any]:
    """Return the document of every route there is."""
    paths = Paths()
    add_routes(paths)
    return document(paths)


def written() -> str:
    """Return the file as it should be."""
    return json.dumps(published(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(written())
