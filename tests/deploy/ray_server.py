"""Ray Serve on this machine's CPU, of two nodes one of which counts a GPU: `python -m tests.deploy.ray_server`.

A process of its own, so that everything Ray starts ends with it. It answers each line of standard input with one: a
configuration as of serve.yaml is put to work, an empty object changes nothing, and either is told what there is now, in
the words of Ray's own dashboard. It ends when standard input does.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Final

_OBJECTS_BYTES: Final = 80 << 20  # the least that Ray takes
_NODE: Final = {"num_cpus": 2, "object_store_memory": _OBJECTS_BYTES, "include_log_monitor": False}
_HEAD: Final = _NODE | {"num_gpus": 1, "include_dashboard": False, "no_monitor": True}


def deploy(document: dict[str, Any]) -> None:
    """Do what `serve deploy` has the dashboard do."""
    from ray import serve  # noqa: PLC0415 - it warns of its own code, and tests import what is above
    from ray.serve.context import _get_global_client  # noqa: PLC0415 - likewise
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 - likewise

    schema = ServeDeploySchema.model_validate(document)
    serve.start(proxy_location=schema.proxy_location, http_options=schema.http_options.model_dump())
    _get_global_client().deploy_apps(schema)


def details() -> dict[str, Any]:
    """Return the applications, and the resources that nobody has."""
    import ray  # noqa: PLC0415 - likewise
    from ray.serve.context import _get_global_client  # noqa: PLC0415 - likewise

    client = _get_global_client(raise_if_no_controller_running=False)
    applications = client.get_serve_details()["applications"] if client else {}
    return {"applications": applications, "free": ray.available_resources()}


def main() -> None:
    """Serve until standard input ends."""
    import ray  # noqa: PLC0415 - likewise
    from ray import serve  # noqa: PLC0415 - likewise
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - likewise

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # where Ray says what went wrong
    cluster = Cluster(initialize_head=True, head_node_args=dict(_HEAD))
    try:
        cluster.add_node(**_NODE)
        ray.init(address=cluster.address, log_to_driver=False)
        for line in sys.stdin:
            if document := json.loads(line):
                deploy(document)
            answers.write(json.dumps(details(), default=str) + "\n")
            answers.flush()
        serve.shutdown()
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
