"""What the numbers of a board are called, in the order in which they stand there.

The compiled engine has the same lists (engine/native/board.h), and engine/compiled.py compares them when it is loaded.
"""

from __future__ import annotations

import errno

from loadkit.wire.protocol import REPLY_ERRORS

__all__ = [
    "COUNTERS",
    "EXTRA_BYTES",
    "HISTOGRAMS",
    "JOURNEY_SOURCES",
    "LAST_OWN",
    "MOST_SETTINGS",
    "PEER_KINDS",
    "PROOFS",
    "SETTING_WORDS",
    "STAGE",
    "STAGES",
    "STAMP_SOURCES",
    "STATE",
    "STEPS",
    "TIMES",
    "WAKEUP_SOURCES",
    "WRONG_WORDS",
    "OwnError",
    "error_name",
    "place_of",
]

# The number of socket options that a slot has room for, and the words of each: the length of its value, then the value.
MOST_SETTINGS, SETTING_WORDS = 8, 3
# The words that a slot has for a wrong reply: as much as a report shows of it.
WRONG_WORDS = 1 + 8
STATE = (
    "sequence",  # odd while a batch is being folded in
    "phase",  # index of the phase the worker is in
    "open",  # connections open now
    "peak",  # the most that were open at once
    "settled",  # first connections that opened or failed: when all have, the ramp is over
    "settled_ns",  # when the last of them did
    "finished_ns",  # when the worker was done with its last message; 0 before
    "core",  # the core that it is pinned to; -1 if it is not pinned
    "max_rss_bytes",
    "generation",  # how many processes had this slot before
    "wakeup_source",  # index in WAKEUP_SOURCES
    "journeys",  # 1: the pages have STAGES and tails
    "journey_source",  # index in JOURNEY_SOURCES
    "stamp_source",  # index in STAMP_SOURCES
    "answered",  # connections that are open now and had their first reply
    "replied_ns",  # when the last reply came; 0 before the first
    "proved",  # index in PROOFS: whether the target's first reply was right
    "standstill_ns",  # the longest standstill of the measured phases, and when it began
    "standstill_at_ns",
    "stranded_ns",  # when its last connection was gone and no other could open; 0 before
    # What the kernel says of the socket options of a connection (measure/settings.py): length and value of each.
    *(f"setting_{word}" for word in range(MOST_SETTINGS * SETTING_WORDS)),
    # How the first reply begins that did not say what it should (measure/wrong.py): its length, then bytes.
    *(f"wrong_{word}" for word in range(WRONG_WORDS)),
)
COUNTERS = (
    "asked",  # connects begun
    "opened",
    "failed_connects",
    "closed",  # open connections that this end or the peer closed
    "intended",  # messages that were due
    "sent",
    "replied",
    "failed",  # sent, and their connection broke, or the time-out passed
    "unanswered",  # sent, and the run ended first
    "unsent",  # due, and never sent
    "waited",  # had to wait for an earlier reply (depth), or for room in the socket
    # What happened while the phase lasted, whatever phase a message or connection belongs to: rates are made of these.
    "sent_bytes",
    "received_bytes",
    "window_opened",
    "window_sent",
    "window_replied",
    "stood",  # replies that are in `disturbed` because of a standstill; the others are there because they were late
    "beats",  # waits that ended only to see whether the worker stands still; they are among `waits`
    "cpu_user_ns",
    "cpu_system_ns",
    "run_delay_ns",  # runnable, and not running
    "voluntary_switches",  # gave the core away to wait; not a count of wake-ups
    "involuntary_switches",  # lost it to another process
    "waits",  # calls of epoll_wait; this and the following are 0 if the engine does not count them
    "wakeups",  # … that returned with at least one event
    "events",
    "blocked_ns",  # inside epoll_wait
    "busy_ns",  # between one return and the next call
    "events_in",  # by flag; an event may have several
    "events_out",
    "events_err",
    "events_hup",
    "events_rdhup",
    "probes",  # connections of other blast ends' probes
    "probe_events",  # of our own probes and those of others; they are among `events`
    "probe_wakeups",  # … that brought nothing else
    "probes_lost",  # probes whose connection ended
    "probes_unanswered",
    "journeys_stepped",  # left out because the clock was set meanwhile
    "journeys_disordered",  # … because a stamp was before the one ahead of it
    "journeys_unstamped",  # … because the kernel did not stamp all of its way
    "stamps_stepped",  # stamped reads left out because the clock was set meanwhile
    "tcp_samples",  # readings of TCP_INFO: measure/tcp_info.py
    "tcp_cwnd",  # the sum of their congestion windows, in segments
    # Of the watched connections, what came in the measured time: measure/tcp_watch.py.
    "tcp_retransmits",
    "tcp_busy_us",
    "tcp_rwnd_limited_us",
    "tcp_sndbuf_limited_us",
    "tcp_watched",  # the number of watched connections
    # PROXY headers that came at the serve end, by version, and those of both that name no addresses of TCP.
    "proxy_v1",
    "proxy_v2",
    "proxy_unknown",
)
# What counts the calls of epoll_wait: nothing; the compiled engine; the hook in libuv's import table; a selector of
# loadkit's under asyncio; libuv's own metrics, which know only the turns of the loop and the events.
WAKEUP_SOURCES = ("none", "native", "hook", "selector", "uv_metrics")
# What answers the probes of a journey: a serve end on this machine, a serve end with another clock, any echo server.
PEER_KINDS = ("same_clock", "other_clock", "foreign")
# What answers them, or why there are no probes.
JOURNEY_SOURCES = (
    "none",  # not requested
    *PEER_KINDS,
    "not_opened",
    "no_stamps",
    "no_waits",
    "not_compiled",
    "refused",
    "full",
    "no_echo",
)
# Whether the target's first reply was right: not known yet, right, or the first connection failed.
PROOFS = ("unknown", "right", "failed")
# Whether the kernel stamps what comes in on ordinary connections, or why not.
STAMP_SOURCES = ("none", "rx", "refused", "no_hook")
TIMES = ("connect", "handshake", "first_byte", "latency", "service", "lateness", "held")  # in nanoseconds
# disturbed: latencies with a standstill, or too much lateness of our own, in them. standstill: how long each took.
# batch: the events of one wake-up. busy: the time between one return of epoll_wait and the next call. unread: from the
# kernel's stamp until the read. rtt to delivery_rate: of TCP_INFO, delivery_rate in bytes per second. per_connection,
# in the first phase only: the replies of each connection that was open at the end; at a serve end the bytes sent back
# on each connection that ended.
HISTOGRAMS = (
    *TIMES,
    "disturbed",
    "standstill",
    "batch",
    "busy",
    "unread",
    "rtt",
    "min_rtt",
    "rttvar",
    "delivery_rate",
    "per_connection",
)
# A probe's way, in order, and what it adds up to (engine/native/probes.h). `network` stands for there and back where
# the other end has another clock, `peer` for all of the other end if that end reports no stages.
STAGES = (
    "held",
    "late",
    "send",
    "queue",
    "there",
    "serve_busy",
    "serve_wake",
    "serve_batch",
    "serve_code",
    "back",
    "network",
    "peer",
    "busy",
    "wake",
    "batch",
    "read",
    "total",
)
STAGE = "stage_"  # begins the names of the stages' histograms
# Where an error happened. At `reply` it is a reply that breaks its rule (wire/protocol.py), at `handshake` what goes
# wrong between the connect and the first message (wire/setup.py).
STEPS = ("connect", "send", "receive", "close", "reply", "handshake")


class OwnError:
    """Error numbers of ours, above the kernel's: what goes wrong without an errno."""

    WRONG_BYTES = 140
    CLOSED_BY_PEER = 141
    REPLY_TIMEOUT = 142
    EXTRA_BYTES = 143
    CONNECT_TIMEOUT = 144
    UNKNOWN = 145
    RUN_ENDED = 146  # still connecting when the run was over
    AT_LIMIT = 147  # the serve end has --max-connections open
    APP_FAILED = 148  # an exception came out of the app that the serve end runs
    NOT_ACCEPTED = 149  # the kernel said that it was open, and the peer never acknowledged a byte: its accept queue
    CUT = 150  # still open when the serve end ended
    SEND_TIMEOUT = 151  # the peer replied to a message, and did not take the rest of it
    HANDSHAKE_TIMEOUT = 152  # established, and not ready for its first message in time
    NO_PROXY_HEADER = 153  # a connection of the serve end began with something else than a PROXY header
    PROXY_TIMEOUT = 154  # … or its header was not whole in time


# Behind these, at the step `handshake`, is what can be wrong with a reply: one number for each of REPLY_ERRORS.
LAST_OWN = 160
# What came is more than what was asked for.
EXTRA_BYTES = "EXTRA_BYTES"
_OWN_NAMES = {value: name for name, value in vars(OwnError).items() if name.isupper()}


def place_of(error: str, is_setup: bool = False) -> tuple[str, int]:
    """Returns the step, and its number there, at which what is wrong with a reply is counted."""
    if is_setup:
        return "handshake", _number_of(error)
    if error in REPLY_ERRORS:
        return "reply", REPLY_ERRORS.index(error) + 1
    return "receive", getattr(OwnError, error)


def error_name(number: int, step: str = "receive") -> str:
    """Returns `ECONNREFUSED`, or our own name such as `WRONG_BYTES`; the step `reply` has numbers of its own."""
    if step == "reply":
        return REPLY_ERRORS[number - 1]
    if number > LAST_OWN:
        return REPLY_ERRORS[number - LAST_OWN - 1]
    return _OWN_NAMES.get(number) or errno.errorcode.get(number) or f"ERRNO_{number}"


def _number_of(error: str) -> int:
    number: int = LAST_OWN + 1 + REPLY_ERRORS.index(error) if error in REPLY_ERRORS else getattr(OwnError, error)
    return number
