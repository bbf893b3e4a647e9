from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from loadkit.errors import PreflightError
from loadkit.limits import open_descriptors
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.buckets import counts_length
from loadkit.measure.names import COUNTERS, HISTOGRAMS, STATE, STEPS, OwnError, error_name, place_of
from loadkit.wire.protocol import REPLY_ERRORS

_LAYOUT = BoardLayout(workers=2, phases=3, highest_ns=10**6)


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board(_LAYOUT)
    yield board
    board.close()


def _cells(board: Board) -> Iterator[np.ndarray]:
    """Every array of the board: states, counters, errors, heads and counts."""
    for slot in board.slots:
        yield slot.state
        for page in slot.pages:
            yield page.counters
            yield page.errors
            for head, counts in page.histograms.values():
                yield head
                yield counts


@pytest.mark.parametrize(
    ("module", "call", "number", "named"),
    [
        (os, "memfd_create", errno.EMFILE, "`ulimit -n`"),
        (os, "memfd_create", errno.ENOSYS, "seccomp"),
        (os, "ftruncate", errno.EFBIG, "`ulimit -f`"),
        (mmap, "mmap", errno.ENOMEM, "vm.overcommit_memory"),
    ],
)
def test_a_board_that_the_system_refuses_is_said_in_one_line_and_keeps_nothing_open(
    monkeypatch: pytest.MonkeyPatch, module: object, call: str, number: int, named: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    before = open_descriptors()
    monkeypatch.setattr(module, call, refuse)
    with pytest.raises(PreflightError, match=r"^cannot make the board of [0-9.]+ [KM]iB: ") as caught:
        Board(_LAYOUT)
    assert named in str(caught.value)
    assert open_descriptors() == before


def test_a_new_board_is_all_zero(board: Board) -> None:
    assert not any(cells.any() for cells in _cells(board))


def test_the_arrays_cover_the_region_and_none_lies_on_another(board: Board) -> None:
    for number, cells in enumerate(_cells(board), 1):
        assert not cells.any(), number  # nobody before wrote here
        cells[...] = number
    assert sum(cells.size for cells in _cells(board)) * 8 == _LAYOUT.size_bytes
    assert all((cells == number).all() for number, cells in enumerate(_cells(board), 1))


def test_its_size_is_sealed_a_worker_that_shrank_it_would_end_the_others(board: Board) -> None:
    for size in (0, _LAYOUT.size_bytes - 1, _LAYOUT.size_bytes + 1):
        with pytest.raises(PermissionError):
            os.ftruncate(board.fd, size)
    assert os.fstat(board.fd).st_size == _LAYOUT.size_bytes
    with pytest.raises(PermissionError):
        fcntl.fcntl(board.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    assert not os.get_inheritable(board.fd)


def test_the_layout_s_words_are_the_sum_of_its_parts() -> None:
    histogram = 6 + counts_length(10**6)  # count, sum, min, max, dropped, carry
    page = len(COUNTERS) + len(STEPS) * 192 + len(HISTOGRAMS) * histogram
    assert (_LAYOUT.histogram_words, _LAYOUT.page_words) == (histogram, page)
    assert _LAYOUT.size_bytes == 8 * 2 * (len(STATE) + 3 * page)


def test_a_second_mapping_of_the_fd_sees_what_the_first_wrote(board: Board) -> None:
    other = Board(_LAYOUT, os.dup(board.fd))
    board.slots[1].set("open", 2**62)
    board.slots[1].pages[2].add("sent", 7)
    board.slots[0].pages[0].histograms["latency"][1][5] = 3
    assert other.slots[1].get("open") == 2**62
    assert other.slots[1].pages[2].counters[COUNTERS.index("sent")] == 7
    assert other.slots[0].pages[0].histograms["latency"][1][5] == 3
    other.close()


def test_what_a_process_wrote_is_read_by_another_even_after_it_was_killed(board: Board) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        board.slots[1].pages[1].add("replied", 41)
        board.slots[1].set("sequence", 1)
        os.write(writer, b"x")
        signal.pause()
        os._exit(1)
    assert os.read(reader, 1) == b"x"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    assert board.slots[1].pages[1].counters[COUNTERS.index("replied")] == 41
    assert board.slots[1].get("sequence") == 1
    assert not board.slots[0].state.any()


def test_counters_and_errors_add_up_under_their_names(board: Board) -> None:
    page = board.slots[0].pages[0]
    page.add("sent")
    page.add("sent", 4)
    page.add_error("connect", errno.ECONNREFUSED)
    page.add_error("connect", errno.ECONNREFUSED, 2)
    page.add_error("receive", OwnError.WRONG_BYTES)
    assert page.counters[COUNTERS.index("sent")] == 5
    assert page.errors[STEPS.index("connect"), errno.ECONNREFUSED] == 3
    assert page.errors[STEPS.index("receive"), OwnError.WRONG_BYTES] == 1
    assert page.errors.sum() == 4


@pytest.mark.parametrize("number", [0, -1, 192, 10**6])
def test_an_error_number_that_no_counter_has_is_counted_as_unknown(board: Board, number: int) -> None:
    page = board.slots[0].pages[0]
    page.add_error("send", number)
    assert page.errors[STEPS.index("send"), OwnError.UNKNOWN] == 1
    assert page.errors.sum() == 1


@pytest.mark.parametrize("call", [lambda page: page.add("sends"), lambda page: page.add_error("sending", 5)])
def test_a_name_that_the_board_does_not_have_is_a_bug(board: Board, call: object) -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        call(board.slots[0].pages[0])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (errno.ECONNREFUSED, "ECONNREFUSED"),
        (errno.ETIMEDOUT, "ETIMEDOUT"),
        (OwnError.WRONG_BYTES, "WRONG_BYTES"),
        (OwnError.REPLY_TIMEOUT, "REPLY_TIMEOUT"),
        (139, "ERRNO_139"),
    ],
)
def test_errors_have_the_kernel_s_names_or_ours(number: int, name: str) -> None:
    assert error_name(number) == name


def test_what_is_wrong_with_a_reply_has_a_number_at_a_step_of_its_own() -> None:
    for error in REPLY_ERRORS:
        step, number = place_of(error)
        assert (step, error_name(number, step)) == ("reply", error)
        assert number > 0  # as on the board, where 0 is no number of an error
    assert place_of("WRONG_BYTES") == ("receive", OwnError.WRONG_BYTES)


def test_our_error_numbers_are_above_the_kernel_s_and_fit_the_board(board: Board) -> None:
    ours = [value for name, value in vars(OwnError).items() if name.isupper()]
    assert len(set(ours)) == len(ours)
    assert min(ours) > max(errno.errorcode)
    assert max(ours) < board.slots[0].pages[0].errors.shape[1]


@pytest.mark.parametrize("layout", [BoardLayout(3, 2, 10**9), BoardLayout(2, 3, 10**9, has_journeys=True, limit=5)])
def test_all_slots_at_once_show_what_each_one_has(layout: BoardLayout) -> None:
    board = Board(layout)
    for index, slot in enumerate(board.slots):
        slot.set("settled", 10 + index)
        for at, page in enumerate(slot.pages):
            page.add("replied", 100 * index + at)
            page.add_error("receive", 104, 7 + at)
    assert board.states[:, STATE.index("settled")].tolist() == [slot.get("settled") for slot in board.slots]
    for slot, counters, errors in zip(board.slots, board.counters, board.errors, strict=True):
        assert [page.counters.tolist() for page in slot.pages] == counters.tolist()
        assert [page.errors.tolist() for page in slot.pages] == errors.tolist()
    board.close()
