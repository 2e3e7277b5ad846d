"""What the package offers is what it means to offer: every `__all__` is true, whole and documented."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import headrace
import headrace.errors
from headrace.errors import HeadraceError

PUBLIC = ["headrace", "headrace.errors", "headrace.testing"]


def all_modules() -> list[str]:
    walked = pkgutil.walk_packages(headrace.__path__, prefix="headrace.")
    return ["headrace", *sorted(info.name for info in walked if not info.name.endswith("__main__"))]


def exported(module: ModuleType) -> list[str]:
    return list(getattr(module, "__all__", []))


@pytest.mark.parametrize("name", all_modules())
def test_every_module_imports_and_its_exports_exist(name: str) -> None:
    module = importlib.import_module(name)
    missing = [entry for entry in exported(module) if not hasattr(module, entry)]
    assert missing == []
    assert len(set(exported(module))) == len(exported(module))


@pytest.mark.parametrize("name", ["headrace", "headrace.testing"])
def test_the_public_packages_declare_what_is_public(name: str) -> None:
    module = importlib.import_module(name)
    assert exported(module), f"{name} has no __all__"
    public = {
        entry
        for entry, value in vars(module).items()
        if not entry.startswith("_") and not inspect.ismodule(value) and entry != "annotations"
    }
    assert public - set(exported(module)) == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    silent = []
    for entry in exported(module):
        value = getattr(module, entry)
        if (inspect.isclass(value) or inspect.isfunction(value)) and not inspect.getdoc(value):
            silent.append(entry)
    assert silent == []


def error_classes() -> list[type[HeadraceError]]:
    found = [HeadraceError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return found


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in error_classes()]
    assert len(set(codes)) == len(codes)


def test_the_tree_at_the_top_of_errors_names_every_error() -> None:
    tree = headrace.errors.__doc__ or ""
    missing = [cls.__name__ for cls in error_classes() if cls.__name__ not in tree]
    assert missing == []


def test_every_error_lives_in_the_one_file() -> None:
    assert {cls.__module__ for cls in error_classes()} == {"headrace.errors"}
