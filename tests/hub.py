"""As much of the Hugging Face Hub as its client asks for when it downloads a model, over folders of this machine."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LARGE_BYTES, _STEPS, _STEP_S = 30_000_000, 20, 0.2  # the client looks every 10 MB
ENDPOINT = "HF_ENDPOINT"  # the variable that sends the client elsewhere


class Hub:
    """Serves models by id and revision, and remembers what was asked for."""

    def __init__(self, models: Mapping[tuple[str, str], Path], *, slow: bool = False) -> None:
        """models: folders by id and revision. slow: large files take four seconds, and do not end before `go_on`."""
        self._models = models
        self._is_slow = slow
        self.go_on = asyncio.Event()
        self.asked: list[str] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/models/{owner}/{name}/revision/{revision}", self._described)
        app.router.add_get("/api/models/{owner}/{name}/tree/{commit}", self._listed)
        app.router.add_get("/{owner}/{name}/resolve/{commit}/{file:.+}", self._file)  # aiohttp answers HEAD as well
        return app

    async def _described(self, request: web.Request) -> web.Response:
        model, revision = self._model_of(request), request.match_info["revision"]
        self.asked.append(f"{model}@{revision}")
        folder = self._models.get((model, revision))
        if folder is None:
            headers = {"X-Error-Code": "RevisionNotFound"}
            return web.json_response({"error": "no such revision"}, status=404, headers=headers)
        files = [{"rfilename": each.name} for each in sorted(folder.iterdir())]
        return web.json_response({"id": model, "sha": _commit(model, revision), "siblings": files})

    async def _listed(self, request: web.Request) -> web.Response:
        _, folder = self._asked_for(request)
        entries = [
            {"type": "file", "path": each.name, "size": each.stat().st_size, "oid": _commit(each.name, "")}
            for each in sorted(folder.iterdir())
        ]
        return web.json_response(entries)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        (model, revision), folder = self._asked_for(request)
        commit, file = _commit(model, revision), folder / request.match_info["file"]
        if not file.is_file():
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            return web.json_response({"error": "no such file"}, status=404, headers=headers)
        size = file.stat().st_size
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.name}-{size}"', "Accept-Ranges": "bytes"}
        if self._is_slow and size > _LARGE_BYTES:
            return await self._slowly(request, file, headers)
        return web.FileResponse(file, headers=headers)

    async def _slowly(self, request: web.Request, file: Path, headers: Mapping[str, str]) -> web.StreamResponse:
        whole = await asyncio.to_thread(file.read_bytes)
        reply = web.StreamResponse(headers={**headers, "Content-Length": str(len(whole))})
        await reply.prepare(request)
        step = len(whole) // _STEPS
        for start in range(0, len(whole) if request.method == "GET" else 0, step):
            await asyncio.sleep(_STEP_S)
            if start >= len(whole) - 2 * step:
                await self.go_on.wait()
            await reply.write(whole[start : start + step])
        return reply

    def _asked_for(self, request: web.Request) -> tuple[tuple[str, str], Path]:
        """Return id, revision and folder. faster-whisper asks for a commit, transformers for a revision."""
        model, named = self._model_of(request), request.match_info["commit"]
        return next(
            each for each in self._models.items() if each[0][0] == model and named in (each[0][1], _commit(*each[0]))
        )

    @staticmethod
    def _model_of(request: web.Request) -> str:
        return f"{request.match_info['owner']}/{request.match_info['name']}"


def _commit(model: str, revision: str) -> str:
    return hashlib.sha1(f"{model}@{revision}".encode(), usedforsecurity=False).hexdigest()
