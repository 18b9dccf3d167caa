"""The application of deploy/ray/serve.yaml on this machine's CPU: `python -m tests.deploy.ray_server PORT`.

A process of its own, so that everything Ray starts ends with it. It writes a line when it serves, and ends when its
standard input does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final

import yaml

from providers.local.models import locate

FILE: Final = Path(__file__).parents[2] / "deploy" / "ray" / "serve.yaml"
REPLICAS: Final = 2
SERVES: Final = "serves"
SAME: Final = str(locate("tiny.en"))  # the embedded model by another name
_OBJECTS_BYTES: Final = 80 << 20  # the least that Ray takes


def small(document: dict[str, Any], port: int) -> dict[str, Any]:
    """Return the file's configuration for two replicas on two CPUs, with the embedded model."""
    (application,) = document["applications"]
    (engine,) = application["deployments"]
    application["args"] |= {"models": ["tiny.en", SAME], "models_per_replica": 1, "account": {"device": "cpu"}}
    engine["ray_actor_options"] = {"num_cpus": 0.5}
    engine["max_ongoing_requests"] = (
        2  # both have enough to do: a replica that has the model is full before another gets it
    )
    engine["autoscaling_config"] |= {"min_replicas": REPLICAS, "max_replicas": REPLICAS}
    document["http_options"] |= {"host": "127.0.0.1", "port": port}
    return document


def main(port: int) -> None:
    """Serve until standard input ends."""
    import ray  # noqa: PLC0415 - it warns of its own code, and what is above is for tests, where that is an error
    from ray import serve  # noqa: PLC0415 - likewise
    from ray.serve.context import _get_global_client  # noqa: PLC0415 - likewise
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 - likewise

    ray.init(num_cpus=2, object_store_memory=_OBJECTS_BYTES, include_dashboard=False, log_to_driver=False)
    try:
        schema = ServeDeploySchema.model_validate(small(yaml.safe_load(FILE.read_text()), port))
        serve.start(proxy_location=schema.proxy_location, http_options=schema.http_options.model_dump())
        _get_global_client().deploy_apps(schema)
        while serve.status().applications[schema.applications[0].name].status != "RUNNING":
            time.sleep(0.1)
        sys.stdout.write(f"{SERVES}\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
