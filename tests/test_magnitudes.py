"""Magnitudes with an escape, flags and signs come back, whatever their contexts are."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from intfit.coding import magnitudes
from intfit.coding.magnitudes import Coder, Decoder, Encoder, MagnitudeModel, categorical


def model_of(context: int) -> MagnitudeModel:
    """Geometric, the wider the larger the context is; escapes from 1 on."""
    escape = 1 + 3 * context
    return MagnitudeModel(categorical(0.7 ** np.arange(escape + 1.0)), escape)


def flag_model(context: int) -> magnitudes.SymbolModel:
    return categorical(np.array([1.0 + context, 2.0]))


def code(coder: Coder, values: np.ndarray, contexts: np.ndarray) -> np.ndarray:
    """Values through every kind of symbol: a flag for 0, magnitudes less 1, and signs."""
    coded = magnitudes.code_symbols(coder, (values != 0).astype(np.int32), contexts, flag_model)
    nonzero = np.flatnonzero(coded)
    less_one = np.abs(values[nonzero]) - 1
    coded[nonzero] += magnitudes.code_magnitudes(coder, less_one, contexts[nonzero], model_of)
    coded[nonzero] *= magnitudes.code_signs(coder, values[nonzero])
    return coded


LARGEST = 1 << magnitudes.EXCESS_BITS


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.lists(
        st.tuples(st.integers(-9, 9) | st.integers(-LARGEST, LARGEST), st.integers(0, 5)),
        max_size=80,
    )
)
def test_values_come_back(pairs):
    values, contexts = np.array(pairs, np.int32).reshape(-1, 2).T
    encoder = Encoder()
    np.testing.assert_array_equal(code(encoder, values, contexts), values)
    decoder = Decoder(encoder.finish())
    np.testing.assert_array_equal(code(decoder, np.zeros_like(values), contexts), values)


@given(st.lists(st.integers(0, 9), max_size=30))
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_classes_come_in_order_with_their_members_in_order(classes):
    groups = {
        index: members.tolist()
        for index, members in magnitudes.group_by_class(np.array(classes, int))
    }
    assert list(groups) == sorted(set(classes))
    for index, members in groups.items():
        assert members == [place for place, each in enumerate(classes) if each == index]
