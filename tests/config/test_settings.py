"""Every option, every way to get it wrong, and what an operator is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from config.auth import AuthMode
from config.cache import CacheScope, CacheStore
from config.faults import BadConfiguration
from config.limits import LimitStore, WhenLost
from config.reliability import Allowance
from config.settings import AccountSettings, OnUnsupported, Settings, Target, is_loopback, load
from config.stores import Redis
from config.tracing import Propagate
from config.usage import UsageStore

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[str], Path]
    Read = Callable[[str], Settings]
    Refused = Callable[[str], str]

HASH = "sha256:" + "0" * 64
MODEL = "providers: {a: {adapter: local}}\nmodels: {m: {targets: [a/b]}}\n"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the machine that runs the tests may have set."""
    import os  # noqa: PLC0415

    for name in [name for name in os.environ if name.upper().startswith("ASR_GATEWAY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        file = tmp_path / "gateway.yaml"
        file.write_text(text)
        return file

    return to_file


@pytest.fixture
def read(write: Write) -> Read:
    return lambda text: load(write(text))


@pytest.fixture
def refused(write: Write) -> Refused:
    def message(text: str) -> str:
        with pytest.raises(BadConfiguration) as caught:
            load(write(text))
        return str(caught.value)

    return message


# path, what it is unless told, something it may be (written and meant), something it may not be
OPTIONS: list[tuple[str, Any, str, Any, str]] = [
    ("server.host", "127.0.0.1", "localhost", "localhost", "[]"),
    ("server.port", 8080, "9000", 9000, "65536"),
    ("server.max_upload", 100 << 20, "1GiB", 1 << 30, "0"),
    ("server.max_duration", 14_400.0, "30m", 1800.0, "0s"),
    ("server.deadline.base", 120.0, "5s", 5.0, "0s"),
    ("server.deadline.per_audio_second", 0.5, "0", 0.0, "101"),
    ("server.deadline.max", 7200.0, "1d", 86_400.0, "never"),
    ("server.spool.memory_per_upload", 1 << 20, "4KiB", 4096, "-1"),
    ("server.spool.memory_total", 64 << 20, "1GiB", 1 << 30, "0"),
    ("server.spool.disk_total", 8 << 30, "1TiB", 1 << 40, "some"),
    ("server.spool.directory", None, "null", None, "[]"),
    ("server.cors_origins", (), "['https://a.example']", ("https://a.example",), "https://a.example"),
    ("server.header_timeout", 10.0, "500ms", 0.5, "0"),
    ("server.body_timeout", 20.0, "1m", 60.0, "-1"),
    ("server.body_min_rate", 1024, "1KiB", 1024, "0"),
    ("server.keep_alive", 620.0, "75s", 75.0, "0"),
    ("server.drain", 30.0, "0s", 0.0, "-1s"),
    ("server.grace", 0.0, "5s", 5.0, "-1s"),
    ("server.max_in_flight", 4096, "10", 10, "0"),
    ("server.workers", 1, "4", 4, "0"),
    ("server.admin_port", None, "9090", 9090, "65536"),
    ("server.admin_host", "127.0.0.1", "10.0.0.5", "10.0.0.5", "[]"),
    ("reliability.retries.limit", 2, "0", 0, "11"),
    ("reliability.retries.base", 0.25, "100ms", 0.1, "0s"),
    ("reliability.retries.cap", 15.0, "1m", 60.0, "0s"),
    ("reliability.retries.budget", 0.2, "0", 0.0, "1.1"),
    ("reliability.retries.floor", 3, "0", 0.0, "-1"),
    ("reliability.breakers.consecutive", 5, "1", 1, "0"),
    ("reliability.breakers.failure_rate", 0.5, "1", 1.0, "0"),
    ("reliability.breakers.slow_rate", 0.8, "0.1", 0.1, "0"),
    ("reliability.breakers.slow_call.base", 60.0, "5s", 5.0, "0s"),
    ("reliability.breakers.slow_call.per_audio_second", 0.5, "0", 0.0, "101"),
    ("reliability.breakers.slow_call.max", 7200.0, "1h", 3600.0, "0"),
    ("reliability.breakers.min_calls", 20, "1", 1, "0"),
    ("reliability.breakers.window", 30.0, "1m", 60.0, "0s"),
    ("reliability.breakers.probe_after", 5.0, "500ms", 0.5, "0s"),
    ("reliability.breakers.rate_limited", 5.0, "1s", 1.0, "0s"),
    ("reliability.breakers.park_max", 300.0, "1h", 3600.0, "0s"),
    ("reliability.hedging.budget", 0.1, "1", 1.0, "2"),
    ("reliability.hedging.floor", 2, "0", 0.0, "-1"),
    ("reliability.queue.max_waiting", None, "0", 0, "-1"),
    ("reliability.queue.max_wait", 10.0, "0s", 0.0, "-1s"),
    ("reliability.attempt_timeout", None, "{base: 5s}", Allowance(base=5.0), "{max: 1s}"),
    ("reliability.doubt_empty", True, "false", False, "perhaps"),
    ("reliability.check_every", None, "1m", 60.0, "0s"),
    ("cache.store", CacheStore.MEMORY, "none", CacheStore.NONE, "disk"),
    ("cache.ttl", 7 * 86_400.0, "1h", 3600.0, "0s"),
    ("cache.stale_for", 86_400.0, "0s", 0.0, "-1s"),
    ("cache.max_bytes", 256 << 20, "1GiB", 1 << 30, "0"),
    ("cache.path", None, "/var/cache/asr.sqlite", Path("/var/cache/asr.sqlite"), "[]"),
    ("cache.scope", CacheScope.CALLER, "shared", CacheScope.SHARED, "everybody"),
    ("cache.same_sound", False, "true", True, "perhaps"),
    ("cache.sampled", False, "true", True, "perhaps"),
    ("limits.requests_per_minute", None, "600", 600, "0"),
    ("limits.audio_seconds_per_minute", None, "600", 600, "0.5"),
    ("limits.audio_seconds_per_hour", None, "36000", 36_000, "0"),
    ("limits.audio_seconds_per_day", None, "100000", 100_000, "-1"),
    ("limits.concurrent", None, "20", 20, "0"),
    ("limits.usd_per_day", None, "0.5", 0.5, "0"),
    ("limits.usd_per_month", None, "25", 25.0, ".inf"),
    ("limits.store", LimitStore.MEMORY, "redis", LimitStore.REDIS, "file"),
    ("limits.when_lost", WhenLost.CLOSED, "open", WhenLost.OPEN, "ajar"),
    ("usage.store", UsageStore.SQLITE, "none", UsageStore.NONE, "csv"),
    ("usage.path", None, "/var/lib/usage.sqlite", Path("/var/lib/usage.sqlite"), "[]"),
    ("usage.keep", 90 * 86_400.0, "400d", 400 * 86_400.0, "0s"),
    ("usage.max_rows", 2_000_000, "1000", 1000, "999"),
    ("redis", None, "{timeout: 1s}", Redis(timeout=1.0), "{url: 'http://a'}"),
    (
        "fetch.hosts",
        (),
        "[Media.example.org, '*.example.org:8443']",
        ("media.example.org", "*.example.org:8443"),
        "['127.0.0.1']",
    ),
    ("fetch.timeout", 60.0, "5m", 300.0, "0s"),
    ("fetch.max_redirects", 3, "0", 0, "11"),
    ("auth.mode", AuthMode.NONE, "passthrough", AuthMode.PASSTHROUGH, "open"),
    ("auth.keys", (), "[]", (), "{}"),
    ("auth.store", "none", "none", "none", "memory"),
    ("auth.path", None, "null", None, "[]"),
    ("default_model", None, "openai/whisper-large-v3", "openai/whisper-large-v3", "a..b"),
    ("logs.format", "auto", "json", "json", "xml"),
    ("logs.level", "info", "debug", "debug", "loud"),
    ("tracing.endpoint", None, "http://collector:4318/", "http://collector:4318", "collector:4318"),
    ("tracing.headers", {}, '{"x-key": "k"}', {"x-key": SecretStr("k")}, "[]"),
    ("tracing.sample", 1.0, "0.1", 0.1, "1.1"),
    ("tracing.service_name", None, "speech", "speech", '""'),
    ("tracing.propagate", Propagate.OWN, "all", Propagate.ALL, "some"),
    ("providers", {}, "{}", {}, "[]"),
    ("models", {}, "{}", {}, "[]"),
]


def at(settings: BaseModel, path: str) -> Any:
    value: Any = settings
    for step in path.split("."):
        value = getattr(value, step)
    return value


def nested(path: str, value: str) -> str:
    """Return YAML that says value at path, and nothing else."""
    *outer, last = path.split(".")
    return "".join(f"{step}: {{" for step in outer) + f"{last}: {value}" + "}" * len(outer)


def leaves(section: type[BaseModel], prefix: str = "") -> set[str]:
    """Return the path of every option below a section."""
    paths: set[str] = set()
    for name, each in section.model_fields.items():
        inner: Any = each.annotation
        is_section = isinstance(inner, type) and issubclass(inner, BaseModel)
        paths |= leaves(inner, f"{prefix}{name}.") if is_section else {f"{prefix}{name}"}
    return paths


def test_every_option_is_in_the_table() -> None:
    assert {path for path, *_ in OPTIONS} == leaves(Settings)


@pytest.mark.parametrize(("path", "default", "written", "meant", "wrong"), OPTIONS, ids=[each[0] for each in OPTIONS])
def test_an_option(read: Read, refused: Refused, path: str, default: Any, written: str, meant: Any, wrong: str) -> None:
    """Its default, a value in its own unit, and one beyond its bounds, which is told by its path."""
    assert at(read(""), path) == default
    assert at(read(nested(path, written)), path) == meant
    assert refused(nested(path, wrong)).startswith(path)


class TestAccounts:
    """`providers`: one account each."""

    def test_defaults(self, read: Read) -> None:
        account = read("providers: {a: {adapter: openai}}").providers["a"]

        assert account == AccountSettings(adapter="openai")
        assert (account.device, account.compute_type, account.secret()) == ("auto", "default", None)
        assert (account.max_batch, account.max_wait, account.max_queue) == (None, 0.02, None)

    def test_everything(self, read: Read) -> None:
        account = read(
            "providers: {a: {adapter: fal-ai, api_key: k, base_url: 'https://a.example/v1', "
            "base_urls: {queue: 'http://b:1'}, options: {form: openai}, device: cpu, compute_type: int8}}"
        ).providers["a"]

        assert account.api_key == SecretStr("k")
        assert (account.base_url, account.base_urls) == ("https://a.example/v1", {"queue": "http://b:1"})
        assert (account.options, account.device, account.compute_type) == ({"form": "openai"}, "cpu", "int8")

    @pytest.mark.parametrize(
        "wrong",
        [
            "base_url: ftp://a",
            "base_url: 'https://a/?key=secret'",
            "base_url: 'https://user:secret@a'",
            "base_url: 'https://a#x'",
            "base_url: https://",
            "base_urls: {queue: a}",
            "device: tpu",
            "options: {a: {}}",
            "compute_type: []",
            "max_batch: 0",
            "max_wait: -1ms",
            "max_queue: 0",
        ],
    )
    def test_wrong_values(self, refused: Refused, wrong: str) -> None:
        message = refused(f"providers: {{a: {{adapter: openai, {wrong}}}}}")

        assert message.startswith(f"providers.a.{wrong.partition(':')[0]}")
        assert "secret" not in message

    @pytest.mark.parametrize("name", ["a/b", "a b", "''", "a:b"])
    def test_names_are_path_segments(self, refused: Refused, name: str) -> None:
        assert refused(f"providers: {{'{name.strip(chr(39))}': {{adapter: openai}}}}").startswith("providers.")

    def test_a_key_in_a_file(self, read: Read, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("sk-from-a-file\n")
        account = read(f"providers: {{a: {{adapter: openai, api_key_file: {tmp_path}/key}}}}").providers["a"]

        assert account.secret() == SecretStr("sk-from-a-file")

    def test_a_key_file_that_is_not_there(self, read: Read) -> None:
        account = read("providers: {a: {adapter: openai, api_key_file: /nowhere/key}}").providers["a"]

        with pytest.raises(BadConfiguration, match="/nowhere/key cannot be read: No such file"):
            account.secret()

    def test_a_key_file_that_is_no_text(self, read: Read, tmp_path: Path) -> None:
        (tmp_path / "key").write_bytes(b"\xff\xfe")
        account = read(f"providers: {{a: {{adapter: openai, api_key_file: {tmp_path}/key}}}}").providers["a"]

        with pytest.raises(BadConfiguration, match="it is not text"):
            account.secret()

    @pytest.mark.parametrize("key", ["two words", "línea", "a\tb"])
    def test_what_no_header_can_hold_is_no_key(self, key: str) -> None:
        with pytest.raises(BadConfiguration) as caught:
            AccountSettings(adapter="openai", api_key=SecretStr(key)).secret()
        assert key not in str(caught.value)

    def test_a_key_is_in_one_place(self, refused: Refused) -> None:
        assert "exclude each other" in refused("providers: {a: {adapter: openai, api_key: k, api_key_file: /f}}")


class TestModels:
    """`models`: one route each."""

    def test_short_and_long_targets(self, read: Read) -> None:
        route = read(
            "providers: {a: {adapter: local}, hf: {adapter: hf-inference}}\n"
            "models: {m: {targets: [a/b/c, {target: hf/d, substitute: true}, a], on_unsupported: ignore}}"
        ).models["m"]

        assert route.targets == (Target(target="a/b/c"), Target(target="hf/d", substitute=True), Target(target="a"))
        assert [(each.account, each.native_model) for each in route.targets] == [("a", "b/c"), ("hf", "d"), ("a", "")]
        assert route.on_unsupported is OnUnsupported.IGNORE

    def test_rejecting_is_the_default(self, read: Read) -> None:
        assert read(MODEL).models["m"].on_unsupported is OnUnsupported.REJECT

    @pytest.mark.parametrize("name", ["m", "openai/whisper-large-v3", "a/b/c", "*", "w.1_2"])
    def test_names(self, read: Read, name: str) -> None:
        assert list(read(f"providers: {{a: {{adapter: local}}}}\nmodels: {{'{name}': {{targets: [a/b]}}}}").models) == [
            name
        ]

    @pytest.mark.parametrize("name", ["", "a b", "/a", "a/", "a//b", "..", "a..b", "a?b", "**", "a/*"])
    def test_no_names(self, refused: Refused, name: str) -> None:
        message = refused(f"providers: {{a: {{adapter: local}}}}\nmodels: {{'{name}': {{targets: [a/b]}}}}")

        assert "a model name is letters, digits" in message

    @pytest.mark.parametrize(
        ("route", "where"),
        [
            ("{}", "models.m.targets"),
            ("{targets: []}", "models.m.targets"),
            ("{targets: [5]}", "models.m.targets.0"),
            ("{targets: ['/b']}", "models.m.targets.0.target"),
            ("{targets: [{substitute: true}]}", "models.m.targets.0.target"),
            ("{targets: [a/b], on_unsupported: guess}", "models.m.on_unsupported"),
            ("[]", "models.m"),
        ],
    )
    def test_wrong_routes(self, refused: Refused, route: str, where: str) -> None:
        assert refused(f"providers: {{a: {{adapter: local}}}}\nmodels: {{m: {route}}}").startswith(where)

    def test_a_target_names_an_account(self, refused: Refused) -> None:
        message = refused("providers: {deepinfra: {adapter: deepinfra}}\nmodels: {m: {targets: [deepinfar/b]}}")

        assert message == "models.m: target deepinfar/b names no account; did you mean deepinfra?"

    def test_the_default_is_one_of_them(self, read: Read, refused: Refused) -> None:
        assert refused(f"{MODEL}default_model: n") == "default_model: n is not among models; valid are: m"
        assert read(f"{MODEL}default_model: m").default_model == "m"
        assert read(f"{MODEL.replace('m:', chr(39) + '*' + chr(39) + ':')}default_model: n").default_model == "n"


class TestUnknownKeys:
    """At every level, with the nearest valid name."""

    @pytest.mark.parametrize(
        ("text", "where", "meant"),
        [
            ("sever: {}", "sever", "server"),
            ("server: {prot: 1}", "server.prot", "port"),
            ("server: {deadline: {bass: 1}}", "server.deadline.bass", "base"),
            ("server: {spool: {memory: 1}}", "server.spool.memory", "memory_total"),
            ("auth: {kyes: []}", "auth.kyes", "keys"),
            ("auth: {keys: [{name: n, hash: '" + HASH + "', rol: admin}]}", "auth.keys.0.rol", "role"),
            ("providers: {a: {adaptor: x}}", "providers.a.adaptor", "adapter"),
            ("providers: {adapter: {adapter: local, api_kye: x}}", "providers.adapter.api_kye", "api_key"),
            (f"{MODEL}logs: {{levle: info}}", "logs.levle", "level"),
            ("providers: {a: {adapter: x}}\nmodels: {m: {target: [a/b]}}", "models.m.target", "targets"),
            (
                "providers: {a: {adapter: x}}\nmodels: {targets: {targets: [{target: a/b, subtsitute: true}]}}",
                "models.targets.targets.0.subtsitute",
                "substitute",
            ),
        ],
    )
    def test_the_nearest_is_named(self, refused: Refused, text: str, where: str, meant: str) -> None:
        assert f"{where}: unknown key; did you mean {meant}?" in refused(text).splitlines()

    def test_a_name_near_nothing_is_told_them_all(self, refused: Refused) -> None:
        assert refused("logs: {zzz: 1}") == "logs.zzz: unknown key; valid are: format, level"

    def test_a_key_that_pydantic_would_take_for_its_own(self, refused: Refused) -> None:
        assert refused("_env_file: /etc/passwd").startswith("_env_file: unknown key")

    def test_all_faults_are_told_at_once(self, refused: Refused) -> None:
        message = refused("server: {prot: 1, max_upload: 0}\nlogs: {level: loud}")

        assert [line.partition(":")[0] for line in message.splitlines()] == [
            "server.max_upload",
            "server.prot",
            "logs.level",
        ]


class TestYaml:
    """Files that are something else."""

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("server: [", "line 1, column 10"),
            ('providers: {a: {api_key: "sk-secret}}', "line 1, column"),
            ("a: b: sk-secret", "line 1, column 5"),
            ("\tserver: sk-secret", "line 1, column 1"),
            ("server: {port: 1}\nserver: {port: 2}", "the key server stands twice, line 2, column 1"),
            ("server:\n  port: 1\n  host: sk-secret\n  port: 2", "the key port stands twice, line 4, column 3"),
            ("a: &x [*x, \0]", "cannot be read as YAML"),
            ("{[a]: b}: c", "cannot be read as YAML"),
        ],
    )
    def test_the_fault_has_a_place_and_no_secret(self, refused: Refused, text: str, fault: str) -> None:
        """PyYAML would print the line."""
        message = refused(text)

        assert "cannot be read as YAML" in message
        assert fault in message
        assert "sk-secret" not in message

    @pytest.mark.parametrize("text", ["- server", "just words", "5", "on: true", "1: 2"])
    def test_what_has_no_keys(self, refused: Refused, text: str) -> None:
        assert "expected keys such as server, providers and models" in refused(text)

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"\xff\xfe\x00\x80")
        with pytest.raises(BadConfiguration, match="it is not text"):
            load(tmp_path / "f")

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BadConfiguration, match=r"nowhere\.yaml: No such file or directory"):
            load(tmp_path / "nowhere.yaml")
        with pytest.raises(BadConfiguration, match="Is a directory"):
            load(tmp_path)

    def test_an_empty_one_says_nothing(self, read: Read) -> None:
        assert read("# nothing yet\n") == read("{}") == load(None)

    def test_anchors_and_merges_are_yaml_too(self, read: Read) -> None:
        settings = read(
            "providers:\n  a: &same {adapter: openai, api_key: k}\n  b: {<<: *same, base_url: 'http://b'}\n"
        )

        assert settings.providers["b"].base_url == "http://b"

    @given(st.text(max_size=60))
    def test_any_text_is_settings_or_refused(self, tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
        file = tmp_path_factory.getbasetemp() / "any.yaml"
        file.write_text(text, errors="replace")
        try:
            assert isinstance(load(file), Settings)
        except BadConfiguration as error:
            assert str(error)  # noqa: PT017 - whichever it is


class TestVariables:
    """`${VAR}` in any string."""

    def test_they_are_replaced_at_any_depth(self, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in (
            ("MY_KEY", "sk-mine"),
            ("MY_HOST", "gpu-1"),
            ("MY_PORT", "9001"),
            ("MY_ORIGIN", "https://a"),
        ):
            monkeypatch.setenv(name, value)
        settings = read(
            "server: {port: '${MY_PORT}', cors_origins: ['${MY_ORIGIN}']}\n"
            "providers: {a: {adapter: openai-compatible, api_key: '${MY_KEY}', base_url: 'http://${MY_HOST}:${MY_PORT}/v1'}}"
        )

        assert (settings.server.port, settings.server.cors_origins) == (9001, ("https://a",))
        assert settings.providers["a"].api_key == SecretStr("sk-mine")
        assert settings.providers["a"].base_url == "http://gpu-1:9001/v1"

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ("providers: {a: {adapter: openai, api_key: '${NOT_SET_1}'}}", "providers.a.api_key"),
            ("server: {cors_origins: [x, 'a${NOT_SET_1}']}", "server.cors_origins[1]"),
        ],
    )
    def test_one_that_is_not_set(self, refused: Refused, text: str, where: str) -> None:
        assert refused(text) == f"{where}: the environment variable NOT_SET_1 is not set"

    def test_a_value_is_not_read_again(self, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OUTER", "${INNER}")

        assert read("server: {cors_origins: ['${OUTER}', '$PLAIN']}").server.cors_origins == ("${INNER}", "$PLAIN")


class TestEnvironment:
    """Variables that override fixed keys."""

    def test_it_wins_over_the_file_and_leaves_the_rest(self, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASR_GATEWAY_SERVER__PORT", "9000")
        monkeypatch.setenv("ASR_GATEWAY_SERVER__DEADLINE__BASE", "5s")
        monkeypatch.setenv("ASR_GATEWAY_LOGS__LEVEL", "debug")
        monkeypatch.setenv("ASR_GATEWAY_DEFAULT_MODEL", "m")
        settings = read("server: {port: 1, host: localhost, deadline: {base: 1s, max: 9s}}")

        assert (settings.server.port, settings.server.host) == (9000, "localhost")
        assert (settings.server.deadline.base, settings.server.deadline.max) == (5.0, 9.0)
        assert settings.server.deadline.per_audio_second == 0.5
        assert (settings.logs.level, settings.default_model) == ("debug", "m")

    def test_it_needs_no_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASR_GATEWAY_SERVER__SPOOL__MEMORY_TOTAL", "1MiB")

        assert load(None).server.spool.memory_total == 1 << 20

    def test_lists_are_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASR_GATEWAY_SERVER__CORS_ORIGINS", '["https://a"]')

        assert load(None).server.cors_origins == ("https://a",)

    @pytest.mark.parametrize("name", ["SERVER__CORS_ORIGINS", "SERVER", "AUTH__KEYS"])
    def test_what_is_not(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(f"ASR_GATEWAY_{name}", "https://secret")
        with pytest.raises(BadConfiguration) as caught:
            load(None)
        assert "secret" not in str(caught.value)

    def test_an_unknown_section(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASR_GATEWAY_SERVR__PORT", "1")
        with pytest.raises(BadConfiguration, match=r"ASR_GATEWAY_SERVR__PORT: no such section; did you mean server\?"):
            load(None)

    def test_an_unknown_key_of_a_section(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASR_GATEWAY_SERVER__PROT", "1")
        with pytest.raises(BadConfiguration, match=r"server\.prot: unknown key; did you mean port\?"):
            load(None)

    @pytest.mark.parametrize("name", ["PORT", "PORT_8080_TCP_ADDR", "SERVICE_HOST", "CONFIG"])
    def test_what_kubernetes_sets_for_a_service_of_that_name_is_none_of_ours(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(f"ASR_GATEWAY_{name}", "tcp://10.0.0.1:8080")

        assert load(None) == Settings()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("MODELS", '{"n": {"targets": ["a/b"]}}'),
            ("PROVIDERS", '{"b": {"adapter": "local"}}'),
            ("PROVIDERS__A__ADAPTER", "openai"),
            ("MODELS__M__ON_UNSUPPORTED", "ignore"),
            ("NOT_FROM_ENVIRONMENT", "[]"),
        ],
    )
    def test_entries_that_an_operator_names_are_the_files(
        self, read: Read, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        """A variable's name has lost its case, and cannot hold a slash."""
        expected = read(MODEL)
        monkeypatch.setenv(f"ASR_GATEWAY_{name}", value)

        assert read(MODEL) == expected


class TestAuth:
    """Who may call, and from where."""

    KEY = f"{{name: newsroom, hash: '{HASH}'}}"

    def test_a_key(self, read: Read) -> None:
        key = read(f"auth: {{mode: keys, keys: [{self.KEY}]}}").auth.keys[0]

        assert (key.name, key.role, key.hash, key.models) == ("newsroom", "caller", HASH, ("*",))
        assert (key.expires, key.labels) == (None, {})

    def test_a_key_that_ends_and_is_labelled(self, read: Read) -> None:
        entry = f"{self.KEY[:-1]}, expires: 2026-12-31, labels: {{team: news desk}}}}"
        key = read(f"auth: {{mode: keys, keys: [{entry}]}}").auth.keys[0]

        assert (key.expires, key.labels) == (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), {"team": "news desk"})

    def test_keys_for_keys(self, refused: Refused) -> None:
        assert "auth.keys is empty" in refused("auth: {mode: keys}")

    @pytest.mark.parametrize("store", ["store: sqlite, path: /var/lib/keys.sqlite", "store: redis"])
    def test_a_store_of_keys_is_enough_for_keys(self, read: Read, store: str) -> None:
        assert read(f"redis: {{}}\nauth: {{mode: keys, {store}}}").auth.keys == ()

    @pytest.mark.parametrize("mode", ["none", "passthrough"])
    def test_other_modes_may_have_keys_for_their_operators(self, read: Read, mode: str) -> None:
        auth = read(f"auth: {{mode: {mode}, store: sqlite, path: /x, keys: [{self.KEY}]}}").auth

        assert (auth.store, len(auth.keys)) == ("sqlite", 1)

    def test_the_admin_port_is_another(self, read: Read, refused: Refused) -> None:
        assert "callers would reach what is for operators" in refused("server: {port: 9000, admin_port: 9000}")
        assert read("server: {port: 0, admin_port: 0}").server.admin_port == 0
        assert read("server: {admin_port: 9090}").server.admin_host == "127.0.0.1"

    @pytest.mark.parametrize(
        ("auth", "sentence"),
        [
            ("mode: keys, store: sqlite", "auth.path is the file"),
            ("mode: keys, store: redis", "there is no section redis"),
            (f"mode: keys, path: /x, keys: [{KEY}]", "auth.path is the file"),
        ],
    )
    def test_a_store_that_does_not_fit(self, refused: Refused, auth: str, sentence: str) -> None:
        assert sentence in refused(f"auth: {{{auth}}}")

    @pytest.mark.parametrize(
        "wrong",
        [
            "hash: 'sha256:abc'",
            "hash: hf_gw_the_key_itself",
            "name: 'a b'",
            "role: root",
            "models: x",
            "expires: 2026-12-31T00:00:00",
            "expires: soon",
            "labels: [a]",
            "labels: {'a b': c}",
            "labels: {a: 5}",
            f"labels: {{a: {'x' * 257}}}",
            f"labels: {{{', '.join(f'l{n}: x' for n in range(33))}}}",
        ],
    )
    def test_wrong_keys(self, refused: Refused, wrong: str) -> None:
        fields = {"name": "name: n", "hash": f"hash: '{HASH}'"}
        fields[wrong.partition(":")[0]] = wrong
        message = refused(f"auth: {{mode: keys, keys: [{{{', '.join(fields.values())}}}]}}")

        assert message.startswith(f"auth.keys.0.{wrong.partition(':')[0]}")
        assert "hf_gw" not in message

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gateway.example", "127.example.com", ""])
    def test_no_open_door(self, read: Read, refused: Refused, host: str) -> None:
        server = f"server: {{host: '{host}'}}\n"

        assert "anybody who reaches it could spend your money" in refused(server)
        assert read(f"{server}auth: {{mode: keys, keys: [{self.KEY}]}}").server.host == host
        assert read(f"{server}auth: {{mode: passthrough}}").server.host == host

    def test_checks_want_a_key_of_the_gateways_own(self, refused: Refused) -> None:
        """In mode passthrough only callers have keys, and a check is nobody's request."""
        assert "no key to check anything with" in refused("auth: {mode: passthrough}\nreliability: {check_every: 1m}")

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
    def test_loopback(self, host: str) -> None:
        assert is_loopback(host)


def test_secrets_are_in_no_repr(read: Read) -> None:
    settings = read("providers: {a: {adapter: openai, api_key: sk-secret}}")

    assert "sk-secret" not in f"{settings!r}{settings}{settings.model_dump()}{settings.model_dump_json()}"


@pytest.mark.parametrize(
    "text",
    [
        "providers: {a: {adapter: openai, api_key: [sk-secret]}}",
        "providers: {a: {api_key: sk-secret}}",
        "providers: sk-secret",
        "auth: sk-secret",
    ],
)
def test_secrets_are_in_no_error(refused: Refused, text: str) -> None:
    assert "sk-secret" not in refused(text)


def test_settings_do_not_change(read: Read) -> None:
    settings = read("")

    for section, name in ((settings, "default_model"), (settings.server, "port"), (settings.server.deadline, "base")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(section, name, 1)
