"""Point huggingface_hub's inference calls at a gateway. Python imports a module of this name when it starts.

`asr-gateway exec` prepends this folder to PYTHONPATH, so every Python below it runs this file, whatever its version and
whatever it has installed: only the standard library is imported, the syntax is that of Python 3.8 (an older one, which
no such release runs on, prints a line and carries on), and a program that never imports huggingface_hub pays for one
small module. Take ASR_EXEC_URL out of a child's environment to leave that child alone.

What is redirected, as tried with huggingface_hub 0.29.0, 0.30.2, 0.33.0, 0.36.2, 1.0.0, 1.33.0 and 2.4.0:

- every address a provider helper builds (`TaskProviderHelper._prepare_url`): the router's, and the provider's own host,
  which is called when the key does not begin with `hf_`. A helper without a counterpart in the gateway gets its 404.
- the look-ups a helper makes before a call: `/api/models/{model}` and `/api/tasks`. They go without a token, as the
  gateway answers them to anyone, and a saved Hub token is not the gateway's business.

Left alone: a URL the program itself names as its model, and everything else that asks the Hub (downloads, HfApi).
A release this file cannot patch is refused, since a call it missed would take the caller's key past the gateway.
"""
# ruff: noqa: INP001 - a folder for PYTHONPATH, not a package
# ruff: noqa: ANN401, SLF001 - it patches the private parts of a library whose types differ by release

from __future__ import annotations

import os
import sys
from contextvars import ContextVar

TYPE_CHECKING = False  # typing is not imported for its own constant: that would triple what this file costs
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, NoReturn

    Patch = Callable[[Any, str], None]

URL_VARIABLE = "ASR_EXEC_URL"
ROUTER = "router.huggingface.co"
HUB = "huggingface_hub"
HELPERS = "huggingface_hub.inference._providers._common"
OLDEST = (0, 29)  # earlier ones resend a 503 for ever, and build their addresses without a helper

_looking_up = ContextVar("_looking_up", default=False)  # a helper is asking the Hub about a model


class UnknownLayoutError(Exception):
    """This release keeps what must be patched somewhere else."""


def patch_constants(constants: Any, gateway: str) -> None:
    """Move the addresses that are read as constants; hf-inference copies its own from here when it loads."""
    _require(constants, "INFERENCE_PROXY_TEMPLATE", "INFERENCE_ENDPOINT")
    constants.INFERENCE_PROXY_TEMPLATE = gateway + "/{provider}"
    constants.INFERENCE_ENDPOINT = gateway


def patch_helpers(common: Any, gateway: str) -> None:
    """Move every address a helper builds, also in the helpers that build it their own way."""
    _require(common, "TaskProviderHelper", "_fetch_inference_provider_mapping", "constants")
    helper = common.TaskProviderHelper
    _require(helper, "_prepare_url")

    def redirect(cls: Any) -> None:
        build: Callable[..., str] = cls._prepare_url

        def prepare_url(self: Any, api_key: str, mapped_model: str) -> str:
            url = build(self, api_key, mapped_model)
            if self.provider == "hf-inference" and mapped_model.startswith(("http://", "https://")):
                return url  # the program named this address itself
            proxy = common.constants.INFERENCE_PROXY_TEMPLATE.format(provider=self.provider)
            return url if url.startswith(proxy + "/") else at_gateway(url, self.provider, gateway)

        cls._prepare_url = prepare_url

    def redirect_own(cls: Any, /, **_: object) -> None:
        if "_prepare_url" in vars(cls):
            redirect(cls)

    redirect(helper)
    helper.__init_subclass__ = classmethod(redirect_own)
    common._fetch_inference_provider_mapping = _as_look_up(common._fetch_inference_provider_mapping)


def at_gateway(url: str, provider: str, gateway: str) -> str:
    """Return the gateway's address for one of the router (its path names the provider) or of a provider's own host."""
    host, _, path = url.partition("://")[2].partition("/")
    return f"{gateway}/{path}" if host == ROUTER else f"{gateway}/{provider}/{path}"


def patch_hf_inference(module: Any, gateway: str) -> None:
    """Move the look-ups only hf-inference makes: the task of a model, and a model for a task."""
    from functools import lru_cache  # noqa: PLC0415 - only programs that have loaded it already come here

    _require(module, "_fetch_recommended_models", "get_session", "build_hf_headers", "hf_raise_for_status")

    @lru_cache(maxsize=1)
    def fetch_recommended_models() -> dict[str, str | None]:
        reply = module.get_session().get(f"{gateway}/api/tasks", headers=module.build_hf_headers(token=False))
        module.hf_raise_for_status(reply)
        return {task: next(iter(details["widgetModels"]), None) for task, details in reply.json().items()}

    module._fetch_recommended_models = fetch_recommended_models
    if hasattr(module, "_check_supported_task"):  # since 0.30
        module._check_supported_task = _as_look_up(module._check_supported_task)


def patch_api(hf_api: Any, gateway: str) -> None:
    """Give the gateway's address to the Hub client a look-up makes for itself, and to no other."""
    _require(hf_api, "HfApi")
    construct: Callable[..., None] = hf_api.HfApi.__init__

    def construct_for_look_up(self: Any, *args: Any, **named: Any) -> None:
        if _looking_up.get() and not args:
            named = {"endpoint": gateway, "token": False, **named}
        construct(self, *args, **named)

    hf_api.HfApi.__init__ = construct_for_look_up


def _as_look_up(ask: Callable[..., Any]) -> Callable[..., Any]:
    def asked(*args: Any) -> Any:
        before = _looking_up.set(True)
        try:
            return ask(*args)
        finally:
            _looking_up.reset(before)

    return asked


def check_helpers(_: Any, __: str) -> None:
    """Refuse a client that was loaded without the helpers it builds its calls with."""
    if HELPERS not in sys.modules:
        raise UnknownLayoutError(f"no module {HELPERS}")


def check_version() -> None:
    """Refuse a release that is too old, from its metadata: importing it would be too late."""
    import re  # noqa: PLC0415 - only programs that import huggingface_hub come here
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - as above

    try:
        found = version(HUB)
    except PackageNotFoundError:
        return  # a source tree; what it lacks is found as it loads
    numbers = re.match(r"(\d+)\.(\d+)", found)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST:
        _stop(f"huggingface_hub {found} is too old to be redirected; 0.29 or later is needed")


AFTER: dict[str, Patch] = {
    "huggingface_hub.constants": patch_constants,
    "huggingface_hub.hf_api": patch_api,
    HELPERS: patch_helpers,
    "huggingface_hub.inference._providers.hf_inference": patch_hf_inference,
    "huggingface_hub.inference._client": check_helpers,
}


class PatchingLoader:
    """The loader of one module, and what to do around its execution."""

    def __init__(self, loader: Any, gateway: str) -> None:
        self._loader = loader
        self._gateway = gateway

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # its source, its data files

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        if module.__name__ == HUB:
            check_version()
        self._loader.exec_module(module)
        try:
            AFTER.get(module.__name__, _leave)(module, self._gateway)
        except UnknownLayoutError as missing:
            _stop(f"this release of huggingface_hub cannot be redirected ({missing}); 0.29 to 2.4 are known to work")


class Finder:
    """Finds nothing by itself: gives the modules to patch a loader that patches them."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != HUB and name not in AFTER:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                loader: Any = PatchingLoader(spec.loader, self._gateway)
                spec.loader = loader
                return spec
        return None


def _leave(_: Any, __: str) -> None:
    """Do nothing."""


def _require(owner: object, *names: str) -> None:
    missing = [name for name in names if not hasattr(owner, name)]
    if missing:
        raise UnknownLayoutError(f"no {missing[0]} in {getattr(owner, '__name__', owner)}")


def _say(message: str) -> None:
    sys.stderr.write(f"asr-gateway exec: {message}\n")
    sys.stderr.flush()


def _stop(message: str) -> NoReturn:
    _say(message)
    raise SystemExit(2)


def run_shadowed() -> None:
    """Import the sitecustomize that would have been found without this one; it takes this one's place.

    The folder returns to `sys.path` afterwards, for programs that hand theirs on to children as PYTHONPATH.
    """
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib would be a costly import here
    places = [place for place, entry in enumerate(sys.path) if os.path.abspath(entry) == here]  # noqa: PTH100 - as above
    sys.path[:] = [entry for place, entry in enumerate(sys.path) if place not in places]
    own = sys.modules.pop("sitecustomize")
    try:
        __import__("sitecustomize")
    except ModuleNotFoundError as error:
        sys.modules["sitecustomize"] = own
        if error.name != "sitecustomize":
            raise
    finally:
        sys.path.insert(places[0] if places else 0, here)


def install(gateway: str) -> None:
    """Watch the import of huggingface_hub, ahead of what the shadowed sitecustomize may watch it with."""
    if HUB in sys.modules:  # a .pth file was quicker
        _say("huggingface_hub was loaded before Python had started, by a .pth file; it can no longer be redirected")
        os._exit(2)  # site reports an exception and carries on
    finder = Finder(gateway)
    sys.meta_path.insert(0, finder)
    try:
        run_shadowed()
    finally:
        sys.meta_path.remove(finder)
        sys.meta_path.insert(0, finder)


if URL_VARIABLE in os.environ:
    install(os.environ[URL_VARIABLE])
else:
    run_shadowed()
