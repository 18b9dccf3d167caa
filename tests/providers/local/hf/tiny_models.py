"""Checkpoints of a few thousand weights drawn by lot, saved as a user's would be: all hear gibberish, always alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CohereAsrConfig,
    CohereAsrFeatureExtractor,
    CohereAsrForConditionalGeneration,
    Data2VecAudioConfig,
    Data2VecAudioForCTC,
    GenerationConfig,
    HubertConfig,
    HubertForCTC,
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    MoonshineStreamingConfig,
    MoonshineStreamingForConditionalGeneration,
    NemotronAsrStreamingConfig,
    NemotronAsrStreamingFeatureExtractor,
    NemotronAsrStreamingForRNNT,
    ParakeetCTCConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    ParakeetForRNNT,
    ParakeetForTDT,
    ParakeetRNNTConfig,
    ParakeetTDTConfig,
    ParakeetTokenizer,
    PreTrainedTokenizerFast,
    SeamlessM4TFeatureExtractor,
    SeamlessM4TTokenizer,
    SeamlessM4Tv2Config,
    SeamlessM4Tv2ForSpeechToText,
    SEWConfig,
    SEWDConfig,
    SEWDForCTC,
    SEWForCTC,
    UniSpeechConfig,
    UniSpeechForCTC,
    UniSpeechSatConfig,
    UniSpeechSatForCTC,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    Wav2Vec2Config,
    Wav2Vec2ConformerConfig,
    Wav2Vec2ConformerForCTC,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WavLMConfig,
    WavLMForCTC,
)

TEXT: Final = "the quick brown fox jumps over the lazy dog and we are sure that one war is enough " * 4
_TOKENS: Final = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAOINSHRDLU'"]
_ON_FRAMES: Final = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2ForCTC),
    "hubert": (HubertConfig, HubertForCTC),
    "wavlm": (WavLMConfig, WavLMForCTC),
    "data2vec-audio": (Data2VecAudioConfig, Data2VecAudioForCTC),
    "unispeech": (UniSpeechConfig, UniSpeechForCTC),
    "unispeech-sat": (UniSpeechSatConfig, UniSpeechSatForCTC),
    "wav2vec2-conformer": (Wav2Vec2ConformerConfig, Wav2Vec2ConformerForCTC),
}
_TRANSDUCERS: Final = {
    "parakeet_tdt": (ParakeetTDTConfig, ParakeetForTDT, ParakeetFeatureExtractor),
    "parakeet_rnnt": (ParakeetRNNTConfig, ParakeetForRNNT, ParakeetFeatureExtractor),
    "nemotron_asr_streaming": (
        NemotronAsrStreamingConfig,
        NemotronAsrStreamingForRNNT,
        NemotronAsrStreamingFeatureExtractor,
    ),
}
_QUIET: Final = 20.0
_CHOOSES: Final = 4  # a seed; with many others every search finds the same
_COMES_TO_AN_END: Final = 5  # a seed; most tiny models never say the token that ends a text
_SIZE: Final = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_SPELLING: Final = {**_SIZE, "vocab_size": len(_TOKENS), "initializer_range": 0.5, "pad_token_id": 0}


def on_frames(folder: Path, kind: str, norm: str, *, lower: bool = False) -> Path:
    """Save a model of raw samples. kind: its model type. norm: "layer" hears with a mask, "group" without."""
    config, model = _ON_FRAMES[kind]
    layered = norm == "layer"
    tiny = config(
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=5 if kind == "data2vec-audio" else 16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm=norm,
        do_stable_layer_norm=layered,
        conv_bias=layered,
        **_SPELLING,
    )
    features = Wav2Vec2FeatureExtractor(return_attention_mask=layered)
    return _saved(folder, model, tiny, _letters(folder, lower=lower), features)


def adapted(folder: Path, alphabets: Mapping[str, str]) -> Path:
    """Save a wav2vec2 with an adapter for each language, the first of them within. alphabets: by language."""
    letters = {name: [*_TOKENS[:5], *alphabet] for name, alphabet in alphabets.items()}
    vocabulary = {name: {token: at for at, token in enumerate(tokens)} for name, tokens in letters.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    first = next(iter(alphabets))
    tiny = Wav2Vec2Config(
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        adapter_attn_dim=4,
        **{**_SPELLING, "vocab_size": len(vocabulary[first])},
    )
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), target_lang=first)
    _saved(folder, Wav2Vec2ForCTC, tiny, tokenizer, Wav2Vec2FeatureExtractor(return_attention_mask=True))
    for seed, (name, tokens) in enumerate(vocabulary.items()):
        _save_adapter(folder, name, len(tokens), seed)
    return folder


def _save_adapter(folder: Path, language: str, letters: int, seed: int) -> None:
    model = Wav2Vec2ForCTC.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.lm_head = torch.nn.Linear(32, letters)
        for weights in model._get_adapters().values():
            torch.nn.init.normal_(weights, std=0.5)
    save_file(model._get_adapters(), folder / f"adapter.{language}.safetensors")


def sew(folder: Path) -> Path:
    """Save a model that squeezes its frames."""
    tiny = SEWConfig(feat_extract_norm="layer", **_SPELLING)
    return _saved(folder, SEWForCTC, tiny, _letters(folder), Wav2Vec2FeatureExtractor(return_attention_mask=True))


def sew_d(folder: Path) -> Path:
    """Save a model that squeezes its frames, and looks at how far they are from each other."""
    tiny = SEWDConfig(feat_extract_norm="layer", **_SPELLING)
    return _saved(folder, SEWDForCTC, tiny, _letters(folder), Wav2Vec2FeatureExtractor(return_attention_mask=True))


def on_features(folder: Path) -> Path:
    """Save a wav2vec2-bert: it hears mel features, as SeamlessM4T does."""
    tiny = Wav2Vec2BertConfig(output_hidden_size=32, **_SPELLING)
    return _saved(folder, Wav2Vec2BertForCTC, tiny, _letters(folder), SeamlessM4TFeatureExtractor())


def _letters(folder: Path, *, lower: bool = False) -> Wav2Vec2CTCTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: at for at, token in enumerate(_TOKENS)}))
    return Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), do_lower_case=lower)


def parakeet(folder: Path) -> Path:
    """Save a FastConformer over a vocabulary of word pieces."""
    tokenizer = ParakeetTokenizer(tokenizer_object=word_pieces("<unk>"), unk_token="<unk>", pad_token="<pad>")
    encoder = {**_SIZE, "subsampling_conv_channels": 8, "initializer_range": 0.3}
    tiny = ParakeetCTCConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, encoder_config=encoder)
    return _saved(folder, ParakeetForCTC, tiny, tokenizer, ParakeetFeatureExtractor())


def transducer(folder: Path, kind: str) -> Path:
    """Save a FastConformer whose tokens come one after another. kind: its model type."""
    config, model, features = _TRANSDUCERS[kind]
    pieces = word_pieces("<unk>", "<pad>", text=f"{TEXT}- ' , . ? ! : / % -,.?!")
    pieces.add_special_tokens(["<blank>"])
    tokenizer = ParakeetTokenizer(tokenizer_object=pieces, unk_token="<unk>", pad_token="<pad>")
    blank = tokenizer.convert_tokens_to_ids("<blank>")
    tiny = config(
        vocab_size=len(tokenizer),
        blank_token_id=blank,
        pad_token_id=tokenizer.pad_token_id,
        decoder_hidden_size=32,
        num_decoder_layers=1,
        max_symbols_per_step=2,
        encoder_config={**_SIZE, "subsampling_conv_channels": 8, "initializer_range": 0.5},
    )
    return _saved(folder, partial(_talkative, model), tiny, tokenizer, features(), seed=1)


def _talkative(model: Any, config: Any) -> Any:
    """Return a transducer that says several things, and nothing in some of its frames."""
    drawn = model(config)
    spread = {drawn.joint.head: 0.7, drawn.encoder_projector: 1.0, drawn.decoder.embedding: 0.3}
    for layer, std in {**spread, drawn.decoder.decoder_projector: 0.3}.items():
        torch.nn.init.normal_(layer.weight, std=std)
    drawn.joint.head.bias.data[config.blank_token_id] += _QUIET
    return drawn


def seamless(folder: Path) -> Path:
    """Save a SeamlessM4T v2 that writes English, French and Chinese."""
    trained = json.loads(word_pieces("<pad>", "<unk>", "<s>", "</s>").to_str())["model"]
    merges = [tuple(pair) for pair in trained["merges"]]
    languages = ["eng", "fra", "cmn", "cmn_Hant", "gle", "ceb"]
    special = [f"__{language}__" for language in languages]
    tokenizer = SeamlessM4TTokenizer(
        vocab=trained["vocab"], merges=merges, additional_special_tokens=special, src_lang="eng", tgt_lang="fra"
    )
    tiny = SeamlessM4Tv2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=2,
        speech_encoder_layers=2,
        speech_encoder_attention_heads=2,
        speech_encoder_intermediate_size=32,
        initializer_range=0.7,
        scale_embedding=False,  # with it every token would be followed by itself
    )
    codes = {each: tokenizer.convert_tokens_to_ids(f"__{each}__") for each in languages}
    generation = GenerationConfig(
        decoder_start_token_id=3, eos_token_id=3, pad_token_id=0, max_new_tokens=256, text_decoder_lang_to_code_id=codes
    )
    features = SeamlessM4TFeatureExtractor()
    return _saved(folder, SeamlessM4Tv2ForSpeechToText, tiny, tokenizer, features, generation, seed=_COMES_TO_AN_END)


def as_published(folder: Path) -> Path:
    """Put SentencePiece's own file in place of a saved vocabulary, as SeamlessM4T has it on the Hub."""
    (folder / "tokenizer.json").unlink()
    with (folder / "sentencepiece.bpe.model").open("wb") as written:
        SentencePieceTrainer.train(
            sentence_iterator=iter([TEXT]), model_writer=written, vocab_size=79, model_type="bpe", minloglevel=2
        )
    return folder


def moonshine(folder: Path) -> Path:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=word_pieces("<unk>", "<s>", "</s>"), unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    tiny = MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        max_position_embeddings=194,  # as the published ones
        initializer_range=0.5,
    )
    return _saved(folder, MoonshineForConditionalGeneration, tiny, tokenizer, Wav2Vec2FeatureExtractor())


def moonshine_streaming(folder: Path) -> Path:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=word_pieces("<unk>", "<s>", "</s>"), unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    encoder = {"num_key_value_heads": 2, "sliding_windows": [[16, 4], [16, 0]], "initializer_range": 0.5}
    tiny = MoonshineStreamingConfig(
        vocab_size=len(tokenizer),
        encoder_config={**_SIZE, **encoder},
        num_key_value_heads=2,  # as the published ones
        initializer_range=0.5,
        **_SIZE,
    )
    features = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    return _saved(folder, MoonshineStreamingForConditionalGeneration, tiny, tokenizer, features)


def cohere(folder: Path) -> Path:
    """Save a model that is told which language it hears, as the library's own processor does."""
    told = ["<|startofcontext|>", "<|startoftranscript|>", "<|emo:undefined|>", "<|en|>", "<|fr|>", "<|ja|>", "<|pnc|>"]
    told += ["<|noitn|>", "<|notimestamp|>", "<|nodiarize|>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=word_pieces("<unk>", "<pad>", "</s>", *told, text=f"{TEXT}\u2581 "),
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="</s>",
        additional_special_tokens=told,
    )
    encoder = {**_SIZE, "subsampling_conv_channels": 8, "initializer_range": 0.3, "num_mel_bins": 80}
    tiny = CohereAsrConfig(
        vocab_size=len(tokenizer),
        encoder_config={"model_type": "parakeet_encoder", **encoder},
        pad_token_id=1,
        eos_token_id=2,
        bos_token_id=2,
        max_position_embeddings=300,
        initializer_range=0.5,
        **_SIZE,
    )
    features = CohereAsrFeatureExtractor(feature_size=80)
    return _saved(folder, CohereAsrForConditionalGeneration, tiny, tokenizer, features, seed=_CHOOSES)


def word_pieces(*special: str, text: str = TEXT) -> Tokenizer:
    """Train a vocabulary of word pieces on a few words."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=80, special_tokens=list(special), show_progress=False)
    )
    return tokenizer


def _saved(
    folder: Path,
    model: Any,
    config: Any,
    tokenizer: Any,
    features: Any,
    generation: GenerationConfig | None = None,
    *,
    seed: int = 0,
) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = model(config)
    if generation:
        drawn.generation_config = generation
    drawn.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    features.save_pretrained(folder)
    return folder
