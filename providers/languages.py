"""Languages as services write them: ISO-639-1 codes, regional codes, English names.

The hundred languages of Whisper (openai/whisper, tokenizer.py, v20240930); names are theirs.
"""

from __future__ import annotations

from typing import Final

_TABLE: Final = """
en english zh chinese de german es spanish ru russian ko korean fr french ja japanese pt portuguese tr turkish
pl polish ca catalan nl dutch ar arabic sv swedish it italian id indonesian hi hindi fi finnish vi vietnamese
he hebrew uk ukrainian el greek ms malay cs czech ro romanian da danish hu hungarian ta tamil no norwegian th thai
ur urdu hr croatian bg bulgarian lt lithuanian la latin mi maori ml malayalam cy welsh sk slovak te telugu fa persian
lv latvian bn bengali sr serbian az azerbaijani sl slovenian kn kannada et estonian mk macedonian br breton eu basque
is icelandic hy armenian ne nepali mn mongolian bs bosnian kk kazakh sq albanian sw swahili gl galician mr marathi
pa punjabi si sinhala km khmer sn shona yo yoruba so somali af afrikaans oc occitan ka georgian be belarusian tg tajik
sd sindhi gu gujarati am amharic yi yiddish lo lao uz uzbek fo faroese ht haitian_creole ps pashto tk turkmen
nn nynorsk mt maltese sa sanskrit lb luxembourgish my myanmar bo tibetan tl tagalog mg malagasy as assamese tt tatar
haw hawaiian ln lingala ha hausa ba bashkir jw javanese su sundanese yue cantonese
""".split()  # noqa: SIM905 - two hundred quoted words would hide the table

NAMES: Final = {code: name.replace("_", " ") for code, name in zip(_TABLE[::2], _TABLE[1::2], strict=True)}
_CODES: Final = {name: code for code, name in NAMES.items()} | {
    "burmese": "my",
    "valencian": "ca",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "pushto": "ps",
    "panjabi": "pa",
    "moldavian": "ro",
    "moldovan": "ro",
    "sinhalese": "si",
    "castilian": "es",
    "mandarin": "zh",
}


_THREE_LETTERS: Final = """
eng zho deu spa rus kor fra jpn por tur pol cat nld ara swe ita ind hin fin vie heb ukr ell msa ces ron dan hun tam
nor tha urd hrv bul lit lat mri mal cym slk tel fas lav ben srp aze slv kan est mkd bre eus isl hye nep mon bos kaz
sqi swa glg mar pan sin khm sna yor som afr oci kat bel tgk snd guj amh yid lao uzb fao hat pus tuk nno mlt san ltz
mya bod tgl mlg asm tat lin hau bak jav sun
""".split()  # noqa: SIM905 - a hundred quoted words would hide the table
# ISO-639-3, in the order of the table, and what is commonly written for one of a language's varieties.
_OTHERWISE: Final = dict(zip(_THREE_LETTERS, (code for code in NAMES if len(code) == 2), strict=True)) | {
    "jv": "jw",
    "iw": "he",
    "nb": "no",
    "nob": "no",
    "cmn": "zh",
    "fil": "tl",
    "arb": "ar",
    "pes": "fa",
    "lvs": "lv",
    "ekk": "et",
    "zsm": "ms",
    "swh": "sw",
    "npi": "ne",
    "azj": "az",
    "khk": "mn",
    "pbt": "ps",
    "uzn": "uz",
    "zlm": "ms",
}


UNSPACED: Final = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Written without spaces between words, by Whisper (openai/whisper, tokenizer.py)."""


def code_of(language: str) -> str | None:
    """Return the code of a language given as code of two or three letters, "en-US" or English name; None if unknown."""
    wanted = language.strip().lower().replace("_", "-")
    if wanted in _CODES:
        return _CODES[wanted]
    primary = wanted.split("-")[0]
    return _OTHERWISE.get(primary) or (primary if primary in NAMES else None)


def name_of(code: str) -> str:
    """Return the English name of a language code, lower case; the code itself where it is unknown."""
    return NAMES.get(code_of(code) or "", code)
