from __future__ import annotations

import pytest

from loadkit import errors
from loadkit.errors import LoadkitError

_TREE = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", _TREE, ids=lambda kind: kind.__name__)
def test_every_error_can_be_caught_as_one_and_keeps_its_line(kind: type[LoadkitError]) -> None:
    with pytest.raises(LoadkitError, match=r"^burst\.toml: rate: wrong$"):
        raise kind("burst.toml: rate: wrong")


def test_a_wrong_option_exits_as_usage_and_the_others_as_could_not_run() -> None:
    # DESIGN.md: 1 could not run (profile, preflight, target), 2 usage
    statuses = {kind.__name__: kind.exit_status for kind in _TREE}
    assert statuses.pop("OptionError") == 2
    assert set(statuses.values()) == {1}


def test_the_list_of_public_errors_is_the_whole_tree() -> None:
    found = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, LoadkitError)}
    assert found == set(_TREE)


def test_a_name_that_a_runner_would_obey_stays_what_it_is_behind_a_word() -> None:
    assert str(LoadkitError("::error::x.json: cannot be read")) == "error: ::error::x.json: cannot be read"
    assert str(LoadkitError("[::1]:7000: refused")) == "[::1]:7000: refused"
