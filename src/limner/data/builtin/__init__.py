"""The sets that limner knows by name. One more is one file here, and its record in this list."""

from limner.data.builtin import digits, emoji, mixtures, mnist, stacked
from limner.data.builtin.record import BuiltIn

BUILT_IN: dict[str, BuiltIn] = {
    record.name: record for record in (mnist.SET, digits.SET, *stacked.SETS, *emoji.SETS, *mixtures.SETS)
}
