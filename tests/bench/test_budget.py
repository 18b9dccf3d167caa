"""A change that makes a request cost a tenth more fails here, with the step named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.bench.budget import AUDIO_BYTES, FRONTS, Cost, grown, read


def counted(*arguments: str) -> tuple[int, str]:
    """Run the guard in a process of its own: what else ran before must not matter. Return its code and its words."""
    command = (sys.executable, "-m", "tests.bench.budget", *arguments)
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=110)
    assert ran.stdout, ran.stderr[-2000:]
    return ran.returncode, ran.stdout


def test_no_front_costs_more_than_its_budget() -> None:
    """Where the cost is meant: python -m tests.bench.budget --renew, and the numbers are in the commit's diff."""
    code, words = counted()

    assert code == 0, words
    assert set(read()[0]) == set(FRONTS)


@pytest.mark.parametrize(("fault", "what"), [("slower", "instructions"), ("copying", "bytes held")])
def test_a_step_that_became_worse_is_named(fault: str, what: str) -> None:
    code, words = counted("--only", "HF raw", "--fault", fault)

    assert code == 1
    assert words.startswith("HF raw, step receive: ")
    assert what in words.splitlines()[0]


def test_a_budget_allows_a_tenth_and_no_more() -> None:
    budget = {"HF raw": Cost({"receive": 1000}, {"attempt": 2 * AUDIO_BYTES})}
    within = {"HF raw": Cost({"receive": 1100}, {"attempt": 2 * AUDIO_BYTES})}
    above = {"HF raw": Cost({"receive": 1101}, {"attempt": 3 * AUDIO_BYTES})}

    assert grown(within, budget) == []
    assert grown(above, budget) == [
        "HF raw, step receive: 1101 instructions, 110% of its budget of 1000 is allowed",
        "HF raw, step attempt: 300000 bytes held, 110% of its budget of 200000 is allowed",
    ]


def test_a_step_that_is_new_has_no_budget() -> None:
    budget = {"HF raw": Cost({}, {})}

    assert grown({"HF raw": Cost({"fetch": 61}, {})}, budget)
    assert not grown({"HF raw": Cost({"fetch": 60}, {})}, budget)
