"""The names of `import loadkit`: there when asked for, and typed."""

from __future__ import annotations

from pathlib import Path

import pytest

import loadkit
import loadkit.errors


@pytest.mark.parametrize("name", loadkit.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(loadkit, name) is not None
    assert name in dir(loadkit)


def test_every_error_is_public() -> None:
    assert set(loadkit.errors.__all__) <= set(loadkit.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'blats'"):
        loadkit.blats  # noqa: B018 - asking for it is the test


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(loadkit.__file__).parent / "py.typed").exists()
