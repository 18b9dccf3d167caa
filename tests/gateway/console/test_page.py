"""The page for people, as Chromium shows it: every view by mouse, by keyboard and to a screen reader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.conftest import AUDIO
from tests.gateway.console.browser import browser
from tests.gateway.console.conftest import ADMIN, CALLER, FAILS, HANGS
from tests.serving import demo_settings, running_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver.remote.webelement import WebElement

    from tests.gateway.console.browser import Browser

pytestmark = pytest.mark.timeout(240)
JFK = AUDIO / "jfk.flac"
SAID = "ask not what your country can do for you"


@pytest.fixture(scope="module")
def open_url() -> Iterator[str]:
    """Return the address of the demonstration, which wants no key."""
    with running_in_a_thread(demo_settings()) as url:
        yield url


def enter(tab: Browser, url: str, key: str | None = CALLER, view: str = "transcribe") -> None:
    """Open a view in a tab that knows a key, or none."""
    tab.go(f"{url}/console/icon.svg")
    tab.run("sessionStorage.clear(); if (arguments[0]) sessionStorage.setItem('asr-gateway-key', arguments[0])", key)
    tab.go(f"{url}/#{view}")


def type_key(tab: Browser, key: str) -> None:
    tab.click("#key-button")
    field = tab.one("#key-input")
    field.clear()
    field.send_keys(key, Keys.ENTER)
    tab.until(lambda: not tab.run("return document.getElementById('key-dialog').open"))


def choose_model(tab: Browser, model: str) -> None:
    tab.until(lambda: tab.run("return [...document.querySelectorAll('#model option')].some((o) => o.value)"))
    tab.choose("#model", model)


def send(tab: Browser, file: Path | None = None, model: str = "openai/whisper-tiny.en") -> None:
    """Choose a file, or the sample, and ask for its text."""
    choose_model(tab, model)
    if file is None:
        tab.click("#sample")
        tab.wait_for("#chosen", "sample.mp3")
    else:
        tab.driver.find_element("id", "file").send_keys(str(file))
    tab.click("#go")


def facts(tab: Browser) -> dict[str, str]:
    """Return what the page says of how the answer was come by."""
    pairs = tab.run(
        "return [...document.querySelectorAll('.facts div')].map((d) => [...d.children].map((c) => c.textContent))"
    )
    return dict(pairs)


def spoken(tab: Browser) -> str:
    """Return the words of the transcript's lines."""
    return str(tab.run("return [...document.querySelectorAll('.cues p')].map((p) => p.textContent).join(' ')"))


def word(tab: Browser, text: str) -> WebElement:
    """Return the first place where a word stands in the transcript."""
    return next(each for each in tab.driver.find_elements("css selector", ".word") if each.text == text)


def now(tab: Browser) -> float:
    return float(tab.run("return document.getElementById('player').currentTime"))


# --- from audio to text


def test_the_sample_is_transcribed_and_told_how(tab: Browser, url: str) -> None:
    enter(tab, url)
    tab.run("document.getElementById('anew').click()")
    send(tab)
    tab.wait_for("#progress", "22 words")

    assert SAID in spoken(tab)
    told = facts(tab)
    assert told["Deployment"] == "local/tiny.en"
    assert told["Model asked for"] == "openai/whisper-tiny.en"
    assert (told["Attempts"], told["Audio"], told["Cost"]) == ("1", "11.0 s", "$0")
    assert told["Cache"] == "not asked"
    assert len(told["Request"]) == 32
    tab.run("document.getElementById('anew').click()")
    tab.click("#go")
    tab.wait_for(".facts", "hit: kept from before")


def test_a_click_on_a_word_plays_it_and_marks_it(tab: Browser, url: str) -> None:
    enter(tab, url)
    send(tab)
    tab.wait_for("#progress", "words")
    word(tab, "country").click()
    pause(tab)
    later = now(tab)
    word(tab, "fellow").click()
    sooner = now(tab)
    assert tab.run("return document.querySelectorAll('.word.on, li[aria-current]').length") == 2
    tab.until(lambda: now(tab) > sooner)  # it plays
    pause(tab)

    assert 0 < sooner < later < 11


def pause(tab: Browser) -> None:
    tab.run("document.getElementById('player').pause()")


def test_segments_or_no_times_are_shown_as_such(tab: Browser, url: str) -> None:
    enter(tab, url)
    tab.run("document.querySelector('input[value=segment]').click()")
    send(tab, JFK)
    tab.wait_for("#progress", "words")
    assert not tab.driver.find_elements("css selector", ".word")
    assert tab.driver.find_elements("css selector", ".cues .time")

    tab.run("document.querySelector('input[value=none]').click()")
    tab.click("#go")
    assert SAID in tab.text(".plain-text")
    assert tab.text("#downloads").split() == ["Copy", "text", "TXT", "JSON"]  # there are no times to make subtitles of


def test_everything_by_keyboard_alone(tab: Browser, url: str) -> None:
    """From the top of the page to a word in the audio; what has the focus is to be seen."""
    enter(tab, url)
    choose_model(tab, "openai/whisper-tiny.en")
    reached = [*walk(tab, "sample"), *press(tab, Keys.ENTER)]
    tab.wait_for("#chosen", "sample.mp3")
    reached += [*walk(tab, "go"), *press(tab, Keys.ENTER)]
    tab.wait_for("#progress", "22 words")
    reached += walk(tab, "time")
    press(tab, Keys.ARROW_DOWN)
    assert tab.run("return document.activeElement.closest('li').dataset.at") == "1"
    press(tab, Keys.HOME)
    for _ in range(3):
        press(tab, Keys.ARROW_RIGHT)
    stepped = now(tab)
    press(tab, Keys.ENTER)
    tab.until(lambda: not tab.run("return document.getElementById('player').paused"))
    pause(tab)

    assert stepped > 0
    assert tab.run("return document.getElementById('spoken').textContent")  # the word, for who does not see it
    assert {"skip", "file", "record", "player", "model", "language", "tab-curl"} <= {*reached, *walk(tab, "tab-curl")}


def walk(tab: Browser, to: str) -> list[str]:
    """Press Tab until something has the focus; return all that had it. Each shows that it has."""
    passed: list[str] = []
    while not passed or passed[-1] != to:
        press(tab, Keys.TAB)
        name, ring = tab.run(
            "const at = document.activeElement;"
            "const seen = at.id === 'file' ? at.parentElement : at.type === 'radio' ? at.nextElementSibling : at;"
            "return [at.id || at.className, getComputedStyle(seen).outlineStyle]"
        )
        passed.append(name)
        assert ring != "none" or name in {"player", "main"}, name
        assert len(passed) < 60, passed
    return passed


def press(tab: Browser, key: str) -> list[str]:
    ActionChains(tab.driver).send_keys(key).perform()
    return []


def test_cancel_ends_the_request(tab: Browser, url: str) -> None:
    enter(tab, url)
    send(tab, JFK, HANGS)
    tab.click("#cancel")
    tab.wait_for("#progress", "Cancelled.")

    assert tab.one("#go").text == "Transcribe"
    assert tab.run("return document.activeElement.id") == "go"  # where the focus was is no more


def test_a_failure_is_told_in_the_gateways_own_words(tab: Browser, url: str) -> None:
    enter(tab, url)
    send(tab, JFK, FAILS)
    told = tab.wait_for("#refusal", "every deployment failed")

    assert "broken/whisper" in told
    assert "status 502 · all-failed · request " in told


def test_what_is_no_audio_is_told_as_such(tab: Browser, url: str) -> None:
    enter(tab, url)
    send(tab, Path(__file__))
    assert "status 400" in tab.wait_for("#refusal", "in no audio container")


def test_nothing_chosen_is_asked_for(tab: Browser, url: str) -> None:
    enter(tab, url)
    tab.click("#go")
    tab.wait_for("#refusal", "Choose a recording first")
    assert tab.run("return document.activeElement.id") == "file"


def test_a_model_of_another_name_is_asked_for_by_it(tab: Browser, url: str) -> None:
    enter(tab, url)
    send(tab, model="*")
    tab.wait_for("#refusal", "Say which model.")
    tab.one("#other").send_keys("openai/whisper-tiny", Keys.ENTER)
    assert "near it are: openai/whisper-tiny.en" in tab.wait_for("#refusal", "not known here")
    assert "models/openai/whisper-tiny " in tab.text("#code")


# --- keys


def test_without_a_key_the_page_says_that_one_is_wanted(tab: Browser, url: str) -> None:
    enter(tab, url, None)
    assert "a key is needed" in tab.wait_for("#refusal", "The gateway wants a key.")
    tab.click("#refusal button")
    tab.one("#key-input").send_keys("hf_gw_wrong", Keys.ENTER)
    tab.wait_for("#refusal", "this one does not do")
    type_key(tab, "ключ")
    tab.wait_for("#refusal", "characters that no key has")
    type_key(tab, CALLER)
    choose_model(tab, "openai/whisper-tiny.en")
    assert not tab.driver.find_element("id", "refusal").text


def test_the_key_stays_in_the_tab(tab: Browser, url: str) -> None:
    """In no address, no snippet, no other storage; forgotten when told to."""
    enter(tab, url, None)
    type_key(tab, CALLER)
    choose_model(tab, "openai/whisper-tiny.en")
    assert CALLER not in tab.run(
        "return document.documentElement.outerHTML + location.href + JSON.stringify(localStorage) + document.cookie"
    )
    assert not any(CALLER in each for each in tab.requests())
    tab.click("#key-button")
    tab.click("#key-forget")
    assert tab.run("return sessionStorage.length") == 0


@pytest.mark.parametrize("view", ["status", "usage"])
def test_an_admins_views_want_an_admins_key(tab: Browser, url: str, view: str) -> None:
    enter(tab, url, CALLER, view)
    told = tab.wait_for(f"#{view}-notice", "The gateway wants an admin's key, and this one does not do.")
    assert "this route wants an admin key" in told
    assert not tab.driver.find_element("id", f"{view}-body").text
    type_key(tab, ADMIN)
    tab.one(f"#{view}-body > *")
    assert not tab.driver.find_element("id", f"{view}-notice").text


def test_under_a_public_name_the_page_works_where_keys_are_wanted(tab: Browser, url: str) -> None:
    """The browser sends an Origin, with a name that is in no list; over plain http it says no more of itself."""
    public = url.replace("127.0.0.1", "asr.example.com")
    enter(tab, public)
    send(tab)
    tab.wait_for("#progress", "22 words")
    assert tab.one("#record").get_attribute("disabled")  # no browser gives a microphone to plain http


def test_a_name_that_leads_here_gains_nothing_where_no_key_is_wanted(tab: Browser, open_url: str) -> None:
    """Anybody could make a name of theirs lead to this machine."""
    tab.go(open_url.replace("127.0.0.1", "asr.example.com"))
    send(tab)
    assert "see server.cors_origins" in tab.wait_for("#refusal", "This address is not allowed.")


# --- what operators see


def test_status_shows_every_deployment_and_what_came_of_its_calls(tab: Browser, url: str) -> None:
    enter(tab, url)
    send(tab, JFK, FAILS)
    tab.wait_for("#refusal", "every deployment failed")
    type_key(tab, ADMIN)
    tab.click("nav a[href='#status']")
    tab.one("#status-body table")
    rows = {name: cells for name, *cells in cells_of(tab, "#status-body tbody tr")}
    breaker, calls, errors, median, *_ = rows["broken/whisper"]

    assert {"local/tiny.en", "slow/whisper", "broken/whisper"} <= set(rows)
    assert breaker.startswith(("closed", "open", "half-open"))
    assert int(calls) >= 1
    assert errors == f"{calls} (100 %)"
    assert median == "\N{EN DASH}"
    assert "Kept answers" in tab.text(".tiles")


def cells_of(tab: Browser, css: str) -> list[list[str]]:
    """Return the texts of each row's cells."""
    rows: list[list[str]] = tab.run(
        "return [...document.querySelectorAll(arguments[0])].map((r) => [...r.children].map((c) => c.textContent))", css
    )
    return rows


def test_status_is_asked_for_again_only_while_it_is_shown(tab: Browser, url: str) -> None:
    enter(tab, url, ADMIN, "status")
    tab.one("#status-body table")
    tab.requests()
    tab.until(lambda: any(each.endswith("/status") for each in tab.requests()))
    tab.click("nav a[href='#transcribe']")
    tab.requests()
    assert tab.run_until_done("setTimeout(done, 4000, true)")
    assert not any(each.endswith("/status") for each in tab.requests())


def test_usage_is_summed_and_drawn(tab: Browser, url: str) -> None:
    enter(tab, url)
    send(tab)
    tab.wait_for("#progress", "22 words")
    type_key(tab, ADMIN)
    tab.click("nav a[href='#usage']")
    tab.until(lambda: "newsroom" in (_with_usage(tab) or ""))
    tab.choose("#usage-measure", "audio_s")
    tab.wait_for("#usage-body section h2", "Audio")
    widths = tab.run(
        "return [...document.querySelectorAll('.bar-part')].map((bar) => Number(bar.getAttribute('width')))"
    )
    assert max(widths) == 100
    assert all(one >= other for one, other in pairwise(widths))
    tab.choose("#usage-by", "outcome")
    tab.until(lambda: tab.run("return document.querySelector('thead th')?.textContent === 'Outcome'"))
    assert "ok" in tab.text("#usage-body table")


def _with_usage(tab: Browser) -> str | None:
    """Ask again: rows are written beside the requests."""
    tab.choose("#usage-by", "key")
    told: str | None = tab.run("return document.querySelector('#usage-body table')?.textContent")
    return told


# --- to take along


def test_subtitles_and_texts_are_files(tab: Browser, url: str) -> None:
    enter(tab, url)
    send(tab)
    tab.wait_for("#progress", "22 words")
    files = {}
    for ending in ("txt", "srt", "vtt", "json"):
        tab.click(f"[aria-label='Download as {ending}']")
        path = tab.downloads / f"sample.{ending}"
        tab.until(path.exists)
        files[ending] = path.read_text()
        path.unlink()

    assert SAID in files["txt"]
    assert files["srt"].startswith("1\n00:00:00,")
    assert files["vtt"].startswith("WEBVTT\n\n00:00:00.")
    answer = json.loads(files["json"])
    assert answer["text"] + "\n" == files["txt"]
    assert len(answer["chunks"]) == 22


COMMANDS = {
    "curl": ["bash", "-c"],
    "huggingface": [sys.executable, "-c"],
    "openai": [sys.executable, "-c"],
    "javascript": ["node", "--input-type=module", "-e"],
}


@pytest.fixture(scope="module")
def snippets(tab: Browser, url: str) -> dict[str, dict[str, str]]:
    """Return every snippet for two choices of options, as the page shows it."""
    enter(tab, url)
    tab.driver.find_element("id", "file").send_keys(str(JFK))
    shown: dict[str, dict[str, str]] = {}
    for timestamps, language, prompt in (("word", "en", ""), ("segment", "", 'It\'s "J;F,K" & <Rice> \\ $HOME')):
        choose_model(tab, "openai/whisper-tiny.en")
        tab.run("document.querySelector(`input[value=${arguments[0]}]`).click()", timestamps)
        tab.choose("#language", language)
        tab.run("document.querySelector('details').open = true")
        tab.one("#prompt").clear()
        tab.one("#prompt").send_keys(prompt)
        shown[timestamps] = {}
        for name in COMMANDS:
            tab.click(f"#tab-{name}")
            shown[timestamps][name] = str(tab.run("return document.getElementById('code').textContent"))
    return shown


@pytest.mark.parametrize("timestamps", ["word", "segment"])
@pytest.mark.parametrize("name", COMMANDS)
def test_what_the_page_says_to_type_works(snippets: dict[str, dict[str, str]], name: str, timestamps: str) -> None:
    """Run where the recording is, with the key in the variable; a prompt's quotes break nothing."""
    code = snippets[timestamps][name]
    assert CALLER not in code
    done = subprocess.run(
        [*COMMANDS[name], code],
        cwd=AUDIO,
        env={**os.environ, "ASR_GATEWAY_KEY": CALLER, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "country" in done.stdout, done.stdout
    if timestamps == "segment" and name != "openai":
        assert SAID in done.stdout


# --- for everybody, and nothing from elsewhere


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_wrong(tab: Browser, url: str, scheme: str, width: int) -> None:
    """Names, roles, contrast; and the page is never wider than the screen."""
    tab.scheme(scheme, width)
    enter(tab, url, None)
    tab.one("#refusal button")
    found = {"refused": tab.flaws()}
    type_key(tab, ADMIN)
    tab.run("document.querySelector('details').open = true")
    send(tab)
    tab.wait_for("#progress", "22 words")
    tab.run("document.getElementById('player').currentTime = 3.2")
    tab.one(".word.on")
    found["done"] = tab.flaws()
    widths = [tab.run("return document.documentElement.scrollWidth")]
    for view in ("status", "usage"):
        tab.click(f"nav a[href='#{view}']")
        tab.one(f"#{view}-body table")
        found[view] = tab.flaws()
        widths.append(tab.run("return document.documentElement.scrollWidth"))
    tab.click("#key-button")
    found["key"] = tab.flaws()
    tab.click("#key-cancel")
    tab.scheme("light")

    assert {name: flaws for name, flaws in found.items() if flaws} == {}
    assert max(widths) <= width


def test_nothing_is_asked_of_anybody_else_and_nothing_breaks_the_policy(tab: Browser, url: str) -> None:
    """One walk through every view with an admin's key: no line in the console, no request to another host."""
    enter(tab, url, ADMIN)
    send(tab)
    tab.wait_for("#progress", "22 words")
    word(tab, "fellow").click()
    pause(tab)
    for view in ("status", "usage"):
        tab.click(f"nav a[href='#{view}']")
        tab.one(f"#{view}-body table")
    asked = tab.requests()

    assert tab.complaints() == []
    assert len(asked) > 15
    assert all(each.startswith((f"{url}/", f"blob:{url}/", "data:image/svg+xml")) for each in asked), asked


def test_the_policy_holds(tab: Browser, url: str) -> None:
    """A script or a style that stands in the page is not run, nor is one of a stranger's."""
    tab.go(url)
    ran = tab.run_until_done(
        """
        window.ran = [];
        const script = document.createElement("script");
        script.textContent = "window.ran.push('script')";
        const style = document.createElement("p");
        style.setAttribute("style", "color: red");
        document.body.append(script, style);
        const image = new Image();
        image.onload = () => window.ran.push("image");
        image.src = "http://127.0.0.1:9/x.png";
        fetch("http://127.0.0.1:9/").then(() => window.ran.push("fetch")).catch(() => 0);
        setTimeout(() => done([window.ran, getComputedStyle(style).color]), 500);
        """
    )
    assert ran[0] == []
    assert ran[1] != "rgb(255, 0, 0)"
    assert len([each for each in tab.complaints() if "Content Security Policy" in each]) >= 4


# --- a microphone, and no keys


def test_a_recording_is_transcribed_on_a_gateway_without_keys(open_url: str, tmp_path: Path) -> None:
    """The microphone hears a file over and over."""
    speech = AUDIO / "arctic_a0024.wav"
    with browser(tmp_path, f"--use-file-for-fake-audio-capture={speech}") as tab:
        tab.go(open_url)
        choose_model(tab, "openai/whisper-tiny.en")
        tab.click("#record")
        tab.wait_for("#record", "Stop 0:05")
        tab.click("#record")
        tab.wait_for("#chosen", "recording.webm")
        tab.click("#go")
        tab.wait_for("#progress", "words")
        heard = spoken(tab).lower()
        length = tab.until(lambda: tab.run("return Number.isFinite(document.getElementById('player').duration)"))
        complaints = tab.complaints()

    assert "north" in heard or "reports" in heard
    assert length
    assert complaints == []
