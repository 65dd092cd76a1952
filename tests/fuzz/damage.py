"""Damaged copies of sound bytes: what a broken disk, a cut download or a spiteful sender makes of a file."""

from collections.abc import Callable

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds with some changes: bytes set or flipped, parts cut out, doubled, zeroed, taken from another."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        if not data:
            break
        start = draw(st.integers(0, len(data) - 1))
        end = min(len(data), start + draw(st.sampled_from([1, 2, 4, 16, 200])))
        kind = draw(st.sampled_from(["set", "flip", "cut", "double", "zero", "splice", "end"]))
        if kind == "set":
            data[start:end] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "flip":
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[start:end]
        elif kind == "double":
            data[start:start] = data[start:end]
        elif kind == "zero":
            data[start:end] = bytes(end - start)
        elif kind == "splice":
            other = draw(st.sampled_from(seeds))
            data[start:end] = other[start : start + 64]
        else:
            del data[start:]
    return bytes(data)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 5000)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["<image>", "<video>", "human", "gpt", "no", "1e3", "auto", "question", "-1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
"""What JSON or YAML may hold in place of a setting."""


def refusal_of(read: Callable[[], object], *kinds: type[BaseException]) -> BaseException | None:
    """What an attempt was refused with, if with one of these; any other error goes on."""
    try:
        read()
    except kinds as error:
        return error
    return None
