"""The machine check says what it found, says what to do, and never raises."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from course_lm.classroom import doctor

FULL = SimpleNamespace(available=0, free=0)


def test_every_check_passes_where_these_tests_run():
    result = doctor.report()
    assert result.summary() == f"All {len(doctor.CHECKS)} checks passed."


def test_an_old_and_a_future_python_are_told_which_one_to_use():
    for version in ((3, 10), (3, 14)):
        finding = doctor.check_python(version)
        assert not finding.ok
        assert "3.11, 3.12 or 3.13" in finding.what_to_do


@pytest.mark.parametrize(
    ("check", "owner", "attribute", "fake", "advice"),
    [
        ("memory", psutil, "virtual_memory", lambda: FULL, "Close other programs"),
        ("disk", shutil, "disk_usage", lambda folder: FULL, "Delete files"),
        ("threads", torch, "get_num_threads", lambda: 10**6, "Set OMP_NUM_THREADS="),
        ("torch", torch, "tensor", lambda numbers: torch.zeros(1, 1), "multiplies wrongly"),
        ("widgets", doctor.metadata, "version", lambda name: "7.0", "ipywidgets 8"),
        ("data", doctor.util, "find_spec", lambda name: None, "plays are missing"),
    ],
)
def test_a_failed_check_says_what_to_do(check, owner, attribute, fake, advice, monkeypatch):
    monkeypatch.setattr(owner, attribute, fake)
    finding = getattr(doctor, f"check_{check}")()
    assert not finding.ok
    assert finding.name == check
    assert advice in finding.what_to_do
    assert finding.what_to_do.count(". ") == 0
    assert finding.what_to_do.endswith(".")


def test_a_package_that_cannot_be_imported_is_a_finding_and_not_a_traceback(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    finding = doctor.report([doctor.check_torch]).findings[0]
    assert not finding.ok
    assert finding.name == "torch"
    assert "install the course again" in finding.what_to_do


def test_the_summary_names_only_the_failures():
    good = doctor.Finding("disk", True, "9 GiB free", "Delete files.")
    bad = doctor.Finding("data", False, "0 plays", "Install them.")
    assert doctor.Report((good, bad)).summary() == "data: 0 plays. Install them."


def test_the_table_has_a_text_twin_and_escapes_what_it_found():
    shown = doctor.Report((doctor.Finding("torch", False, "<script>", "Do this."),))
    assert "&lt;script&gt;. Do this." in shown._repr_html_()
    assert "<script>" not in shown._repr_html_()
    assert repr(shown) == "torch    FAILED <script>. Do this."


def test_the_command_prints_the_table_and_the_summary():
    command = [sys.executable, "-m", "course_lm.classroom.doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("Python   ok")
    assert done.stdout.endswith("checks passed.\n")
