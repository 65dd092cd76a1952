"""What streams tell is the answer, whatever order it is denoised in."""

from hypothesis import given
from hypothesis import strategies as st

from llava.server.wire import Settled, draft_of

MASK, END = -1, 0
WORDS = " \n.aäß"


def decode(tokens: list[int]) -> str:
    """Bytes of UTF-8, a token each, up to the end; half a character is what decoders make of it."""
    told = tokens[: tokens.index(END)] if END in tokens else tokens
    return bytes(told).decode("utf-8", "replace")


@given(data=st.data(), text=st.text(WORDS, max_size=12))
def test_chunks_join_to_the_answer(data: st.DataObject, text: str) -> None:
    final = [*text.encode(), END, END]
    tokens = [MASK] * len(final)
    settled = Settled(decode=decode, mask_id=MASK)
    told = ""
    for place in data.draw(st.permutations(range(len(final)))):
        tokens[place] = final[place]
        told += settled.more(tokens)
        assert text.strip().startswith(told)
        assert draft_of(tokens, decode, MASK).count("\N{MEDIUM SHADE}") == tokens.count(MASK)
    assert told + settled.rest(decode(final).strip()) == text.strip()
