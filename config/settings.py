"""What an operator can set: typed, bounded, checked at the start. An unknown key stops it."""

from __future__ import annotations

import ipaddress
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ByteSize, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from config.auth import Auth, AuthMode, Key
from config.cache import Cache, CacheStore
from config.document import read_yaml, with_variables
from config.faults import BadConfiguration, in_words, nearest
from config.fetch import Fetch
from config.limits import UNLIMITED, GatewayLimits, Limits, LimitStore
from config.local import LocalSettings
from config.long_audio import AS_USUAL, LongAudio
from config.price import Price
from config.reliability import Deadline, HedgeAfter, Reliability, Strategy
from config.section import Section
from config.stores import Redis
from config.tracing import Tracing
from config.units import Bytes, Seconds, SecondsOrNone
from config.usage import Usage, UsageStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

ENV_PREFIX = "ASR_GATEWAY_"
MODEL_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*")
# Entries of these are named by the operator; an environment variable's name has lost its case and slashes.
NOT_FROM_ENVIRONMENT: Final = frozenset({"models", "providers"})


class Spool(Section):
    """Where uploads wait: in memory while small, in unlinked files beyond that."""

    memory_per_upload: Bytes = ByteSize(1 << 20)  # what is larger goes to disk
    memory_total: Bytes = ByteSize(64 << 20)  # of all uploads together; beyond it even small ones go to disk
    disk_total: Bytes = ByteSize(8 << 30)  # beyond it an upload is refused: 507
    directory: Path | None = None  # None: the system's folder for temporary files


class Server(Section):
    """The listening side."""

    host: str = "127.0.0.1"  # where it listens; anything but loopback needs auth.mode keys or passthrough
    port: int = Field(8080, ge=0, le=65_535)  # 0: any free one
    max_upload: Bytes = ByteSize(100 << 20)  # of audio; JSON bodies 4/3 of it
    max_duration: Seconds = 4 * 3600.0  # of audio
    deadline: Deadline = Deadline()
    spool: Spool = Spool()
    cors_origins: tuple[str, ...] = ()  # web pages that may call from a browser, such as https://app.example.com
    header_timeout: Seconds = 10.0  # from the connection, or the first byte of a request, to the end of its headers
    body_timeout: Seconds = 20.0  # without a byte of the body
    body_min_rate: Bytes = ByteSize(1024)  # bytes a second, after body_timeout
    keep_alive: Seconds = 620.0  # above what clients and load balancers keep, so that they close first
    grace: SecondsOrNone = 0.0  # after SIGTERM, not ready yet still listening: what balancers need to notice
    drain: SecondsOrNone = 30.0  # what is in flight then may finish
    max_in_flight: int = Field(4096, ge=1, le=100_000)  # requests at once; more are told to come back
    workers: int = Field(1, ge=1, le=256)  # processes that share the port
    admin_port: int | None = Field(None, ge=0, le=65_535)  # status and metrics without a key; None: no such port
    admin_host: str = "127.0.0.1"  # where only operators reach it

    @model_validator(mode="after")
    def _two_ports(self) -> Server:
        if self.admin_port and self.admin_port == self.port:
            raise ValueError(f"admin_port is {self.port}, which is port: callers would reach what is for operators")
        return self


BaseUrl = Annotated[str, Field(pattern=r"^https?://[^\s?#@]+$")]  # no @: a credential has a key of its own


class ProviderSettings(Section):
    """One account at a provider."""

    adapter: str  # a provider of the README's table, local, or engine: local models on another machine
    api_key: SecretStr | None = None  # better as ${NAME} than as it is
    api_key_file: Path | None = None  # holds the key; read at the start and at each reload
    base_url: BaseUrl | None = None  # another address than the provider's own; a server of yours
    # Where one adapter needs several, by its own names.
    base_urls: dict[str, BaseUrl] = {}  # noqa: RUF012 - pydantic copies it
    # What one adapter needs more, by its own names.
    options: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it

    @model_validator(mode="after")
    def _one_key(self) -> ProviderSettings:
        if self.api_key and self.api_key_file:
            raise ValueError("api_key and api_key_file exclude each other")
        return self

    def secret(self) -> SecretStr | None:
        """Return the key, from its file where one is named. Raises BadConfiguration."""
        secret = self.api_key if self.api_key_file is None else _read_secret(self.api_key_file)
        if secret and not re.fullmatch("[!-~]*", secret.get_secret_value()):
            raise BadConfiguration("api_key: a key is printable ASCII without spaces; this one is not")
        return secret


class AccountSettings(LocalSettings, ProviderSettings):
    """One account at a provider, or the models on this machine."""


def _read_secret(file: Path) -> SecretStr:
    try:
        return SecretStr(file.read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadConfiguration(f"api_key_file: {file} cannot be read: {reason}") from None


class Target(Section):
    """Where a model can be had: account/native id, split at the first slash."""

    target: str = Field(pattern=r"^[\w.-]+(/.*)?$")  # account/native id there
    substitute: bool = False  # it is another model than the one asked for, and the operator knows
    weight: float = Field(1.0, ge=0, le=1e6)  # strategies weighted and least_loaded; 0: only where no other is left
    max_concurrent: int | None = Field(None, ge=1, le=100_000)  # calls at once
    requests_per_minute: int | None = Field(None, ge=1, le=10_000_000)  # as the provider allows; then others are asked
    audio_seconds_per_minute: int | None = Field(None, ge=1, le=1_000_000_000)  # likewise
    usd_per_minute: float | None = Field(None, ge=0)  # where the catalog does not know, or you pay another price
    price: Price | None = None  # the same, where a price has more parts
    # Of its provider's own, by their names in provider_options: for jobs that do not say otherwise.
    options: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it

    @model_validator(mode="after")
    def _one_price(self) -> Target:
        if self.usd_per_minute is not None and self.price is not None:
            raise ValueError("usd_per_minute and price exclude each other")
        return self

    @property
    def account(self) -> str:
        return self.target.partition("/")[0]

    @property
    def native_model(self) -> str:
        return self.target.partition("/")[2]


class OnUnsupported(StrEnum):
    """What to do with a parameter that no deployment honours."""

    IGNORE = "ignore"  # answer, and name it in X-Gateway-Ignored-Parameters
    REJECT = "reject"  # 422


def _as_target(value: object) -> object:
    return {"target": value} if isinstance(value, str) else value


class Route(Section):
    """One model's ways, best first."""

    targets: tuple[Target, ...] = Field(min_length=1)  # where it can be had; account/native id alone will do
    strategy: Strategy = Strategy.FAILOVER  # which is asked first
    hedge_after: HedgeAfter = None  # when a slow call is raced by a second one elsewhere; p95: of its recent ones
    on_unsupported: OnUnsupported = OnUnsupported.REJECT  # a parameter that none of the targets honours
    limits: Limits = UNLIMITED  # of all its callers together
    long_audio: LongAudio = AS_USUAL  # more than any of the targets takes

    @model_validator(mode="before")
    @classmethod
    def _short_targets(cls, value: Any) -> Any:  # noqa: ANN401 - anything may stand in a file
        if isinstance(value, dict) and isinstance(value.get("targets"), list):
            return {**value, "targets": [_as_target(each) for each in value["targets"]]}
        return value


def _model_name(name: str) -> str:
    if name != "*" and (not MODEL_NAME.fullmatch(name) or ".." in name):
        raise ValueError("a model name is letters, digits, . _ - and single slashes, without ..")
    return name


ModelName = Annotated[str, AfterValidator(_model_name)]
AccountName = Annotated[str, Field(pattern=r"^[\w.-]+$")]  # the first segment of a target, and of a path


class Logs(Section):
    """One line a request."""

    format: Literal["auto", "json", "text"] = "auto"  # auto: text on a terminal
    level: Literal["debug", "info", "warning", "error"] = "info"  # what is less grave is not written


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )
    server: Server = Server()
    auth: Auth = Auth()
    providers: dict[AccountName, AccountSettings] = {}
    models: dict[ModelName, Route] = {}
    default_model: ModelName | None = None  # of `POST /` and `/predict`
    reliability: Reliability = Reliability()
    cache: Cache = Cache()
    limits: GatewayLimits = GatewayLimits()
    usage: Usage = Usage()
    redis: Redis | None = None  # None: nothing is shared
    fetch: Fetch = Fetch()
    logs: Logs = Logs()
    tracing: Tracing = Tracing()

    @model_validator(mode="after")
    def _public_needs_keys(self) -> Settings:
        refuse_open_door(self)
        return self

    @model_validator(mode="after")
    def _checks_need_keys(self) -> Settings:
        if self.reliability.check_every and self.auth.mode is AuthMode.PASSTHROUGH:
            raise ValueError("reliability.check_every: in mode passthrough there is no key to check anything with")
        return self

    @model_validator(mode="after")
    def _keys_have_their_redis(self) -> Settings:
        if self.auth.store == "redis" and self.redis is None:
            raise ValueError("auth.store is redis, but there is no section redis")
        return self

    @model_validator(mode="after")
    def _targets_name_accounts(self) -> Settings:
        for name, route in self.models.items():
            for target in route.targets:
                if target.account not in self.providers:
                    near = nearest(target.account, self.providers)
                    raise ValueError(f"models.{name}: target {target.target} names no account{near}")
        return self

    @model_validator(mode="after")
    def _shared_cache_needs_redis(self) -> Settings:
        if self.cache.store is CacheStore.REDIS and self.redis is None:
            raise ValueError("cache.store is redis, but there is no redis section to say where that is")
        return self

    @model_validator(mode="after")
    def _limits_are_counted_in_one_place(self) -> Settings:
        refuse_uncounted(self)
        return self

    @model_validator(mode="after")
    def _shared_usage_needs_redis(self) -> Settings:
        if self.usage.store is UsageStore.REDIS and self.redis is None:
            raise ValueError("usage.store is redis, but there is no redis section to say where that is")
        return self

    @model_validator(mode="after")
    def _default_is_a_model(self) -> Settings:
        """Check the default against the models, where there are any: a start without them finds its own."""
        if self.default_model and self.models and not {self.default_model, "*"} & self.models.keys():
            raise ValueError(
                f"default_model: {self.default_model} is not among models{nearest(self.default_model, self.models)}"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del env_settings, dotenv_settings, file_secret_settings
        return _FixedKeys(settings_cls), init_settings


class _FixedKeys(EnvSettingsSource):
    """Environment variables, which override fixed keys only."""

    def __call__(self) -> dict[str, Any]:
        for name in os.environ:
            # One name with two underscores in it is meant for us; Kubernetes sets others that begin so.
            section, nested, _ = name.removeprefix(ENV_PREFIX).partition("__")
            if name.startswith(ENV_PREFIX) and nested and section.lower() not in Settings.model_fields:
                raise BadConfiguration(f"{name}: no such section{nearest(section.lower(), Settings.model_fields)}")
        return {key: value for key, value in super().__call__().items() if key not in NOT_FROM_ENVIRONMENT}


def load(path: Path | None, into: type[Settings] = Settings) -> Settings:
    """Read the file, if one is given, and the environment. Raises BadConfiguration. into: what checks them."""
    document = read_yaml(path) if path else {}
    for key in document.keys() - Settings.model_fields.keys():  # those that begin with _ have a meaning to pydantic
        raise BadConfiguration(f"{key}: unknown key{nearest(key, Settings.model_fields)}")
    try:
        return into(**with_variables(document, "", os.environ))
    except ValidationError as error:
        raise BadConfiguration(explain(error)) from None
    except SettingsError as error:
        raise BadConfiguration(f"{error}: in the environment, a section or list is written as JSON") from None


def explain(error: ValidationError) -> str:
    """Say each fault in a line: where, what, and the nearest valid name. Values are left out: one may be a secret."""
    return "\n".join(map(_line, error.errors(include_input=False, include_url=False)))


def refuse_open_door(settings: Settings) -> None:
    """Refuse to serve strangers without keys. Raises ValueError."""
    if settings.auth.mode is AuthMode.NONE and not is_loopback(settings.server.host):
        raise ValueError(
            f"auth.mode is none and server.host is {settings.server.host}: anybody who reaches it could spend "
            "your money. Set auth.mode to keys or passthrough, or bind 127.0.0.1"
        )


def refuse_uncounted(settings: Settings, made: Iterable[Key] = ()) -> None:
    """Refuse limits that nobody could keep. Raises ValueError.

    made: keys that the configuration does not have.
    """
    everybody: list[tuple[str, Limits]] = [("limits", settings.limits)]
    everybody += [(f"auth.keys.{each.name}.limits", each.limits) for each in (*settings.auth.keys, *made)]
    everybody += [(f"models.{name}.limits", each.limits) for name, each in settings.models.items()]
    first = next((where for where, limits in everybody if limits.is_set), None)
    if first is None:
        return
    if settings.limits.store is LimitStore.REDIS and settings.redis is None:
        raise ValueError("limits.store is redis, but there is no redis section to say where that is")
    if settings.limits.store is LimitStore.MEMORY and settings.server.workers > 1:
        raise ValueError(
            f"{first} is set, server.workers is {settings.server.workers} and limits.store is memory: each worker "
            "would allow all of it. Set limits.store to redis, or server.workers to 1"
        )


def is_loopback(host: str) -> bool:
    """Tell whether a bind address is reachable from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _line(fault: ErrorDetails) -> str:
    location = fault["loc"]
    where = ".".join(map(str, location))
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key{nearest(str(location[-1]), _names_at(location[:-1]))}"
    words = in_words(fault["type"], fault.get("ctx", {}), fault["msg"])
    return f"{where}: {words}" if where else words


def _names_at(location: tuple[int | str, ...]) -> Iterable[str]:
    """Return the keys that are valid at a place in the file."""
    section: type[BaseModel] | None = Settings
    steps = iter(location)
    for step in steps:
        if section is None or not isinstance(step, str) or step not in section.model_fields:
            continue
        annotation = section.model_fields[step].annotation
        section = _section_in(annotation)
        if get_origin(annotation) is dict:
            next(steps, None)  # the operator's own name for the entry
    return section.model_fields if section else ()


def _section_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - typing's own objects
    """Return the section inside dict[str, X], tuple[X, ...] or Annotated[X, ...]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in reversed(get_args(annotation)) if (found := _section_in(each))), None)
