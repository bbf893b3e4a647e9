import numpy as np
from numpy.typing import NDArray

STATE: tuple[str, ...]
COUNTERS: tuple[str, ...]
HISTOGRAMS: tuple[str, ...]
STEPS: tuple[str, ...]
PROOFS: tuple[str, ...]
ERRNOS: int
HEARD: int
PHASE: int
DONE: int
AWAKE_NS: int
TAIL_ROWS: int
TOKENS_HEAD_WORDS: int
STAGES: tuple[str, ...]
HELLO_BYTES: int
TRAILER_BYTES: int
LEAST_PROBED_BYTES: int
MOST_PROBED_BYTES: int
MOST_ANSWERS: int
REFUSED_OFF: int
REFUSED_FULL: int
HELLO_TEXT: str
WELCOME_TEXT: str
REFUSAL_TEXT: str
CONNECTION_BYTES: int
PEER_BYTES: int

def give_back_zeros(object: object, /) -> int: ...
def connection_number(machine: bytes, fd: int, is_accepted: bool, number: int, /) -> int: ...

class Blast:
    def __new__(
        cls,
        *,
        words: NDArray[np.int64],
        control_fd: int,
        phases: tuple[tuple[int, int, bool, bool, bool, float, float, int, int, int, int], ...],
        routes: tuple[tuple[str | None, str, int, int, int, int, bool], ...],
        port: int,
        index: int,
        of: int,
        size: int,
        period: int,
        depth: int,
        timeout: int,
        connect_timeout: int,
        held: int,
        lifetime: int,
        messages: int,
        most: int,
        opening: int,
        awake: int,
        keepalive: int,
        probes: tuple[int, int, bytes, tuple[tuple[int, int], ...]] | tuple[()],
        stamps: bool,
        endless: bool,
        open_loop: bool,
        check: bool,
        rst: bool,
        edge_triggered: bool,
        choose_ports: bool,
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
        listeners: tuple[int, ...],
        idle_timeout: int,
        tokens: NDArray[np.int64] | None,
        index: int,
        slots: int,
        most_owed: int,
        machine: bytes,
        probes: int,
        stamps: bool,
        edge_triggered: bool,
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
