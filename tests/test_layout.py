"""The shape of the source: who may import whom, what is never called, how long a piece may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "nuadapt"
FILES = sorted(PACKAGE.rglob("*.py"))

#: Rooms by level: a room imports from lower levels and from itself. Rooms of one level do not know each other.
LEVELS = (
    ("errors", "processes", "record", "settings", "terminal"),
    ("events",),
    ("sources", "models"),
    ("training",),
    ("evaluation",),
    ("report",),
    ("recipes", "serve"),
    ("cli", "__main__"),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
BASE = set(LEVELS[0])
#: A report is made from result files, so it has nothing to ask of what made them.
REPORT_MAY_IMPORT = {*BASE, "events", "evaluation", "report"}
#: Libraries that only some rooms may import.
HEAVY = {
    "torch": {"models", "training", "evaluation", "serve"},
    "transformers": {"models", "training"},
    "accelerate": {"training"},
    "peft": {"models", "training"},
    "bitsandbytes": {"models", "training"},
    "numba": {"sources"},
    "matplotlib": {"report", "serve"},
    "fastapi": {"serve"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
}
MAX_LINES, MAX_BODY = 500, 60


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(tree: ast.AST) -> set[str]:
    """Dotted names of everything imported, also inside functions; ``from a import b`` gives ``a.b``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("require", "import_module"):
            found |= {str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return found


def wrong_imports(room: str, imports: set[str]) -> list[str]:
    """Sentences about imports that go the wrong way."""
    found = []
    for name in sorted(imports):
        top, *rest = name.split(".")
        if top in HEAVY and room not in HEAVY[top]:
            found.append(f"{room} imports {top}")
        other = rest[0] if rest else ""
        if top != "nuadapt" or other in (room, "__version__"):
            continue
        if other not in LEVEL:
            found.append(f"{room} imports {name}, which is in no room of test_layout.py")
        elif other not in BASE and LEVEL[other] >= LEVEL.get(room, -1):
            found.append(f"{room} imports {other}")
        elif room == "report" and other not in REPORT_MAY_IMPORT:
            found.append(f"report imports {other}; it reads result files only")
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_import_directions(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert imports_of(tree_of(path)) <= {"importlib.metadata.version"}
    else:
        assert room_of(path) in LEVEL
        assert wrong_imports(room_of(path), imports_of(tree_of(path))) == []


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("events", "import torch"),
        ("events", "def f():\n    from torch.nn import Linear"),
        ("events", "from nuadapt.errors import require\nrequire('torch', 'training')"),
        ("sources", "from nuadapt.models import run"),
        ("models", "import nuadapt.sources.nuhepmc"),
        ("evaluation", "from nuadapt.errors import require\nrequire('peft', 'vlm')"),
        ("training", "from nuadapt.evaluation.metrics import auc"),
        ("report", "from nuadapt.training import fit"),
        ("errors", "from nuadapt.events import schema"),
        ("events", "from nuadapt.helpers import thing"),
    ],
)
def test_wrong_imports_are_noticed(room: str, code: str) -> None:
    assert len(wrong_imports(room, imports_of(ast.parse(code)))) == 1


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("events", "import numpy, h5py\nfrom nuadapt.errors import DataError\nfrom nuadapt.events import schema"),
        ("report", "from nuadapt.events.truth import FLAVOUR_TITLES"),
        ("cli", "def f():\n    from nuadapt.training.fit import train"),
    ],
)
def test_right_imports_are_fine(room: str, code: str) -> None:
    assert wrong_imports(room, imports_of(ast.parse(code))) == []


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh Python has loaded after ``code``."""
    script = f"{code}\nimport sys\nsys.stdout.write(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


COMMAND_LINE = ["nuadapt.cli"] if (PACKAGE / "cli.py").exists() or (PACKAGE / "cli").exists() else []


@pytest.mark.parametrize("module", ["nuadapt", *COMMAND_LINE])
def test_starting_is_light(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert "nuadapt" in loaded
    assert not loaded & {"torch", "transformers", "numba", "scipy", "sklearn", "matplotlib", "fastapi", "peft"}


def test_events_need_numpy_and_h5py_only() -> None:
    modules = ", ".join(f"nuadapt.events.{p.stem}" for p in (PACKAGE / "events").glob("[a-z]*.py"))
    loaded = loaded_by(f"import {modules}")
    assert {"numpy", "h5py"} <= loaded
    assert not loaded & {"torch", "transformers", "numba", "scipy", "pandas", "pyarrow", "pydantic", "typer"}


def forbidden_in(tree: ast.AST) -> list[str]:
    """Calls and imports that library code must not have."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if called in ("print", "exit", "quit", "sys.exit", "os._exit", "eval", "exec"):
                found.append(f"line {node.lineno}: {called}")
            if called == "torch.load" and keywords.get("weights_only") != "True":
                found.append(f"line {node.lineno}: torch.load without weights_only=True")
            if called in ("np.load", "numpy.load") and keywords.get("allow_pickle", "False") != "False":
                found.append(f"line {node.lineno}: np.load with pickles")
            if called == "yaml.load":
                found.append(f"line {node.lineno}: yaml.load; use yaml.safe_load")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"line {node.lineno}: bare except")
        if isinstance(node, ast.Assert):
            found.append(f"line {node.lineno}: assert; raise a NuadaptError")
    unsafe = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    return found + sorted(f"import of {n}" for n in imports_of(tree) if n.split(".")[0] in unsafe)


#: A reader of a format that is a pickle may import it for a restricted unpickler.
MAY_IMPORT_PICKLE: set[str] = set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_forbidden(path: Path) -> None:
    found = forbidden_in(tree_of(path))
    if name_of(path) in MAY_IMPORT_PICKLE:
        found = [f for f in found if not f.startswith("import of pickle")]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "print('x')",
        "import sys\nsys.exit(1)",
        "import pickle",
        "from pickle import loads",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p, allow_pickle=True)",
        "try:\n    f()\nexcept:\n    pass",
        "assert x",
        "yaml.load(t)",
    ],
)
def test_forbidden_things_are_noticed(code: str) -> None:
    assert len(forbidden_in(ast.parse(code))) == 1


def bodies(tree: ast.AST) -> dict[str, int]:
    """Lines of each function body without its docstring."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            last = body[-1].end_lineno if body else None
            found[f"{node.name}, line {node.lineno}"] = (last or 0) - body[0].lineno + 1 if body else 0
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
    assert {name: n for name, n in bodies(tree_of(path)).items() if n > MAX_BODY} == {}


def test_most_functions_are_shorter_still() -> None:
    lengths = sorted(n for path in FILES for n in bodies(tree_of(path)).values())
    assert lengths[int(0.9 * len(lengths))] <= 35


def test_every_module_says_what_it_is() -> None:
    assert [name_of(p) for p in FILES if not ast.get_docstring(tree_of(p))] == []


def test_tests_mirror_the_source() -> None:
    """A folder of tests has the name of a room."""
    folders = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir() and not p.name.startswith(("_", "."))}
    assert folders <= {*LEVEL, "data", "parity"}
