"""Every path, and what answers there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.api import console, hf, hub, keys, ops
from gateway.api.front import endpoint
from gateway.api.native import FalAi, OpenAILike, Replicate
from gateway.api.openai import OpenAI
from providers.types import Task

if TYPE_CHECKING:
    from gateway.api.request import Paths


def add_routes(router: Paths) -> None:
    """Add every route. A pinned account's path goes before fal's own, which may begin in the same way."""
    add_operator_routes(router)
    _add_lists(router)
    console.add_routes(router)
    for path, task in (("transcriptions", Task.TRANSCRIBE), ("translations", Task.TRANSLATE)):
        router.add_post(f"/v1/audio/{path}", endpoint(OpenAI(task)))
    # Where Inference Endpoints answer it, and where people append it to the model's own URL.
    for prefix in ("/api", "/models/{model:.+}"):
        router.add_post(f"{prefix}/v1/audio/transcriptions", endpoint(OpenAI(Task.TRANSCRIBE)))
    hf.add_routes(router)
    router.add_post("/fal-ai/{model:(?!models/).+}", endpoint(FalAi()))
    replicate = endpoint(Replicate())
    router.add_post("/replicate/v1/predictions", replicate)
    router.add_post("/replicate/v1/models/{model:.+}/predictions", replicate)
    router.add_post("/deepinfra/v1/openai/audio/transcriptions", endpoint(OpenAILike("deepinfra")))
    router.add_post("/together/v1/audio/transcriptions", endpoint(OpenAILike("together")))


def add_operator_routes(router: Paths) -> None:
    """Add what operators ask, which is all that the admin port answers."""
    # The bare one is where the container of an Inference Endpoint answers its own probes.
    for path in ("/health", "/health/live"):
        router.add_get(path, ops.live)
    router.add_get("/health/ready", ops.ready)
    router.add_get("/status", ops.status)
    router.add_post("/admin/reload", ops.reload)
    router.add_get("/admin/cache", ops.cache)
    router.add_post("/admin/cache/purge", ops.purge)
    router.add_get("/admin/usage", ops.usage)
    router.add_get("/admin/keys", keys.show)
    router.add_post("/admin/keys", keys.make)
    router.add_delete("/admin/keys/{name}", keys.revoke)
    router.add_post("/admin/keys/{name}/rotate", keys.rotate)
    router.add_get("/metrics", ops.metrics)
    router.add_get("/openapi.json", ops.openapi)


def _add_lists(router: Paths) -> None:
    router.add_get("/v1/models", ops.models)
    router.add_get("/v1/models/{model:.+}", ops.model)
    router.add_get("/api/tasks", hub.tasks)
    router.add_get("/api/models/{model:.+}", hub.model_info)
    router.add_get("/api/{rest:.*}", hub.nothing_else)
