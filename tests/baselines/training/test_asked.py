"""What a run was asked for against what it began with."""

from pathlib import Path

import pytest

from duologue.baselines.training.asked import require_same
from duologue.baselines.training.files import Json

FOLDER = Path("run")


def test_an_option_that_is_younger_than_the_run_is_no_other_option_where_it_is_not_said() -> None:
    """A run of an older version goes on; what is said of it now, or was said then, makes another run."""

    def asked(**options: Json) -> dict[str, Json]:
        return {"config": options}

    old, new = asked(seed=1), asked(seed=1, base_bits=None)
    require_same(old, new, FOLDER)
    with pytest.raises(ValueError, match="base_bits: absent there, 4 asked for"):
        require_same(old, asked(seed=1, base_bits=4), FOLDER)
    with pytest.raises(ValueError, match="base_bits: 4 there, null asked for"):
        require_same(asked(seed=1, base_bits=4), new, FOLDER)
    with pytest.raises(ValueError, match="seed: 1 there, 2 asked for"):
        require_same(old, asked(seed=2), FOLDER)
