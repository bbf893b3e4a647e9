"""Which addresses of a library's import table the linker made read-only, on pages of any size."""

from __future__ import annotations

import pytest

from loadkit.engine.compiled import native_missing

if missing := native_missing():
    pytest.skip(missing, allow_module_level=True)

from loadkit.engine.aio._hook import in_relro

# A RELRO segment as linkers make it for pages of 4 KiB: it ends on such a page's end, and so on no page of 64 KiB.
_BEGIN, _BYTES = 0x7F0000032D50, 0x22B0
_END = _BEGIN + _BYTES  # …35000


@pytest.mark.parametrize(
    ("page", "at", "is_read_only"),
    [
        pytest.param(0x1000, _BEGIN, True, id="4 KiB: its first byte"),
        pytest.param(0x1000, _END - 8, True, id="4 KiB: its last word"),
        pytest.param(0x1000, _END, False, id="4 KiB: behind it"),
        pytest.param(0x1000, _BEGIN - 8, True, id="4 KiB: ahead of it, on its first page"),
        pytest.param(0x1000, 0x7F0000032000 - 8, False, id="4 KiB: on the page before"),
        pytest.param(0x10000, _BEGIN, False, id="64 KiB: on the page that data shares"),
        pytest.param(0x10000, _END - 8, False, id="64 KiB: its last word, on the same page"),
    ],
)
def test_whole_pages_are_protected(page: int, at: int, is_read_only: bool) -> None:
    assert in_relro(_BEGIN, _BYTES, page, at) is is_read_only


def test_a_segment_of_several_large_pages_is_protected_up_to_the_last_that_it_fills() -> None:
    begin, size, page = 0x10010000, 0x25000, 0x10000  # two pages and a half
    assert [in_relro(begin, size, page, begin + at) for at in (0, 0x1FFF8, 0x20000, 0x24FF8)] == [
        True,
        True,
        False,
        False,
    ]
