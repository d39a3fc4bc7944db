"""The one rule: root scripts -> commands -> rooms; no arrow back, none between two rooms.

Only tests and benchmarks import a root script.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "models": {"torch", "kornia", "safetensors", "triton"},
    "losses": {"torch"},
    "attacks": {"torch"},
    "data": {"torch", "PIL", "numpy", "imagehash", "tifffile"},
    "training": {"torch", "PIL", "rich"},
    "metrics": {"torch", "kornia", "numpy", "PIL", "pooch"},
}
SHARED = {"errors"}  # the one leaf that all may import
STANDARD_LIBRARY = __import__("sys").stdlib_module_names
ROOT_SCRIPTS = {path.stem for path in ROOT.glob("*.py")} - SHARED


def imported_packages(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


ROOM_FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", ROOM_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path):
    room = path.relative_to(ROOT).parts[0]
    allowed = ROOMS[room] | {room} | SHARED | STANDARD_LIBRARY
    assert imported_packages(path) <= allowed


@pytest.mark.parametrize("folder", [".", "commands", *ROOMS])
def test_only_tests_and_benchmarks_import_a_root_script(folder):
    files = (ROOT / folder).glob("*.py") if folder == "." else (ROOT / folder).rglob("*.py")
    arrows = {str(path): imported_packages(path) & ROOT_SCRIPTS for path in files}
    assert not {path: names for path, names in arrows.items() if names}


@pytest.mark.parametrize("path", ROOM_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_found_by_a_name_in_a_string(path):
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"exec", "eval", "__import__", "getattr", "hasattr", "setattr", "globals"}


@pytest.mark.parametrize("path", ROOM_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_knows_nothing_of_the_command_line(path):
    """Its messages name `argument`, which `commands.cli` shows as --argument."""
    assert not re.findall(r"--[a-z]\w*", path.read_text())
