"""As much of the Hugging Face Hub as its client asks for when it downloads a model, over folders of this machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENDPOINT = "HF_ENDPOINT"  # the variable that sends the client elsewhere


class Hub:
    """Serves models by id and revision, and remembers what was asked for."""

    def __init__(self, models: Mapping[tuple[str, str], Path]) -> None:
        """models: folders by id and revision."""
        self._models = models
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
        entries = [
            {"type": "file", "path": each.name, "size": each.stat().st_size, "oid": _commit(each.name, "")}
            for each in sorted(self._folder_of(request).iterdir())
        ]
        return web.json_response(entries)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        commit = request.match_info["commit"]
        file = self._folder_of(request) / request.match_info["file"]
        if not file.is_file():
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            return web.json_response({"error": "no such file"}, status=404, headers=headers)
        size = file.stat().st_size
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.name}-{size}"', "Accept-Ranges": "bytes"}
        return web.FileResponse(file, headers=headers)

    def _folder_of(self, request: web.Request) -> Path:
        model, commit = self._model_of(request), request.match_info["commit"]
        return next(each for key, each in self._models.items() if key[0] == model and _commit(*key) == commit)

    @staticmethod
    def _model_of(request: web.Request) -> str:
        return f"{request.match_info['owner']}/{request.match_info['name']}"


def _commit(model: str, revision: str) -> str:
    return hashlib.sha1(f"{model}@{revision}".encode(), usedforsecurity=False).hexdigest()
