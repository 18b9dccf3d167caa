"""Real programs with the real huggingface_hub below `exec`: what reaches the gateway, the Hub, and nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.exec.launch import SITE, URL_VARIABLE
from tests.gateway.exec.conftest import HEARD, HUB_FILE, VERSIONS, World

MODEL = "openai/whisper-large-v3"
MAPPING = f"/api/models/{MODEL}?expand=inferenceProviderMapping"

# The documentation's snippet for this task, as it stands there; `print` is ours.
SNIPPET = """\
from huggingface_hub import InferenceClient

client = InferenceClient(
    provider="{provider}",
    api_key="{key}",
)

output = client.automatic_speech_recognition("sample1.flac", model="openai/whisper-large-v3")
print(output.text)
"""

ASYNC_SNIPPET = """\
import asyncio
from huggingface_hub import AsyncInferenceClient

async def main():
    client = AsyncInferenceClient(provider="{provider}", api_key="{key}")
    output = await client.automatic_speech_recognition("sample1.flac", model="openai/whisper-large-v3")
    print(output.text)

asyncio.run(main())
"""

POSTS = {
    "fal-ai": f"/fal-ai/{MODEL}",
    "hf-inference": f"/hf-inference/models/{MODEL}",
    "replicate": f"/replicate/v1/models/{MODEL}/predictions",
    "deepinfra": "/deepinfra/v1/openai/audio/transcriptions",
}
SINCE_1 = ("replicate", "deepinfra")  # speech came to these after the 0.x line
CASES = [
    (version, provider, key)
    for version in VERSIONS
    for provider in POSTS
    for key in ("hf_xxx", "key-of-the-provider")
    if version == "newest" or provider not in SINCE_1
]


@pytest.mark.parametrize(("version", "provider", "key"), CASES)
@pytest.mark.parametrize("snippet", [SNIPPET, ASYNC_SNIPPET], ids=["sync", "async"])
async def test_the_documented_snippet_is_answered_by_the_gateway(
    world: World, snippet: str, version: str, provider: str, key: str
) -> None:
    """Look-up and call arrive here, the caller's key with the call alone; any other host is left in peace."""
    done = await world.run_app(snippet.format(provider=provider, key=key), pythonpath=VERSIONS[version])

    scheme = "Key" if provider == "fal-ai" and not key.startswith("hf_") else "Bearer"
    look_up = f"/api/models/{MODEL}" if provider == "hf-inference" else MAPPING
    assert (done.code, done.out.strip()) == (0, HEARD), done.err
    assert [(seen.method, seen.path, seen.authorization) for seen in world.gateway] == [
        ("GET", look_up, None),
        ("POST", POSTS[provider], f"{scheme} {key}"),
    ]
    assert world.elsewhere == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("key", "host"), [("hf_xxx", "router.huggingface.co"), ("key-of-the-provider", "fal.run")], ids=["hub", "direct"]
)
async def test_without_exec_it_would_go_elsewhere(world: World, version: str, key: str, host: str) -> None:
    """So the tests above and below see a call that goes past the gateway."""
    source = SNIPPET.format(provider="fal-ai", key=key)

    await world.run_plain(sys.executable, "-c", source, pythonpath=VERSIONS[version])

    assert world.elsewhere[0].startswith(f"CONNECT {host}:443 ")
    assert (world.gateway, world.hub[-1].path) == ([], MAPPING)


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_choice_of_provider_and_of_model_is_the_gateways(world: World, version: str) -> None:
    """Without a provider the mapping's first one serves; without a model the task's first one does."""
    source = """
from huggingface_hub import InferenceClient
client = InferenceClient(api_key="hf_xxx")
print(client.automatic_speech_recognition("sample1.flac", model="openai/whisper-large-v3").text)
print(client.automatic_speech_recognition("sample1.flac").text)
"""
    done = await world.run_app(source, pythonpath=VERSIONS[version], HF_TOKEN="hf_saved")

    assert done.out.splitlines() == [HEARD, HEARD], done.err
    assert [(seen.path, seen.authorization) for seen in world.gateway] == [
        (MAPPING, None),  # a saved token is for the Hub
        (POSTS["fal-ai"], "Bearer hf_xxx"),
        ("/api/tasks", None),
        (f"/api/models/{MODEL}", None),
        (POSTS["hf-inference"], "Bearer hf_xxx"),
    ]
    assert world.elsewhere == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_hub_stays_the_hub(world: World, version: str) -> None:
    """A download and the program's own questions about a model go where HF_ENDPOINT says, in between calls too."""
    source = (
        SNIPPET.format(provider="fal-ai", key="hf_xxx")
        + """
from huggingface_hub import HfApi, hf_hub_download
print(open(hf_hub_download("org/repo", "notes.txt")).read())
print(HfApi().model_info("openai/whisper-large-v3").pipeline_tag)
"""
    )
    done = await world.run_app(source, pythonpath=VERSIONS[version])

    assert done.out.splitlines() == [HEARD, HUB_FILE.decode(), "from-the-hub"], done.err
    assert [seen.path for seen in world.gateway] == [MAPPING, POSTS["fal-ai"]]
    asked = [seen.path for seen in world.hub if seen.path != "/api/agent-harnesses"]
    assert set(asked) == {"/org/repo/resolve/main/notes.txt", f"/api/models/{MODEL}"}
    assert world.elsewhere == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_address_the_program_names_is_its_own(world: World, version: str) -> None:
    """`base_url` and a model that is a URL are called as they are, here on the server that stands for the Hub."""
    source = """
import sys
from huggingface_hub import InferenceClient
for client in (InferenceClient(base_url=sys.argv[1]), InferenceClient(model=sys.argv[1])):
    try:
        client.automatic_speech_recognition("sample1.flac")
    except Exception as error:
        print(error.response.status_code)
"""
    (world.folder / "app.py").write_text(source)
    done = await world.run(sys.executable, "app.py", f"{world.hub_url}/mine", pythonpath=VERSIONS[version])

    assert done.out.split() == ["404", "404"], done.err
    assert [(seen.method, seen.path) for seen in world.hub if seen.method == "POST"] == [("POST", "/mine")] * 2
    assert world.gateway == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_the_gateway_does_not_serve_ends_there(world: World, version: str) -> None:
    """Other tasks, providers and keys get the gateway's 404, and the key goes no further."""
    source = """
from huggingface_hub import InferenceClient

def chat(**options):
    InferenceClient(**options).chat_completion([{"role": "user", "content": "hi"}], model="org/chat")

def paint(**options):
    InferenceClient(**options).text_to_image("a tree", model="org/paint")

for ask, options in (
    (chat, {"provider": "hf-inference", "api_key": "hf_xxx"}),
    (chat, {"provider": "groq", "api_key": "gsk_xxx"}),
    (chat, {"provider": "together", "api_key": "other"}),
    (paint, {"provider": "fal-ai", "api_key": "other"}),
    (paint, {"provider": "replicate", "api_key": "other"}),
):
    try:
        ask(**options)
    except Exception as error:
        print(error.response.status_code)
"""
    done = await world.run_app(source, pythonpath=VERSIONS[version])

    assert done.out.split() == ["404"] * 5, done.err
    posts = [(seen.path, seen.authorization) for seen in world.gateway if seen.method == "POST"]
    assert posts == [
        ("/hf-inference/models/org/chat/v1/chat/completions", "Bearer hf_xxx"),
        ("/groq/openai/v1/chat/completions", "Bearer gsk_xxx"),
        ("/together/v1/chat/completions", "Bearer other"),
        ("/fal-ai/org/paint", "Key other"),
        ("/replicate/v1/models/org/paint/predictions", "Bearer other"),
    ]
    assert world.elsewhere == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_no_helper_of_the_library_builds_another_address(world: World, version: str) -> None:
    """Every provider and task the library knows, with a Hub token and with the provider's own key."""
    source = """
import json
from huggingface_hub.inference import _providers
helpers = [helper for tasks in _providers.PROVIDERS.values() for helper in tasks.values()]
urls = []
for helper in helpers + [getattr(_providers, "CONVERSATIONAL_AUTO_ROUTER", helpers[0])]:
    for key in ("hf_xxx", "other"):
        try:
            urls.append(helper._prepare_url(key, "org/model"))
        except ValueError:  # the automatic router wants a Hub token
            assert key == "other" and helper.provider == "auto"
print(json.dumps(urls))
"""
    done = await world.run_app(source, pythonpath=VERSIONS[version])

    urls = json.loads(done.out)
    assert len(urls) > 100
    assert [url for url in urls if not url.startswith(world.gateway_url + "/")] == []


async def test_children_inherit_the_gateway(world: World) -> None:
    """Through the environment: a spawned worker, and a Python started with the parent's path as its PYTHONPATH."""
    source = """
import multiprocessing, os, subprocess, sys

def ask(_):
    from huggingface_hub import InferenceClient
    client = InferenceClient(provider="deepinfra", api_key="other")
    return client.automatic_speech_recognition("sample1.flac", model="openai/whisper-large-v3").text

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(ask, [0])[0], flush=True)
    subprocess.run([sys.executable, "-c", "import app; print(app.ask(0))"], check=True)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", "import app; print(app.ask(0))"], check=True, env=environ)
"""
    done = await world.run_app(source)

    assert done.out.splitlines() == [HEARD] * 3, done.err
    assert [seen.path for seen in world.gateway if seen.method == "POST"] == [POSTS["deepinfra"]] * 3
    assert world.elsewhere == []


async def test_modules_pytest_and_scripts_are_programs_too(world: World) -> None:
    """`python -m`, pytest, a console script: whatever starts a Python that reads its environment."""
    ask = SNIPPET.format(provider="fal-ai", key="hf_xxx")
    (world.folder / "asking.py").write_text(ask)
    (world.folder / "test_asking.py").write_text("def test_it():\n    import asking\n    assert asking.output.text\n")
    script = world.folder / "ask-it"
    script.write_text(f"#!{sys.executable}\n{ask}")
    script.chmod(0o755)

    module = await world.run(sys.executable, "-m", "asking")
    tested = await world.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_asking.py")
    scripted = await world.run(str(script))

    assert [module.out.strip(), scripted.out.strip()] == [HEARD, HEARD]
    assert tested.code == 0, tested.out
    assert [seen.path for seen in world.gateway if seen.method == "POST"] == [POSTS["fal-ai"]] * 3


async def test_a_virtual_environment_keeps_its_own_sitecustomize(world: World) -> None:
    """The one that ours shadows runs, under its name, and may import huggingface_hub itself."""
    python, packages = make_environment(world.folder)
    packages.joinpath("sitecustomize.py").write_text("import huggingface_hub.constants\nmark = 'theirs'\n")
    source = "import sitecustomize; print(sitecustomize.mark)\n" + SNIPPET.format(provider="fal-ai", key="other")
    (world.folder / "app.py").write_text(source)

    done = await world.run(python, "app.py", pythonpath=VERSIONS["0.36"])

    assert done.out.splitlines() == ["theirs", HEARD], done.err
    assert world.gateway[-1].authorization == "Key other"


async def test_a_broken_sitecustomize_breaks_as_it_would_alone(world: World) -> None:
    """Python reports it and goes on, and the gateway is still the gateway."""
    python, packages = make_environment(world.folder)
    packages.joinpath("sitecustomize.py").write_text("import no_such_module\n")
    (world.folder / "app.py").write_text(SNIPPET.format(provider="fal-ai", key="other"))

    done = await world.run(python, "app.py", pythonpath=VERSIONS["0.36"])

    assert "no_such_module" in done.err
    assert (done.code, done.out.strip(), world.gateway[-1].path) == (0, HEARD, POSTS["fal-ai"])


async def test_a_library_loaded_before_python_has_started_is_refused(world: World) -> None:
    """A .pth file runs before sitecustomize: too late to move what has been copied."""
    python, packages = make_environment(world.folder)
    packages.joinpath("early.pth").write_text("import huggingface_hub\n")

    done = await world.run(python, "-c", "print('ran')", pythonpath=VERSIONS["0.36"])

    assert (done.code, done.out) == (2, "")
    assert ".pth" in done.err


@pytest.mark.parametrize("metadata", ["0.28.1", "0.9.0.rc1"])
async def test_a_release_without_helpers_is_refused_before_it_is_imported(world: World, metadata: str) -> None:
    """Its version is read from its metadata; none of its code runs."""
    packages = fake_release(world.folder, metadata, "print('imported')")

    done = await world.run_app("print('start')\nimport huggingface_hub", pythonpath=(packages,))

    assert (done.code, done.out.split()) == (2, ["start"])
    assert done.err.splitlines() == [
        f"asr-gateway exec: huggingface_hub {metadata} is too old to be redirected; 0.29 or later is needed"
    ]


@pytest.mark.parametrize(
    ("module", "content"),
    [
        ("constants", "INFERENCE_ENDPOINT = ''"),
        ("hf_api", ""),
        ("inference/_client", "class InferenceClient: pass"),
        ("inference/_providers/_common", "class TaskProviderHelper: pass"),
    ],
)
async def test_a_release_laid_out_in_another_way_is_refused(world: World, module: str, content: str) -> None:
    """Better no call than one past the gateway."""
    packages = fake_release(world.folder, "9.0.0", "", **{module: content})

    name = f"huggingface_hub.{module.replace('/', '.')}"
    done = await world.run_app(f"try:\n    import {name}\nexcept Exception:\n    pass", pythonpath=(packages,))

    assert done.code == 2
    assert "this release of huggingface_hub cannot be redirected" in done.err


async def test_a_program_that_never_imports_it_pays_for_one_small_module(world: World) -> None:
    """Nothing of huggingface_hub is loaded, nor anything of the gateway."""
    source = "import sys; print(*sorted(sys.modules))"

    plain = await world.run_plain(sys.executable, "-c", source)
    below = await world.run(sys.executable, "-c", source)

    cost = set(below.out.split()) - set(plain.out.split())
    assert cost <= {"sitecustomize", "__future__", "contextvars", "_contextvars"}


async def test_introspection_sees_the_real_loader(world: World) -> None:
    """The patched modules keep their sources and their place; looking for the package loads nothing."""
    source = """
import importlib.util, sys
print(importlib.util.find_spec("huggingface_hub").loader.get_filename("huggingface_hub"))
print("huggingface_hub" in sys.modules)
import inspect
from huggingface_hub import constants
print(type(constants.__loader__).__name__, "ENDPOINT" in inspect.getsource(constants))
"""
    done = await world.run_app(source, pythonpath=VERSIONS["0.36"])

    init = str(Path(VERSIONS["0.36"][0]) / "huggingface_hub" / "__init__.py")
    assert done.out.splitlines() == [init, "False", "SourceFileLoader True"], done.err


async def test_a_child_without_the_address_is_left_alone(world: World) -> None:
    """The folder alone on the path changes nothing."""
    source = "from huggingface_hub import constants; print(constants.INFERENCE_PROXY_TEMPLATE)"

    done = await world.run_plain(sys.executable, "-c", source, pythonpath=(str(SITE),))

    assert URL_VARIABLE not in world.environ()
    assert (done.out.strip(), done.err) == ("https://router.huggingface.co/{provider}", "")


def make_environment(folder: Path) -> tuple[str, Path]:
    """Return the Python of a new virtual environment, and where its packages go."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return os.fspath(python), folder / "env" / "lib" / version / "site-packages"


def fake_release(folder: Path, version: str, source: str, **modules: str) -> str:
    """Return a folder holding an invented release: a package, modules in it, and its metadata."""
    package, metadata = folder / "fake" / "huggingface_hub", folder / "fake" / f"huggingface_hub-{version}.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    (package / "__init__.py").write_text(source)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: huggingface_hub\nVersion: {version}\n")
    for name, content in modules.items():
        file = package / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return str(folder / "fake")
