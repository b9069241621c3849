"""The alert rules that operators are given name metrics, codes and pages there are."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pushd.errors import ERRORS
from pushd.metrics import Metrics

ROOT = Path(__file__).parent.parent
(GROUP,) = yaml.safe_load((ROOT / "docs/examples/alerts.yaml").read_text())["groups"]
RULES: list[dict[str, Any]] = GROUP["rules"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule_watches_what_there_is(rule: dict[str, Any]) -> None:
    """Each metric is one the server shows, each code is one of the table of errors."""
    text = Metrics().render().decode()
    known = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    named = re.findall(r"\bpushd_\w+", rule["expr"])
    assert named
    assert {re.sub(r"_bucket$", "", name) for name in named} <= known
    for codes in re.findall(r'(?:code|reason)=~?"([^"]+)"', rule["expr"]):
        assert set(codes.split("|")) <= set(ERRORS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule_leads_to_what_to_do(rule: dict[str, Any]) -> None:
    """The summary is a sentence, and the runbook a part of a page."""
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["labels"]["severity"] in ("page", "ticket")
