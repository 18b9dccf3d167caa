"""The gateway's configuration with all that costs something switched on: what benchmarks and budgets are about."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KEY = "hf_gw_benchmarkbenchmarkbenchmarkbench"
ADMIN_KEY = "hf_gw_benchadminbenchadminbenchadminb"
HF_MODEL = "openai/whisper-large-v3"
OPENAI_MODEL = "whisper-1"
PATHS = {"hf": f"/models/{HF_MODEL}", "openai": "/v1/audio/transcriptions"}
_MANY = 10_000_000  # limits that are asked each time and never reached


def configuration(upstream: str, folder: Path) -> str:
    """Return a file: a key with limits, limits for all, the memory cache, the ledger, metrics, a log.

    Each front has an upstream that speaks its own dialect: a relay beside it passes on the same bytes.
    """
    return f"""
server: {{port: 0}}
auth:
  mode: keys
  keys:
    - name: bench
      hash: "sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
      limits: {{requests_per_minute: {_MANY}, audio_seconds_per_hour: {_MANY * 100}, concurrent: 10000}}
    - {{name: admin, role: admin, hash: "sha256:{hashlib.sha256(ADMIN_KEY.encode()).hexdigest()}"}}
limits: {{requests_per_minute: {_MANY}, concurrent: 10000}}
cache: {{store: memory}}
usage: {{path: "{folder}/usage.sqlite"}}
logs: {{format: json, level: info}}
providers:
  hf: {{adapter: hf-inference, base_url: "{upstream}", api_key: x}}
  openai: {{adapter: openai-compatible, base_url: "{upstream}/v1", api_key: x}}
models:
  {HF_MODEL}: {{targets: [hf/{HF_MODEL}]}}
  {OPENAI_MODEL}: {{targets: [{{target: openai/{OPENAI_MODEL}, substitute: true}}]}}
"""
