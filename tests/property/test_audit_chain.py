"""Whatever somebody does to a chain: it is found. Whatever a crash does to it: it is not mistaken for that."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from chaosext.safety.hash_chain import Chain, ChainHead, Wrong, account_for, link, read, verify

RUNS = st.lists(st.text(max_size=12), min_size=1, max_size=8)


def chained(runs: list[str]) -> tuple[list[bytes], ChainHead]:
    lines, head = [], ChainHead()
    for run in runs:
        line, head = link({"event": "armed", "run": run}, head)
        lines.append(line)
    return lines, head


def broken(data: bytes, head: ChainHead) -> Chain:
    chain = verify(data, head)
    assert chain.fault is not None
    return chain


@given(runs=RUNS)
def test_a_chain_as_it_was_written_is_whole(runs: list[str]) -> None:
    lines, head = chained(runs)
    chain = verify(b"".join(lines), head)
    assert chain.fault is None
    assert [entry.says["run"] for entry in chain.entries] == runs
    assert chain.entries[-1].end == head


@given(runs=RUNS, data=st.data())
def test_any_single_edit_is_found(runs: list[str], data: st.DataObject) -> None:
    lines, head = chained(runs)
    text = b"".join(lines)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    edited = text[:start] + data.draw(st.binary(max_size=40)) + text[end:]
    assume(edited != text)
    if edited.startswith(text) and verify(edited, head).fault is None:  # nothing written was edited
        assert begins_as_an_entry(edited.removeprefix(text), after=head)
        return
    fault = broken(edited, head).fault
    assert fault is not None
    assert fault.line <= text[:start].count(b"\n") + 2


def begins_as_an_entry(torn: bytes, after: ChainHead) -> bool:
    """Whether a crash could have left just that behind `after`: zeros are blocks that the machine lost."""
    start = f'{{"seq":{after.seq + 1},"prev":"{after.hash}",'.encode()
    line = torn.removesuffix(b"\n").rstrip(b"\0")
    return torn != b"\n" and (start.startswith(line) or line.startswith(start))


@given(runs=RUNS, which=st.integers(0, 7))
def test_an_entry_taken_out_is_missing_or_the_end_is_truncated(runs: list[str], which: int) -> None:
    lines, head = chained(runs)
    which %= len(lines)
    fault = broken(b"".join((*lines[:which], *lines[which + 1 :])), head).fault
    assert fault is not None
    last = which == len(lines) - 1
    assert (fault.line, fault.what) == (which + 1, Wrong.TRUNCATED if last else Wrong.MISSING)


@given(runs=RUNS.filter(lambda runs: len(runs) > 1), data=st.data())
def test_entries_that_changed_places_are_reordered(runs: list[str], data: st.DataObject) -> None:
    lines, head = chained(runs)
    one, other = sorted(
        data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2, unique=True))
    )
    lines[one], lines[other] = lines[other], lines[one]
    fault = broken(b"".join(lines), head).fault
    assert fault is not None
    assert (fault.line, fault.what) == (one + 1, Wrong.REORDERED)


@given(runs=RUNS, which=st.integers(0, 7))
def test_an_entry_that_is_there_twice_is_found(runs: list[str], which: int) -> None:
    lines, head = chained(runs)
    which %= len(lines)
    fault = broken(b"".join((*lines[: which + 1], lines[which], *lines[which + 1 :])), head).fault
    assert fault is not None
    assert (fault.line, fault.what) == (which + 2, Wrong.REORDERED)


@given(runs=RUNS, which=st.integers(0, 7))
def test_an_entry_written_anew_with_a_hash_of_its_own_is_found(runs: list[str], which: int) -> None:
    lines, head = chained(runs)
    which %= len(lines)
    before = chained(runs[:which])[1]
    forged, _ = link({"event": "armed", "run": "another run altogether"}, before)
    fault = broken(b"".join((*lines[:which], forged, *lines[which + 1 :])), head).fault
    assert fault is not None
    assert (fault.line, fault.what) in {(which + 1, Wrong.ALTERED), (which + 1, Wrong.TRUNCATED)}


@given(runs=RUNS, end=st.integers(0, 10_000))
def test_whatever_is_cut_off_at_the_end_is_found(runs: list[str], end: int) -> None:
    lines, head = chained(runs)
    text = b"".join(lines)
    fault = broken(text[: end % len(text)], head).fault
    assert fault is not None
    assert fault.what is Wrong.TRUNCATED


@given(runs=RUNS, run=st.text(max_size=12), end=st.integers(0, 10_000), zeros=st.integers(0, 9))
def test_a_crash_at_any_byte_is_not_mistaken_for_tampering_and_the_chain_goes_on(
    runs: list[str], run: str, end: int, zeros: int
) -> None:
    lines, head = chained(runs)
    torn_line, _ = link({"event": "armed", "run": run}, head)
    torn = torn_line[: end % (len(torn_line) - 1)] + b"\0" * zeros
    text = b"".join(lines) + torn
    chain = verify(text, head)
    assert chain.fault is None
    assert chain.torn == torn
    assume(torn)
    behind = ChainHead(seq=head.seq, hash=head.hash, size=head.size + len(torn) + 1)
    account, head = link(account_for(torn + b"\n"), behind)
    last, head = link({"event": "armed", "run": "after"}, head)
    chain = verify(text + b"\n" + account + last, head)
    assert chain.fault is None
    assert chain.entries[-1].says["run"] == "after"


@given(junk=st.binary(min_size=1, max_size=60).filter(lambda junk: junk.strip(b"\0") and junk[:1] != b"{"))
def test_what_does_not_begin_as_the_next_entry_is_no_crash_of_ours(junk: bytes) -> None:
    lines, head = chained(["r"])
    assert read(junk).fault is not None
    fault = broken(b"".join(lines) + junk, head).fault
    assert fault is not None
    assert (fault.line, fault.what) == (2, Wrong.ALTERED)


@given(runs=RUNS, seq=st.integers(0, 9), size=st.integers(0, 3000), own_hash=st.integers(0, 8))
def test_no_head_passes_but_the_last_and_the_one_before_it(
    runs: list[str], seq: int, size: int, own_hash: int
) -> None:
    lines, head = chained(runs)
    hashes = [chained(runs[:count])[1].hash for count in range(len(runs) + 1)]
    other = ChainHead(seq=seq, hash=hashes[own_hash % len(hashes)], size=size)
    chain = verify(b"".join(lines), other)
    assert (chain.fault is None) == (other in (head, chained(runs[:-1])[1]))
