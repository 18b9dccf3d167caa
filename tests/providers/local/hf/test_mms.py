"""A model with an adapter for each language: each is heard as the library hears it that knows no other."""

from __future__ import annotations

import asyncio
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from msgspec.structs import replace
from transformers import AutoFeatureExtractor, AutoTokenizer, Wav2Vec2ForCTC

from providers.audio.samples import MODEL_RATE_HZ
from providers.errors import JobUnsupported
from providers.local.engine import Abandoned, Piece, hears_languages
from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.ctc import Ctc
from providers.local.hf.load import load
from providers.local.hf.mms import Mms
from providers.local.listener import Listener
from providers.local.models import ModelMissing
from providers.types import Timestamps, TranscriptionJob
from tests.conftest import sample_audio
from tests.providers.local.hf import tiny_models

ALPHABETS = {"eng": "ETAOINSHR", "fra": "ÉÀÇESAITNRU", "azj-script_latin": "ƏĞİÖŞÜ", "kmr-script_latin": "ÇÊÎŞÛABD"}
CODES = {"en": "eng", "fr": "fra", "az": "azj-script_latin", "kmr": "kmr-script_latin"}
JOB = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), timestamps=Timestamps.WORD)
SPECIAL = [1, 2, 3]  # <s>, </s>, <unk>


@cache
def folder() -> Path:
    return tiny_models.adapted(Path(mkdtemp()), ALPHABETS)


def loaded(where: Path, language: str | None = None) -> Mms:
    model = load(str(where), LoadOptions(device="cpu", language=language))
    assert isinstance(model, Mms)
    return model


@cache
def mms() -> Mms:
    return loaded(folder())


def piece(language: str | None) -> Piece:
    job = replace(JOB, language=language)
    mms().check(job)
    (only,) = mms().pieces(job)
    return only


def of_the_library(own: str) -> str:
    """Return what a model says that was loaded for this language alone."""
    model = Wav2Vec2ForCTC.from_pretrained(folder(), target_lang=own, ignore_mismatched_sizes=True)
    tokenizer = AutoTokenizer.from_pretrained(folder(), target_lang=own)
    features = AutoFeatureExtractor.from_pretrained(folder())
    inputs = features([piece("en").samples], sampling_rate=MODEL_RATE_HZ, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    logits[..., SPECIAL] = -torch.inf
    return str(tokenizer.decode(logits[0].argmax(-1)))


@pytest.mark.parametrize(("language", "own"), [*CODES.items(), ("azj-script_latin", "azj-script_latin")])
def test_each_language_is_heard_with_its_own_adapter_and_letters(language: str, own: str) -> None:
    (said,) = mms().hear([piece(language)], lambda: False)

    assert said.text == of_the_library(own)
    assert set(said.text) <= {" ", *ALPHABETS[own]}
    assert len(set(said.text)) > 1
    assert CODES[said.language or ""] == own
    assert [word.text for word in said.words] == said.text.split()


async def test_callers_of_several_languages_at_once_are_heard_each_in_its_own() -> None:
    listener = Listener(loaded(folder()), max_batch=4, max_wait_s=0.01)
    jobs = [replace(JOB, language=language) for language in [*CODES, *CODES, *reversed(CODES)]]
    try:
        said = await asyncio.gather(*(listener.hear(job) for job in jobs))
    finally:
        await asyncio.to_thread(listener.close)

    alone = {code: mms().hear([piece(code)], lambda: False)[0].text for code in CODES}
    assert [each.text for each in said] == [alone[job.language or ""] for job in jobs]
    assert len(set(alone.values())) == len(CODES)


def test_only_pieces_of_one_language_are_heard_together() -> None:
    assert mms().key(piece("fr")) == mms().key(piece("fr"))
    assert mms().key(piece("fr")) != mms().key(piece("en"))

    together = mms().hear([piece("fr"), piece("fr")], lambda: False)

    assert together == mms().hear([piece("fr")], lambda: False) * 2


def test_a_language_has_to_be_given() -> None:
    with pytest.raises(JobUnsupported, match="cannot tell which language is spoken"):
        mms().check(JOB)
    with pytest.raises(JobUnsupported, match="does not hear 'de'"):
        mms().check(replace(JOB, language="de"))


def test_the_operator_says_which_language_jobs_are_in_that_name_none() -> None:
    model = loaded(folder(), "fr")

    model.check(JOB)

    (said,) = model.hear([replace(piece("fr"), language=None)], lambda: False)
    assert (said.language, said.text) == ("fr", of_the_library("fra"))
    with pytest.raises(ModelMissing, match="does not know 'de'"):
        loaded(folder(), "de")


def test_of_one_language_nobody_has_to_name_it(tmp_path: Path) -> None:
    only = loaded(tiny_models.adapted(tmp_path, {"tur": "ĞİÖŞÜ"}))

    only.check(JOB)

    assert only.hear([replace(piece("en"), language=None)], lambda: False)[0].language == "tr"


def test_a_language_without_an_adapter_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    shutil.copytree(folder(), tmp_path / "copy")
    (tmp_path / "copy" / "adapter.fra.safetensors").unlink()
    model = loaded(tmp_path / "copy")

    with pytest.raises(JobUnsupported, match="no adapter for 'fra', though a vocabulary"):
        model.check(replace(JOB, language="fr"))

    model.check(replace(JOB, language="en"))
    assert model.hear([piece("en")], lambda: False)[0].text == of_the_library("eng")


def test_tells_what_it_can_do() -> None:
    can = mms().capabilities

    assert can.languages == frozenset({*CODES, *ALPHABETS})
    assert can.language_hint
    assert hears_languages(mms())
    assert not can.generation
    assert can.timestamps == {Timestamps.SEGMENT, Timestamps.WORD}
    assert mms().rows(piece("en")) == 1


def test_a_wav2vec2_of_one_vocabulary_is_none(tmp_path: Path) -> None:
    assert isinstance(load(str(tiny_models.on_frames(tmp_path, "wav2vec2", "layer")), LoadOptions(device="cpu")), Ctc)


def test_a_batch_that_nobody_waits_for_is_not_heard() -> None:
    with pytest.raises(Abandoned):
        mms().hear([piece("en")], lambda: True)
