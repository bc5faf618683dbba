"""The analysts' notebooks, each run from its first cell to its last against a demo; their assertions are the tests."""

import json
import os
import pathlib
import subprocess

import pytest

from served import key, served

NOTEBOOKS = pathlib.Path(__file__).parent.parent.parent / "notebooks"
# The interpreter of the locked environment, notebooks/requirements.txt.
PYTHON = os.environ["NOTEBOOKS_PYTHON"]


@pytest.fixture(scope="module")
def door():
    with served(["flight"]) as (_, doors):
        yield {"GRANARY_DOOR": doors["flight"], "GRANARY_KEY": key("sql", "billing.read")}


def notebooks():
    return sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))


def test_there_are_notebooks_and_none_keeps_a_customers_figures():
    assert notebooks() == ["churn.ipynb", "reconciliation.ipynb", "revenue.ipynb"]
    for name in notebooks():
        cells = json.loads((NOTEBOOKS / name).read_text())["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert len(code) >= 5 and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code), name


@pytest.mark.parametrize("name", notebooks())
def test_every_figure_adds_up(name, door, tmp_path):
    output = tmp_path / name
    command = [PYTHON, "-m", "jupyter", "execute", "--timeout=300", f"--output={output}", str(NOTEBOOKS / name)]
    environment = {**os.environ, **door, "PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(tmp_path), "IPYTHONDIR": str(tmp_path)}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert answer.returncode == 0, answer.stderr[-6000:]
    outputs = [output for cell in json.loads(output.read_text())["cells"] for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 1, "a chart is drawn"
    assert not any(output["output_type"] == "error" for output in outputs)
