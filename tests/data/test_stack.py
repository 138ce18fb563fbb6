import numpy as np

from limner.data.stack import Stack

SINGLES = np.arange(5 * 4, dtype=np.uint8).reshape(5, 1, 2, 2)
CHOSEN = np.array([[0, 1, 2], [4, 4, 0]])


def test_channels_are_the_chosen_pictures():
    stack = Stack(SINGLES, CHOSEN)
    expected = np.stack([np.stack([SINGLES[i, 0] for i in row]) for row in CHOSEN])
    assert stack.shape == expected.shape == (2, 3, 2, 2) and stack.dtype == np.uint8 and len(stack) == 2
    assert (stack[1] == expected[1]).all()
    assert (stack[np.array([1, 0])] == expected[::-1]).all()
    assert (stack[0:2] == expected).all()
    assert (np.stack(list(stack)) == expected).all()
