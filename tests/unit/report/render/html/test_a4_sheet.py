"""The sheet of A4: whatever stands on it, everything that it shows fits, and it says how much it does not show."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaosext.report.render.html.a4_sheet import (
    HEIGHT_PT,
    LEADING_PT,
    MOST_CODE_ROWS,
    MOST_ROWS,
    TITLE_PT,
    WIDTH_PT,
    BlockKind,
    SheetBlock,
    clipped,
    code_rows,
    fitted,
    rows,
    sheet_of_a4,
    width_pt,
)

TEXTS = st.text(st.sampled_from("iW漢 .mé…-"), max_size=600)
BLOCKS = st.builds(
    SheetBlock,
    title=st.sampled_from(["", "Reasons"]),
    lines=st.lists(TEXTS.filter(str.strip), max_size=40).map(tuple),
    kind=st.sampled_from([BlockKind.LINES, BlockKind.BOLD, BlockKind.SOFT]),
    least=st.integers(0, 9),
)


def height_pt(blocks: tuple[SheetBlock, ...]) -> float:
    """As high as the blocks are, each row counted."""
    scale = {BlockKind.BOLD: 1.14}
    texts = ((line, scale.get(block.kind, 1.0)) for block in blocks for line in block.lines)
    title_pt = sum(
        (TITLE_PT if block.title else 0) + (LEADING_PT if block.left_off else 0) for block in blocks
    )
    return title_pt + sum(LEADING_PT * rows(line, WIDTH_PT - 8, by) for line, by in texts)


@given(blocks=st.lists(BLOCKS, max_size=9).map(tuple), height=st.floats(0, HEIGHT_PT))
def test_the_blocks_fit_and_count_what_they_leave_out(blocks: tuple[SheetBlock, ...], height: float) -> None:
    found = fitted(blocks, height)
    assert height_pt(found) <= height + 1e-6
    assert sum(len(block.lines) + block.left_off for block in found) <= sum(
        len(block.lines) for block in blocks
    )
    assert all(len(block.lines) + block.left_off for block in found)


@given(text=TEXTS, most=st.integers(1, 5))
def test_a_clipped_text_takes_no_more_rows_and_says_that_it_is_clipped(text: str, most: int) -> None:
    found = clipped(text, WIDTH_PT, most)
    assert rows(found, WIDTH_PT) <= most
    whole = " ".join(text.split())
    assert found == whole or found.endswith("…")


def test_a_short_text_is_left_as_it_is() -> None:
    assert (
        clipped("DNS resolvable after the heal in 0%", WIDTH_PT, MOST_ROWS)
        == "DNS resolvable after the heal in 0%"
    )


def test_a_wide_text_needs_more_rows_than_a_narrow_one() -> None:
    assert width_pt("W" * 50) > 2 * width_pt("i" * 50)
    assert rows("漢" * 500, WIDTH_PT) > rows("i" * 500, WIDTH_PT)


def test_commands_are_printed_whole_or_not_at_all() -> None:
    short, long = "kubectl get nodes", "x" * 10_000
    blocks = (SheetBlock(title="Commands", lines=(long, short), kind=BlockKind.CODE, least=2),)
    assert code_rows(long) > MOST_CODE_ROWS
    assert fitted(blocks, HEIGHT_PT) == ()
    (found,) = fitted(
        (SheetBlock(title="Commands", lines=(short, long), kind=BlockKind.CODE, least=2),), HEIGHT_PT
    )
    assert (found.lines, found.left_off) == ((short,), 1)


def test_what_matters_most_has_its_first_lines_before_others_have_their_rest() -> None:
    blocks = (
        SheetBlock(title="Facts", lines=("line",) * 200, least=2),
        SheetBlock(title="Reasons", lines=("reason",) * 3, least=3),
    )
    facts, reasons = fitted(blocks, 200)
    assert (len(reasons.lines), reasons.left_off) == (3, 0)
    assert 2 < len(facts.lines) < 200


def test_a_sheet_of_nothing_but_its_title() -> None:
    sheet = sheet_of_a4("Go", "T" * 5000, "", ())
    assert sheet.title.endswith("…")
    assert sheet.blocks == ()


def test_a_block_that_does_not_fit_at_all_is_named() -> None:
    blocks = (
        SheetBlock(title="Reasons", lines=("reason",) * 500, least=500),
        SheetBlock(title="Assumptions", lines=("assumed",)),
    )
    sheet = sheet_of_a4("No-go", "Title", "", blocks)
    assert [block.title for block in sheet.blocks] == ["Reasons"]
    assert sheet.foot == ("Not on this sheet: Assumptions.",)
