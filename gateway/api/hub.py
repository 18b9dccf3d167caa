"""The part of the Hugging Face Hub's API that clients ask before they send audio, open to all.

Source: huggingface_hub 0.30 to 2.4 (`inference/_providers/_common.py`), @huggingface/inference 4.13.30. Python wants
the mapping as an object, `id` and `pipeline_tag`; neither must see a provider its client cannot do speech with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.api.hf import json_response
from gateway.problems import Problem, not_found

if TYPE_CHECKING:
    from gateway.api.request import Request
    from gateway.api.response import Response

_TASK: Final = "automatic-speech-recognition"
# In the order preferred by provider="auto": hf-inference keeps chunks and takes parameters. Together is left out:
# the Python client has no speech for it and fails where it stands first.
_PROVIDERS: Final = ("hf-inference", "fal-ai", "replicate", "deepinfra")


async def model_info(request: Request) -> Response:
    """Answer `GET /api/models/{model}`. The provider's id is the model's own name, which the fronts here read back."""
    model = request.place.variables["model"].strip("/")
    service = request.service
    try:
        service.routes.resolve(model)
    except Problem as problem:
        if service.names_are_public:
            raise
        raise not_found("no such model here", "unknown-model") from problem  # who has no key is told no names
    entry: dict[str, Any] = {"providerId": model, "status": "live", "task": _TASK}
    return json_response(
        {
            "id": model,
            "modelId": model,
            "pipeline_tag": _TASK,
            "inference": "warm",
            "inferenceProviderMapping": dict.fromkeys(_PROVIDERS, entry),
        }
    )


async def tasks(request: Request) -> Response:
    """Answer `GET /api/tasks`, where clients look for a default model."""
    routes = request.service.routes
    default = routes.default_model or next(iter(routes.models), None)
    names = [default] if default else []
    return json_response({_TASK: {"id": _TASK, "models": [{"id": name} for name in names], "widgetModels": names}})


async def nothing_else(request: Request) -> Response:
    """Answer every other path under /api/."""
    raise not_found(f"{request.path[:120]} is not served here")
