"""Documentation that is made from the code is up to date, and what it links to exists."""

import re
import subprocess
import sys

import pytest


def test_reference_pages_are_current(repo):
    done = subprocess.run([sys.executable, str(repo / "docs" / "make_reference.py"), "--check"], capture_output=True)
    assert done.returncode == 0, "run `make docs`"


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/napari.md", "docs/drift.md", "docs/segmentation.md"]
)
def test_local_links_lead_somewhere(repo, page):
    path = repo / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_contributing_names_real_functions(repo):
    """Every dotted name in the walk of one slice can be imported from the package."""
    from importlib import import_module

    text = (repo / "CONTRIBUTING.md").read_text(encoding="utf-8")
    walk = text[text.index("## One slice") : text.index("## Adding a stage")]
    for name in re.findall(r"`((?:cli|api|io|pipeline|core|ops|builtin_stages)(?:\.\w+)+)`", walk):
        parts = name.split(".")
        for cut in range(len(parts), 0, -1):
            try:
                found = import_module("fibtomo." + ".".join(parts[:cut]))
            except ModuleNotFoundError:
                continue
            for attribute in parts[cut:]:
                found = getattr(found, attribute)
            break
        else:
            pytest.fail(f"{name} does not exist")


def test_examples_of_the_drift_page_run(repo, tmp_path, monkeypatch):
    """The commands, then the script, as they stand there."""
    from fibtomo.cli.app import run_cli

    page = (repo / "docs" / "drift.md").read_text(encoding="utf-8")
    commands, script = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL)[1] for kind in ("sh", "python"))
    monkeypatch.chdir(tmp_path)
    for line in commands.splitlines():
        words = line.partition("#")[0].split()
        assert words[0] == "fibtomo"
        assert run_cli(words[1:]) == 0, line
    found = {}
    exec(compile(script, "docs/drift.md", "exec"), found)
    assert found["run"].drift.bad_slices[-1] >= 4
    assert found["volume"].ndim == 3
