"""What claims, tables and pictures of a paper pick is what its specs compute."""

import pytest
from paper_picks import picked

from heatproof.auditing import spec
from heatproof.auditing.spec import AuditSpec
from heatproof.papers import PAPERS


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_what_is_picked_is_in_the_specs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HEATPROOF_DATA", "HEATPROOF_WEIGHTS", "HEATPROOF_IMAGENET"):
        monkeypatch.setenv(variable, "somewhere")
    paper = PAPERS[name]
    for scale in paper.scales():
        read: dict[str, AuditSpec] = {step: spec.read(path) for step, path in paper.specs(scale).items()}
        wrong = [
            f"{scale}/{step}: {pick}"
            for step, pick in picked(paper)
            if step in read
            and not (pick.check in read[step].checks and (pick.method or "") in {"", *read[step].methods})
        ]
        assert wrong == []
