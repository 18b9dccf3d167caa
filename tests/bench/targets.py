"""What is measured side by side, all in front of one upstream: nginx, a bare relay, this gateway, others' gateways."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.bodies import Form
from tests.bench.everything import KEY, configuration
from tests.bench.load import Load
from tests.bench.processes import Running, started

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
DIRECT, NGINX, RELAY, GATEWAY, KEPT = "direct", "nginx", "bare relay", "gateway", "gateway, kept answer"
SPOOLING = "spooling relay"
LARGE_BYTES = 24_000_000
LITELLM, PORTKEY = "LiteLLM", "Portkey"
LITELLM_PROGRAM = ROOT / ".venv/bench-litellm/bin/litellm"
PORTKEY_PROGRAM = ROOT / ".venv/bench-portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
_STARTS_WITHIN_S = 120

_NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
{user}
events {{ worker_connections 4096; }}
http {{
  log_format sizes '$request_method $content_length $request_length';
  access_log off; client_max_body_size 0; client_body_buffer_size 32m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000000; keepalive_timeout 600s;
{servers}
}}
"""
# `return` alone would answer before the body is there. A proxied request waits for the whole of it.
_UPSTREAM = """
  upstream answer {{ server unix:{folder}/answer.sock; keepalive 128; keepalive_requests 1000000000; }}
  server {{ listen unix:{folder}/answer.sock;
    location / {{ default_type application/json; return 200 '{{"text": "instant"}}'; }} }}
  server {{ listen 127.0.0.1:{port}; access_log {folder}/sizes.log sizes;
    location / {{ proxy_pass http://answer; proxy_http_version 1.1; proxy_method GET; proxy_pass_request_body off;
      proxy_pass_request_headers off; proxy_set_header Connection ""; proxy_set_header Content-Length ""; }} }}
"""
_PROXY = """
  upstream up {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """One way to the upstream."""

    name: str
    running: Running
    headers: tuple[str, ...] = ()
    cache: str | None = None  # what X-Gateway-Cache must say
    forms: tuple[Form, ...] = tuple(Form)
    sends_bare_audio: bool = False  # to the upstream of Hugging Face's fronts
    reaches_upstream: bool = True
    least_bytes: int = 0  # what is smaller is not sent there

    def load(self, form: Form, size_bytes: int, answer: bytes = b"instant") -> Load:
        return Load(self.running.url, form, size_bytes, self.headers, self.cache, answer, not self.reaches_upstream)


@dataclass(slots=True)
class Sizes:
    """What the upstream was sent: nginx's own log of it, read on from where it was read to."""

    file: Path
    _read_to: int = field(default=0)

    def since(self, count: int) -> list[tuple[int, int]]:
        """Return the body's and the whole request's bytes of each POST since the last call; wait for so many."""
        until = time.monotonic() + 5
        while True:
            with self.file.open("rb") as log:
                log.seek(self._read_to)
                told = log.read()
            lines = [line.split() for line in told.splitlines() if line.startswith(b"POST ")]
            if len(lines) >= count or time.monotonic() > until:  # fewer than were sent voids the run
                self._read_to += len(told)
                return [(int(body) if body != b"-" else int(whole), int(whole)) for _, body, whole in lines]
            time.sleep(0.01)  # nginx writes its line after the answer, and tells nobody


@contextmanager
def nginx(servers: str, folder: Path, **names: str) -> Iterator[Running]:
    """Run one nginx worker until the block ends."""
    folder.mkdir()
    port = _free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # temporary files are its own then
    text = servers.format(folder=folder, port=port, **names)
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, user=user, servers=text))
    with _program(port, folder / "said.log", "nginx", "-p", str(folder), "-c", str(file)) as running:
        yield running


@contextmanager
def _program(port: int, log: Path, *command: str, environ: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Run a server that does not say when it listens."""
    with log.open("wb") as said:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environ)
        try:
            while not _listens(port):
                if process.poll() is not None or time.perf_counter() > begun + _STARTS_WITHIN_S:
                    raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-2000:]}")
                time.sleep(0.01)  # short beside what is measured: nothing but its port says that it serves
            yield Running(f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - begun)
        finally:
            process.terminate()
            process.wait(30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def upstream(folder: Path) -> Iterator[tuple[Running, Sizes]]:
    """Run what answers at once when it has the whole body, and notes its size."""
    with nginx(_UPSTREAM, folder) as running:
        yield running, Sizes(folder / "sizes.log")


@contextmanager
def digesting() -> Iterator[Running]:
    """Run what answers with the SHA-256 of the audio: slower, for looking at whether it arrives whole."""
    with started(sys.executable, "-m", "tests.bench.servers", "digest") as running:
        yield running


@contextmanager
def all_before(up: Running, folder: Path) -> Iterator[list[Target]]:
    """Run everything that is here in front of an upstream; give the targets, the upstream itself first."""
    folder.mkdir()
    with ExitStack() as running:
        beside = running.enter_context(nginx(_PROXY, folder / "nginx", upstream=up.url.removeprefix("http://")))
        servers = (sys.executable, "-m", "tests.bench.servers")
        relay = running.enter_context(started(*servers, "relay", up.url))
        spooling = running.enter_context(started(*servers, "spooling", up.url))
        gateway = running.enter_context(_gateway(up, folder))
        key = (f"Authorization: Bearer {KEY}",)
        targets = [
            Target(DIRECT, up),
            Target(NGINX, beside),
            Target(RELAY, relay),
            Target(SPOOLING, spooling, forms=(Form.RAW,), least_bytes=LARGE_BYTES),
            Target(GATEWAY, gateway, key, "miss", sends_bare_audio=True),
            Target(KEPT, gateway, key, "hit", (Form.RAW,), reaches_upstream=False),
        ]
        for program, start in ((LITELLM_PROGRAM, _litellm), (PORTKEY_PROGRAM, _portkey)):
            if program.exists():
                targets.append(running.enter_context(start(up, folder)))
        yield targets


@contextmanager
def _gateway(up: Running, folder: Path) -> Iterator[Running]:
    file = folder / "gateway.yaml"
    file.write_text(configuration(up.url, folder))
    command = (sys.executable, "-m", "gateway.cli", "serve", "--config", str(file))
    with started(*command, log=folder / "gateway.log") as running:
        yield running


@contextmanager
def _litellm(up: Running, folder: Path) -> Iterator[Target]:
    file, port = folder / "litellm.yaml", _free_port()
    file.write_text(
        "model_list:\n- model_name: whisper-1\n"
        f"  litellm_params: {{model: openai/whisper-1, api_base: '{up.url}/v1', api_key: x}}\n"
        "  model_info: {mode: audio_transcription}\n"
        "litellm_settings: {telemetry: false}\ngeneral_settings: {master_key: sk-bench}\n"
    )
    command = (str(LITELLM_PROGRAM), "--config", str(file), "--host", "127.0.0.1", "--port", str(port))
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # nothing is fetched at the start
    with _program(port, folder / "litellm.log", *command, environ=environ) as running:
        yield Target(LITELLM, running, ("Authorization: Bearer sk-bench",), forms=(Form.MULTIPART,))


@contextmanager
def _portkey(up: Running, folder: Path) -> Iterator[Target]:
    port = _free_port()
    command = ("node", str(PORTKEY_PROGRAM), "--headless", f"--port={port}")
    headers = ("x-portkey-provider: openai", f"x-portkey-custom-host: {up.url}/v1", "Authorization: Bearer x")
    with _program(port, folder / "portkey.log", *command) as running:
        yield Target(PORTKEY, running, headers, forms=(Form.MULTIPART,))
