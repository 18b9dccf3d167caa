"""A plan in words: who would be asked, in which order, and why the others would not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.dispatch.routes import cost_of

if TYPE_CHECKING:
    from gateway.dispatch.health import HealthBook
    from gateway.dispatch.plan import Candidate, Plan
    from gateway.dispatch.routes import Route
    from providers.types import TranscriptionJob


def explained(
    job: TranscriptionJob, route: Route, plan: Plan, health: HealthBook, part_s: float | None = None
) -> dict[str, Any]:
    """Return the plan as JSON: seconds, US dollars, names of deployments and parameters.

    part_s: the longest part, where the plan is of parts.
    """
    return {
        "model": job.model,
        "audio": {"container": job.audio.container, "duration_s": job.audio.duration_s, "bytes": job.audio.size_bytes},
        "strategy": route.strategy.value,
        "parts_of_s": part_s,
        "candidates": [_candidate(each, job, health) for each in plan.candidates],
        "passed_over": [
            {"deployment": each.deployment.name, "param": each.param, "reason": each.reason} for each in plan.refusals
        ],
    }


def in_lines(plan: dict[str, Any]) -> str:
    """Return what `explained` says, for people."""
    audio, duration_s = plan["audio"], plan["audio"]["duration_s"]
    length = "of unknown length" if duration_s is None else f"{duration_s:.2f} s"
    lines = [f"{plan['model']}: {audio['container'] or 'audio'}, {length}, {audio['bytes']} bytes; {plan['strategy']}"]
    lines += [f"in parts of at most {plan['parts_of_s']:g} s, cut at pauses"] if plan["parts_of_s"] else []
    lines += [f"{at}. {_words(each)}" for at, each in enumerate(plan["candidates"], start=1)]
    lines += [f"-  {each['deployment']}: passed over, {each['reason']}" for each in plan["passed_over"]]
    return "\n".join(lines)


def _candidate(candidate: Candidate, job: TranscriptionJob, health: HealthBook) -> dict[str, Any]:
    deployment, can = candidate.deployment, candidate.capabilities
    known = health[deployment].condition(deployment.name, health.clock())
    return {
        "deployment": deployment.name,
        "state": known.state,
        "why": known.why,
        "again_in_s": known.again_in_s,
        "ignored": list(candidate.ignored),
        "transcoded_to": None if can.containers is None or job.audio.container in can.containers else can.transcode_to,
        "cost_usd": cost_of(deployment, job.audio.duration_s),
        "pace": known.pace,
        "in_flight": known.in_flight,
    }


def _words(candidate: dict[str, Any]) -> str:
    notes = [
        f"{candidate['state']} ({candidate['why']})" if candidate["why"] else candidate["state"],
        *([f"asked again in {candidate['again_in_s']:.1f} s"] if candidate["again_in_s"] else []),
        *([f"{candidate['in_flight']} calls in flight"] if candidate["in_flight"] else []),
        *([f"${candidate['cost_usd']:.6f}"] if candidate["cost_usd"] is not None else ["price unknown"]),
        *([f"as {candidate['transcoded_to']}"] if candidate["transcoded_to"] else []),
        *([f"ignores {', '.join(candidate['ignored'])}"] if candidate["ignored"] else []),
    ]
    return f"{candidate['deployment']}: {', '.join(notes)}"
