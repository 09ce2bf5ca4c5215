"""What findings look like to the person who reads them."""

from __future__ import annotations

from models.errors import Finding, InputError, told_once


def test_one_mistake_in_many_wells_is_said_once_with_its_wells() -> None:
    """A wrong word in a column is in every row of it: 150 lines of it hide the other mistake."""
    wrong = {"rule": "role_unknown", "severity": "error", "message": "'cpd2' is not a role", "column": "role"}
    other = Finding(rule="number", severity="error", message="'1,000' is not a number", plate="P1", well="B02", column="dose")
    findings = [Finding(**wrong, plate="P1", well=f"A{number:02d}") for number in range(1, 13)]
    assert told_once([*findings[:6], other, *findings[6:]]) == [
        "error: 'cpd2' is not a role (plate P1, wells A01, A02, A03, A04, A05, A06, A07, A08 and 4 more, column role)", str(other)]
    error = InputError("no layout", [*findings, Finding(**wrong, plate="P2", well="A01")])
    assert str(error) == ("no layout\n  error: 'cpd2' is not a role (wells P1 A01, P1 A02, P1 A03, P1 A04, P1 A05, P1 A06, P1 A07, "
                          "P1 A08 and 5 more, column role)")
    assert len(error.findings) == 13
