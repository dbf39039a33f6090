from pathlib import Path

import pytest

from collectors.contract.config_problems import ConfigError, read_toml


@pytest.mark.parametrize("number", ["1" * 4301, "-" + "1" * 100_000, "0x" + "f" * 5000])
def test_an_integer_of_thousands_of_digits_is_reported_as_not_toml(
    tmp_path: Path, number: str
) -> None:
    file = tmp_path / "line1.toml"
    file.write_text("port = " + number)
    with pytest.raises(ConfigError) as caught:
        read_toml(file)
    (problem,) = caught.value.problems
    assert (problem.code, problem.file) == ("not_toml", str(file))
    assert "4300 digits" in problem.message("en")
    assert "4300 digits" in problem.message("zh-CN")
