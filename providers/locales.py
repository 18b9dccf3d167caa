"""Languages with their regions, for services that know no language without one."""

from __future__ import annotations

from typing import Final

from providers.languages import code_of

# Where most of its speakers live, or where services have it; of several Englishes and so on the commonest there.
_TABLE: Final = """
af-ZA am-ET ar-SA az-AZ be-BY bg-BG bn-IN bs-BA ca-ES cs-CZ cy-GB da-DK de-DE el-GR en-US es-ES et-EE eu-ES
fa-IR fi-FI fr-FR gl-ES gu-IN he-IL hi-IN hr-HR hu-HU hy-AM id-ID is-IS it-IT ja-JP ka-GE kk-KZ km-KH kn-IN
ko-KR lo-LA lt-LT lv-LV mi-NZ mk-MK ml-IN mn-MN mr-IN ms-MY mt-MT my-MM ne-NP nl-NL no-NO pa-IN pl-PL ps-AF
pt-BR ro-RO ru-RU si-LK sk-SK sl-SI so-SO sq-AL sr-RS su-ID sv-SE sw-KE ta-IN te-IN th-TH tl-PH tr-TR uk-UA
ur-PK uz-UZ vi-VN yo-NG zh-CN
""".split()  # noqa: SIM905 - seventy quoted words would hide the table
_REGIONS: Final = dict(each.split("-") for each in _TABLE)


def locale_of(language: str) -> str | None:
    """Return a code with its region, such as "en-US"; one that has a region already as it is. None where unknown."""
    code, _, region = language.strip().replace("_", "-").partition("-")
    if region:
        return f"{code.lower()}-{region.upper() if len(region) == 2 else region}"
    known = code_of(code)
    return f"{known}-{_REGIONS[known]}" if known in _REGIONS else None
