"""Tables of sensitivities: what is written is read, and a key names one measurement."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import Images, model, normal
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import Model
from onnx_compress.passes.sensitivity.table import LayerSensitivity, SensitivityTable, cache_file, table_key


def conv(seed: int = 0, pads: str = "[1,1,1,1]") -> Model:
    return model(
        f"g (float[N,64,8,8] x) => (float[N,4,H,W] y) {{ y = Conv<pads={pads}>(x, w) }}",
        w=normal(4, 64, 3, 3, seed=seed),
    )


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = SensitivityTable(
        "output", {"a": LayerSensitivity(0.5, ((0.1, 0.02), (0.2, 0.05))), "b": LayerSensitivity(2.0)}
    )
    table.save(tmp_path / "new" / "table.json")
    assert SensitivityTable.load(tmp_path / "new" / "table.json") == table


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 9}', '{"schema": 1, "measure": "output", "layers": {"a": {"gain": -1}}}']
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(CompressError, match=r"table\.json: is no table of sensitivities"):
        SensitivityTable.load(tmp_path / "table.json")


def test_a_key_stands_for_model_data_and_options() -> None:
    images = Images(normal(10, 64, 8, 8))
    key = table_key(conv().graph, images, {"align": 8})
    assert key == table_key(conv().graph, Images(images.x.copy()), {"align": 8})
    others = [
        table_key(conv(seed=1).graph, images, {"align": 8}),
        table_key(conv(pads="[0,0,0,0]").graph, images, {"align": 8}),
        table_key(conv().graph, Images(images.x[::-1]), {"align": 8}),
        table_key(conv().graph, images, {"align": 4}),
    ]
    assert len({key, *others}) == 5


def test_the_cache_lies_where_the_system_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file("ab") == tmp_path / "onnx-compress" / "sensitivity" / "ab.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_file("ab").parts[-4:] == (".cache", "onnx-compress", "sensitivity", "ab.json")
