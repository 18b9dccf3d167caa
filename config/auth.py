"""Who may call: keys, known by their hashes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.limits import UNLIMITED, Limits
from config.section import Section
from config.units import Moment


class AuthMode(StrEnum):
    """Who may call."""

    NONE = "none"  # whoever reaches it: on loopback alone
    KEYS = "keys"  # who has a key that this gateway knows
    PASSTHROUGH = "passthrough"  # who has a token of the one account that the path names


# How often is no part of a pattern: pydantic's engine writes all of Unicode's letters out for each time, 6 MB for 64.
Name = Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=64)]
LabelValue = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=256)]

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class OldSecret(Section):
    """What a key was before it was rotated: good beside the new one for a while."""

    hash: Digest  # of the earlier secret
    until: Moment  # from then on it is unknown


class Key(Section):
    """One caller's key, known by its hash alone."""

    name: Name  # whose it is; it stands in logs and in the ledger
    role: Literal["caller", "admin"] = "caller"  # an admin may ask /metrics, /status, /openapi.json, /admin/*
    hash: Digest  # of the key, which is kept nowhere
    old: OldSecret | None = None  # the secret before it was rotated, while that is still good
    models: tuple[str, ...] = ("*",)  # names or patterns such as openai/*
    limits: Limits = UNLIMITED
    created: Moment | None = None  # or rotated last; told wherever keys are listed
    expires: Moment | None = None  # from then on it is as unknown as any other; a day alone is its last second, in UTC
    # The operator's own notes, told wherever keys are listed.
    labels: dict[Name, LabelValue] = Field({}, max_length=32)


class Auth(Section):
    """mode none is for loopback only. In modes none and passthrough keys open what is for admins, and nothing else."""

    mode: AuthMode = AuthMode.NONE  # who may call
    keys: tuple[Key, ...] = ()  # known from the start; `asr-gateway keys new` writes an entry
    store: Literal["none", "sqlite", "redis"] = "none"  # of keys that are made, revoked and rotated while it runs
    path: Path | None = None  # store sqlite: its file

    @model_validator(mode="after")
    def _keys_for_keys(self) -> Auth:
        if self.mode is AuthMode.KEYS and not self.keys and self.store == "none":
            raise ValueError("auth.mode is keys, but auth.keys is empty and auth.store is none: nobody could call")
        return self

    @model_validator(mode="after")
    def _store_fits(self) -> Auth:
        if (self.store == "sqlite") != (self.path is not None):
            raise ValueError("auth.path is the file of auth.store: sqlite; one was given without the other")
        return self
