from array import array
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

STATE: tuple[str, ...]
COUNTERS: tuple[str, ...]
HISTOGRAMS: tuple[str, ...]
STAGES: tuple[str, ...]
HEAD: tuple[str, ...]
STEPS: tuple[str, ...]
PROOFS: tuple[str, ...]
PROBE_PEERS: tuple[str, ...]
PEER_KINDS: tuple[str, ...]
BLAST_ROWS: tuple[str, ...]
PHASE_ROWS: tuple[str, ...]
ROUTE_ROWS: tuple[str, ...]
SERVE_ROWS: tuple[str, ...]
RULE_ROWS: tuple[str, ...]
WIRES: tuple[str, ...]
REPLY_ERRORS: tuple[str, ...]
JUDGES: tuple[str, ...]
FRESH: tuple[str, ...]
SETTING_ROWS: tuple[str, ...]
# Other numbers are there to be compared (engine/compiled.py, tests/engine/native/test_board.py).
HELLO_BYTES: int
TRAILER_BYTES: int
MOST_ANSWERS: int
REFUSED_OFF: int
REFUSED_FULL: int
AWAKE_NS: int
TURN_HEARD: int
TURN_PHASE: int
TURN_DONE: int
CONNECTION_BYTES: int
PEER_BYTES: int
HELLO_TEXT: str
WELCOME_TEXT: str
REFUSAL_TEXT: str

# Of the parts of a script, as native/rows.py makes them; `typing.Buffer` came with Python 3.12.
Buffer = bytes | bytearray | memoryview | array[int]

def try_script(
    script: tuple[Buffer, int, Buffer, Buffer, int, int],
    place: tuple[int, int, int],
    fresh: tuple[int, int, int, int, int],
    reply: bytes,
    /,
) -> tuple[bytes, int, int, int, int]: ...
def take_replies(
    rule: Mapping[str, int | bytes], progress: tuple[int, int], chunk: bytes, /
) -> tuple[tuple[int, int], int, int]: ...
def random_times(
    begin_ns: int,
    until_ns: int,
    hz: float,
    change_hz_per_s: float,
    seed: int,
    index: int,
    of: int,
    most: int,
    cut_ns: int,
    /,
) -> tuple[list[int], int]: ...
def judge_reply(rule: Mapping[str, int | bytes], pieces: tuple[bytes, ...], /) -> bool: ...
def draw_values(
    pauses: tuple[bytes, bytes, int, int, int] | tuple[()], number: int, count: int, is_under_way: bool, /
) -> list[int]: ...
def take_header(data: bytes, piece: int, /) -> tuple[int, int, int, bool]: ...
def give_back_zeros(object: object, /) -> int: ...
def connection_number(machine: bytes, fd: int, is_accepted: bool, number: int, /) -> int: ...

class Blast:
    def __new__(
        cls,
        *,
        words: NDArray[np.int64],
        control_fd: int,
        options: Mapping[str, int],
        script: tuple[Buffer, int, Buffer, Buffer, int, int],
        rule: Mapping[str, int | bytes],
        setup: tuple[tuple[bytes, Mapping[str, int | bytes] | None], ...],
        phases: tuple[Mapping[str, float], ...],
        routes: tuple[Mapping[str, int | str | None], ...],
        settings: tuple[Mapping[str, int | bytes], ...],
        probes: tuple[int, int, bytes, tuple[tuple[int, int], ...]] | tuple[()],
        pauses: tuple[bytes, bytes, int, int, int] | tuple[()],
    ) -> Blast: ...
    def fileno(self) -> int: ...
    def open_first(self, at_ns: int) -> None: ...
    def came(self) -> bytes: ...
    def start(self, start_ns: int, connect_hz: float, place: int, count: int, lanes: int) -> None: ...
    def start_after(self, words: NDArray[np.int64], connects: int) -> None: ...
    def begin_phases(self, at_ns: int) -> None: ...
    def stop(self, longest_ns: int) -> None: ...
    def stop_opening(self) -> None: ...
    def look_at_tcp(self, most: int, /) -> None: ...
    def watch_tcp(self, phase: int, /) -> None: ...
    def leave(self) -> None: ...
    def turn(self, linger_ns: int) -> int: ...
    def close(self) -> None: ...

class Serve:
    def __new__(
        cls,
        *,
        words: NDArray[np.int64],
        control_fd: int,
        options: Mapping[str, int],
        listeners: tuple[int, ...],
        settings: tuple[Mapping[str, int | bytes], ...],
        tokens: NDArray[np.int64] | None,
        machine: bytes,
    ) -> Serve: ...
    def fileno(self) -> int: ...
    def stop(self, grace_ns: int, settle_ns: int) -> None: ...
    def leave(self) -> None: ...
    def turn(self, linger_ns: int) -> int: ...
    def close(self) -> None: ...

class Prober:
    def __new__(
        cls,
        *,
        words: NDArray[np.int64],
        phases: int,
        probes: tuple[int, int, bytes, tuple[tuple[int, int], ...]] | tuple[()],
    ) -> Prober: ...
    def fileno(self) -> int: ...
    def begin_phase(self, index: int, at_ns: int, /) -> None: ...
    def start(self, at_ns: int, /) -> None: ...
    def stop(self) -> None: ...
    def send_due(self) -> int | None: ...
    def receive(self, call_ns: int, return_ns: int, count: int, /) -> int | None: ...
    def close(self) -> None: ...

class Answers:
    def __new__(cls, *, words: NDArray[np.int64], machine: bytes, peers: int, idle_timeout: int) -> Answers: ...
    def fileno(self) -> int: ...
    def greet(self, fd: int, hello: bytes, /) -> bytes | None: ...
    def end_idle(self) -> None: ...
    def receive(self, call_ns: int, return_ns: int, count: int, /) -> None: ...
    def count(self) -> int: ...
    def close(self) -> None: ...
