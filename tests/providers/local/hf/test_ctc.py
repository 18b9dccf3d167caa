"""CTC models of random weights: what they are given, what they answer with, and who may share a batch."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from transformers import AutoTokenizer

from providers.audio.samples import MODEL_RATE_HZ
from providers.local.engine import Abandoned, Engine, OutOfMemory, Piece, heard, hears_languages
from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.ctc import Ctc, _of_pieces, _unheard
from providers.local.hf.load import KINDS as LOADED
from providers.local.hf.load import load
from providers.local.hf.spelling import spelt
from providers.local.models import ModelMissing
from providers.types import Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.providers.local.hf import tiny_models

SHORT = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), timestamps=Timestamps.WORD)
LONG = replace(SHORT, audio=sample_audio("jfk.flac"))
LONGEST = replace(SHORT, audio=sample_audio("two_cities.flac"))  # 44 s
KINDS = [("wav2vec2", "layer"), ("wav2vec2", "group"), ("hubert", "layer"), ("wavlm", "layer"), ("parakeet", "")]
OTHERS = [
    ("data2vec-audio", "layer"),
    ("sew", ""),
    ("sew-d", ""),
    ("unispeech", "layer"),
    ("unispeech-sat", "layer"),
    ("wav2vec2-bert", ""),
    ("wav2vec2-conformer", "layer"),
]
PADDED = [("wav2vec2", "layer"), ("hubert", "layer"), ("parakeet", "")]
each_kind = pytest.mark.parametrize(("kind", "norm"), KINDS)


@cache
def folder(kind: str, norm: str) -> Path:
    where = Path(mkdtemp()) / f"{kind}-{norm}"
    special = {
        "parakeet": tiny_models.parakeet,
        "sew": tiny_models.sew,
        "sew-d": tiny_models.sew_d,
        "wav2vec2-bert": tiny_models.on_features,
    }
    return special[kind](where) if kind in special else tiny_models.on_frames(where, kind, norm)


@cache
def engine(kind: str, norm: str) -> Engine:
    return load(str(folder(kind, norm)), LoadOptions(device="cpu"))


def hear(model: Engine, *pieces: Piece) -> list[Transcript]:
    return model.hear(pieces, lambda: False)


def pieces_of(model: Engine, job: TranscriptionJob) -> list[Piece]:
    return [each for each in model.pieces(job) if not each.silent]


@pytest.mark.parametrize(("kind", "norm"), [*KINDS, *OTHERS])
def test_words_come_in_order_inside_the_piece(kind: str, norm: str) -> None:
    model = engine(kind, norm)
    (piece,) = pieces_of(model, LONG)

    (said,) = hear(model, piece)

    assert said.duration_s == len(piece.samples) / MODEL_RATE_HZ
    assert said.words
    assert [word.text for word in said.words] == said.text.split()
    assert all(0 <= word.start_s < word.end_s <= said.duration_s for word in said.words)
    assert all(before.end_s <= after.start_s for before, after in pairwise(said.words))
    assert " ".join(each.text for each in said.segments) == said.text
    assert (said.segments[0].start_s, said.segments[-1].end_s) == (said.words[0].start_s, said.words[-1].end_s)
    assert said.words[-1].end_s > 0.9 * said.duration_s  # gibberish goes on to the end: the frames' rate is right


def test_every_type_that_is_loaded_is_tried() -> None:
    spelling = {name for name, each in LOADED.items() if each.model == "AutoModelForCTC"}

    assert spelling == {kind.replace("parakeet", "parakeet_ctc") for kind, _ in [*KINDS, *OTHERS]}


@pytest.mark.parametrize(("kind", "norm"), PADDED)
def test_a_padded_row_is_heard_as_it_is_alone(kind: str, norm: str) -> None:
    model = engine(kind, norm)
    (short,), (long,) = pieces_of(model, SHORT), pieces_of(model, LONG)
    assert model.key(short) == model.key(long)

    together = hear(model, short, long, short)

    assert together == hear(model, short) + hear(model, long) + hear(model, short)
    assert together[0].text != together[1].text


@pytest.mark.parametrize(("kind", "norm"), [("wav2vec2", "group"), ("wavlm", "layer"), ("wavlm", "group")])
def test_models_that_would_hear_the_padding_share_a_batch_at_one_length(kind: str, norm: str) -> None:
    model = engine(kind, norm)
    (short,), (long,) = pieces_of(model, SHORT), pieces_of(model, LONG)
    cut = replace(long, samples=long.samples[: len(short.samples)])

    assert model.key(short) != model.key(long)
    assert model.key(short) == model.key(cut)
    assert hear(model, short, cut) == hear(model, short) + hear(model, cut)


@each_kind
@pytest.mark.parametrize("samples", [1, 399, 800])
def test_a_click_is_heard_without_a_fault(kind: str, norm: str, samples: int) -> None:
    """The first layers look at 25 ms: less is filled up with silence."""
    model = engine(kind, norm)
    click = Piece(job=SHORT, samples=np.full(samples, 0.1, np.float32), start_s=0.0)

    (said,) = hear(model, click)

    assert said.duration_s == samples / MODEL_RATE_HZ
    assert all(word.end_s <= said.duration_s for word in said.words)


@pytest.mark.parametrize("timestamps", [Timestamps.NONE, Timestamps.SEGMENT, Timestamps.WORD])
def test_gives_the_times_that_are_asked_for(timestamps: Timestamps) -> None:
    model = engine("hubert", "layer")
    (piece,) = pieces_of(model, replace(SHORT, timestamps=timestamps))

    (said,) = hear(model, piece)

    assert bool(said.segments) is (timestamps is not Timestamps.NONE)
    assert bool(said.words) is (timestamps is Timestamps.WORD)


@each_kind
def test_tells_what_it_can_do(kind: str, norm: str) -> None:
    can = engine(kind, norm).capabilities

    assert not can.generation
    assert not can.prompt
    assert not can.language_hint
    assert can.tasks == {Task.TRANSCRIBE}
    assert can.timestamps == {Timestamps.SEGMENT, Timestamps.WORD}
    assert engine(kind, norm).max_rows > 1
    assert engine(kind, norm).size_bytes > 100_000


def test_the_language_is_what_the_operator_says() -> None:
    """No checkpoint does: a caller who names that one is right, any other asks for another model."""
    model = load(str(folder("wav2vec2", "layer")), LoadOptions(device="cpu", language="nl"))

    assert model.capabilities.languages == frozenset({"nl"})
    assert hear(model, *pieces_of(model, SHORT))[0].language == "nl"
    assert engine("wav2vec2", "layer").capabilities.languages is None


def test_a_model_that_was_never_trained_to_write_is_no_model(tmp_path: Path) -> None:
    """The library would draw the last layer by lot, and say so in its log."""
    where = tiny_models.on_frames(tmp_path, "wav2vec2", "layer")
    config = json.loads((where / "config.json").read_text())
    (where / "config.json").write_text(json.dumps({**config, "architectures": ["Wav2Vec2ForPreTraining"]}))

    with pytest.raises(ModelMissing, match=r"was saved as Wav2Vec2ForPreTraining, .* one \.\.\.ForCTC"):
        load(str(where), LoadOptions(device="cpu"))


def test_a_long_recording_is_heard_in_pieces() -> None:
    """Words run on over the whole, and no piece waits for the first: there is no language to hear."""
    model = engine("wav2vec2", "layer")

    whole = heard(model, LONGEST)

    assert not hears_languages(model)
    assert whole.duration_s == pytest.approx(44.4, abs=0.1)
    assert len(list(model.pieces(LONGEST))) > 1
    assert all(before.end_s <= after.start_s + 0.001 for before, after in pairwise(whole.words))
    assert whole.words[-1].end_s > 43


def test_double_letters_stay_double_and_nobody_says_a_control_token() -> None:
    """The library's own `skip_special_tokens` drops the blank before repeats are joined: "HELO"."""
    tokenizer = AutoTokenizer.from_pretrained(folder("wav2vec2", "layer"))
    spelt = tokenizer.convert_tokens_to_ids(["S", "S", "<pad>", "S", "|", "O"])

    assert tokenizer.decode(spelt) == "SS O"
    assert tokenizer.decode(spelt, skip_special_tokens=True) == "S O"
    assert set(_unheard(tokenizer)) == set(tokenizer.convert_tokens_to_ids(["<s>", "</s>", "<unk>"]))


def test_lower_case_is_of_the_words_too(tmp_path: Path) -> None:
    model = load(str(tiny_models.on_frames(tmp_path, "hubert", "layer", lower=True)), LoadOptions(device="cpu"))

    (said,) = hear(model, *pieces_of(model, SHORT))

    assert said.text == said.text.lower()
    assert [word.text for word in said.words] == said.text.split()


def test_word_pieces_are_joined_and_timed_by_their_frames() -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder("parakeet", ""))
    blank = tokenizer.pad_token_id
    the, o, g = (tokenizer.convert_tokens_to_ids(token) for token in ("▁the", "o", "g"))
    frames = [blank, the, the, blank, o, blank, o, the, g, blank]

    assert list(spelt(tokenizer, _of_pieces(tokenizer, frames))) == [("theoo", 1, 7), ("theg", 7, 9)]
    assert list(spelt(tokenizer, _of_pieces(tokenizer, [blank] * 3))) == []


def test_a_batch_that_nobody_waits_for_is_not_heard() -> None:
    model = engine("wav2vec2", "layer")
    with pytest.raises(Abandoned):
        model.hear(pieces_of(model, SHORT), lambda: True)


def test_want_of_memory_says_so_and_other_faults_stay_what_they_are() -> None:
    model = load(str(folder("wav2vec2", "layer")), LoadOptions(device="cpu"))
    assert isinstance(model, Ctc)
    pieces = pieces_of(model, SHORT)
    greedy = model._checkpoint.model.register_forward_pre_hook(lambda *_: torch.empty(2**60))
    with pytest.raises(OutOfMemory):
        hear(model, *pieces)
    greedy.remove()
    model._checkpoint.model.register_forward_pre_hook(lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        hear(model, *pieces)
