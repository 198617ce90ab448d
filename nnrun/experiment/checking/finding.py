"""A finding about data: what was found, by which rows and columns, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from nnrun.spec.wording import counted

Severity = Literal["serious", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("serious", "warning", "note")
"""`serious`: scores do not hold for new rows. `warning`: they may not, a person must say. `note`: scores
hold."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with data, or that may be.

    Attributes:
        kind: for programs, as `identical_rows_in_test`.
        severity: how much depends on it.
        text: what was found, as sentences.
        advice: what to write in the spec, or to do else.
        examples: rows and values that show it, one a line.
        evidence: the same and more for programs: columns, rows, counts, scores.
    """

    kind: str
    severity: Severity
    text: str
    advice: str
    examples: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def as_document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "text": self.text,
            "advice": self.advice,
            "evidence": dict(self.evidence),
        }


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """The serious ones first; else in their order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def counts_text(findings: Sequence[Finding]) -> str:
    """`3 findings: 1 serious, 2 notes`."""
    if not findings:
        return "no finding"
    each = []
    for severity in SEVERITIES:
        if number := sum(finding.severity == severity for finding in findings):
            each.append(f"{number} serious" if severity == "serious" else counted(number, severity))
    return f"{counted(len(findings), 'finding')}: {', '.join(each)}"
