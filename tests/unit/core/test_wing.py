"""Finding domains, and saying what is missing of one."""

import pytest

from stepward.core import wing


class _Point:
    def load(self):
        raise ModuleNotFoundError("No module named 'numba'", name="numba")


def test_a_domain_whose_libraries_are_missing_says_which_and_how_to_get_them(monkeypatch):
    monkeypatch.setattr(wing, "plugin_points", lambda group: {"pde": _Point()})
    with pytest.raises(ValueError, match=r"expected the package numba, .*pip install 'stepward\[pde\]'"):
        wing.find_wing("pde")
