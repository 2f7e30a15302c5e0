"""Pipeline configs: what is accepted, what is refused, and that zagg agrees."""

from __future__ import annotations

import copy
import importlib.resources
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from zagg_catalog.config import PipelineConfig, load_config, load_config_from_dict
from zagg_catalog.errors import InvalidConfig
from zagg_catalog.grids import from_config

DROP = object()
HEALPIX: dict[str, Any] = {
    "data_source": {
        "reader": "h5coro",
        "driver": "s3",
        "groups": ["gt1l"],
        "coordinates": {"latitude": "/{group}/lat", "longitude": "/{group}/lon"},
        "variables": {"h_li": "/{group}/h_li"},
    },
    "aggregation": {
        "variables": {
            "count": {"function": "len", "source": "h_li", "dtype": "int32", "fill_value": 0}
        }
    },
    "output": {"grid": {"type": "healpix", "parent_order": 6, "child_order": 12}},
}
RECTILINEAR = HEALPIX | {
    "output": {
        "grid": {
            "type": "rectilinear",
            "crs": "EPSG:3031",
            "resolution": 5000,
            "bounds": [-3200000, -3200000, 3200000, 3200000],
        }
    }
}


def changed(base: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The config with keys of output.grid replaced, or dropped."""
    config = copy.deepcopy(base)
    for key, value in values.items():
        if value is DROP:
            config["output"]["grid"].pop(key)
        else:
            config["output"]["grid"][key] = value
    return config


def with_output(base: dict[str, Any], **values: Any) -> dict[str, Any]:
    config = copy.deepcopy(base)
    config["output"].update(values)
    return config


ACCEPTED = [
    HEALPIX,
    changed(HEALPIX, parent_order=0),
    changed(HEALPIX, parent_order=12),
    changed(HEALPIX, parent_order=6.0),
    changed(HEALPIX, child_order="12"),
    changed(HEALPIX, child_order=29),
    changed(HEALPIX, child_order=14),
    changed(HEALPIX, child_order=14, sharded=False),
    changed(HEALPIX, child_order=14, sharded=None),
    changed(HEALPIX, chunk_inner=6),
    changed(HEALPIX, chunk_inner=12),
    changed(HEALPIX, chunk_inner=None),
    changed(HEALPIX, layout="fullsphere"),
    changed(HEALPIX, indexing_scheme="nested"),
    changed(HEALPIX, emit_cell_ids=True),
    changed(HEALPIX, cell_ids_encoding=None),
    changed(HEALPIX, something_else=1),
    with_output(HEALPIX, aoi_mask=True, store_layout="flat"),
    with_output(HEALPIX, store_layout=None),
    RECTILINEAR,
    changed(RECTILINEAR, crs=3031),
    changed(RECTILINEAR, resolution=[5000, 2500]),
    changed(RECTILINEAR, resolution="5000"),
    changed(RECTILINEAR, bounds=[-10, 0, 99990.5, 33333]),
    changed(RECTILINEAR, chunk_shape=[100, 50]),
    changed(RECTILINEAR, chunk_inner=[64, 32]),
    changed(RECTILINEAR, chunk_inner=[256, 64], sharded=True),
    changed(RECTILINEAR, layout="fullsphere", indexing_scheme="nested", emit_cell_ids=False),
    with_output(RECTILINEAR, store_layout="flat", aoi_mask=False),
]

# What is refused, and the key that the message must name.
REFUSED = [
    (changed(HEALPIX, parent_order=DROP), "output.grid.parent_order"),
    (changed(HEALPIX, child_order=DROP), "output.grid.child_order"),
    (changed(HEALPIX, parent_order=None), "output.grid.parent_order"),
    (changed(HEALPIX, parent_order="6"), "output.grid.parent_order"),
    (changed(HEALPIX, parent_order=13), "output.grid.child_order"),
    (changed(HEALPIX, chunk_inner=5), "output.grid.chunk_inner"),
    (changed(HEALPIX, chunk_inner=13), "output.grid.chunk_inner"),
    (changed(HEALPIX, chunk_inner=[8]), "output.grid.chunk_inner"),
    (changed(HEALPIX, layout="dense"), "output.grid.layout"),
    (changed(HEALPIX, indexing_scheme="ring"), "output.grid.indexing_scheme"),
    (changed(HEALPIX, emit_cell_ids="yes"), "output.grid.emit_cell_ids"),
    (changed(HEALPIX, cell_ids_encoding="nested"), "output.grid.cell_ids_encoding"),
    (changed(HEALPIX, type="h3"), "output.grid.type"),
    (changed(HEALPIX, type="HEALPix"), "output.grid.type"),
    (changed(HEALPIX, type=DROP), "output.grid.type"),
    (changed(HEALPIX, type=None), "output.grid.type"),
    (with_output(HEALPIX, aoi_mask="yes"), "output.aoi_mask"),
    (with_output(HEALPIX, aoi_mask=1), "output.aoi_mask"),
    (with_output(HEALPIX, store_layout="deep"), "output.store_layout"),
    (with_output(HEALPIX, grid={}), "output.grid.type"),
    (with_output(HEALPIX, grid=None), "output.grid"),
    (with_output(HEALPIX, grid="healpix"), "output.grid"),
    (changed(RECTILINEAR, crs=DROP), "output.grid.crs"),
    (changed(RECTILINEAR, crs="EPSG:999999"), "output.grid.crs"),
    (changed(RECTILINEAR, crs=None), "output.grid.crs"),
    (changed(RECTILINEAR, resolution=DROP), "output.grid.resolution"),
    (changed(RECTILINEAR, resolution=[5000]), "output.grid.resolution"),
    (changed(RECTILINEAR, resolution=0), "output.grid.resolution"),
    (changed(RECTILINEAR, resolution=-1), "output.grid.resolution"),
    (changed(RECTILINEAR, resolution=float("nan")), "output.grid.resolution"),
    (changed(RECTILINEAR, bounds=DROP), "output.grid.bounds"),
    (changed(RECTILINEAR, bounds=[0, 0, 1]), "output.grid.bounds"),
    (changed(RECTILINEAR, bounds=[1, 1, 0, 0]), "output.grid.bounds"),
    (changed(RECTILINEAR, chunk_shape=[256]), "output.grid.chunk_shape"),
    (changed(RECTILINEAR, chunk_shape=256), "output.grid.chunk_shape"),
    (changed(RECTILINEAR, chunk_shape=[0, 256]), "output.grid.chunk_shape"),
    (changed(RECTILINEAR, chunk_inner=[60, 64]), "output.grid.chunk_inner"),
    (changed(RECTILINEAR, chunk_inner=[512, 512]), "output.grid.chunk_inner"),
    (changed(RECTILINEAR, sharded=True), "output.grid.sharded"),
    (changed(RECTILINEAR, sharded=True, chunk_inner=[256, 256]), "output.grid.sharded"),
    (changed(RECTILINEAR, emit_cell_ids=True), "output.grid.emit_cell_ids"),
    (changed(RECTILINEAR, emit_cell_ids=0), "output.grid.emit_cell_ids"),
    (changed(RECTILINEAR, cell_ids_encoding="x"), "output.grid.cell_ids_encoding"),
    (changed(RECTILINEAR, layout="tiled"), "output.grid.layout"),
    (changed(RECTILINEAR, indexing_scheme="ring"), "output.grid.indexing_scheme"),
    (with_output(RECTILINEAR, store_layout="hive"), "output.store_layout"),
    (HEALPIX | {"output": {}}, "output"),
    (HEALPIX | {"output": "x"}, "output"),
    (HEALPIX | {"data_source": {}}, "data_source"),
    (HEALPIX | {"data_source": None}, "data_source"),
    (HEALPIX | {"aggregation": {}}, "aggregation"),
    (HEALPIX | {"aggregation": "x"}, "aggregation"),
    (HEALPIX | {"aggregation": {"variables": ["n"]}}, "aggregation.variables"),
    (HEALPIX | {"aggregation": {"variables": {"n": "len"}}}, "aggregation.variables.n"),
]

# zagg takes these as they are, and stumbles or goes wrong when it uses them.
STRICTER = [
    (changed(HEALPIX, parent_order=6.5), "output.grid.parent_order"),
    (changed(HEALPIX, parent_order=True), "output.grid.parent_order"),
    (changed(HEALPIX, parent_order=-1), "output.grid.parent_order"),
    (changed(HEALPIX, child_order=30), "output.grid.child_order"),
    (changed(HEALPIX, sharded="no"), "output.grid.sharded"),
    (changed(RECTILINEAR, resolution=True), "output.grid.resolution"),
    (changed(RECTILINEAR, chunk_shape=[-1, 256]), "output.grid.chunk_shape"),
    (changed(RECTILINEAR, chunk_shape=[256.5, 256]), "output.grid.chunk_shape"),
]


def difference(config: dict[str, Any]) -> str:
    """Name a case by what it changes."""
    base = RECTILINEAR if "crs" in str(config.get("output")) else HEALPIX
    rows = []
    for name in ("data_source", "aggregation", "output"):
        old, new = base[name], config[name]
        if isinstance(new, dict) and name == "output":
            new = {**{k: v for k, v in new.items() if k != "grid"}, **_as_dict(new.get("grid"))}
            old = old["grid"]
            rows += [f"{k}={v}" for k, v in new.items() if old.get(k, DROP) != v]
            rows += [f"no {k}" for k in old if k not in new]
        elif old != new:
            rows.append(f"{name}={new}")
    return f"{base['output']['grid']['type']}: {', '.join(rows) or 'as it is'}"


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"grid": value}


def written(folder: Path, config: dict[str, Any]) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize("config", ACCEPTED, ids=difference)
def test_accepts(config: dict[str, Any], tmp_path: Path) -> None:
    loaded = load_config(written(tmp_path, config))
    assert isinstance(loaded, PipelineConfig)
    assert loaded.raw == config


@pytest.mark.parametrize(("config", "key"), REFUSED + STRICTER, ids=lambda c: _case(c))
def test_refuses_and_names_file_key_and_value(
    config: dict[str, Any], key: str, tmp_path: Path
) -> None:
    path = written(tmp_path, config)
    with pytest.raises(InvalidConfig) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {key} must be ")
    assert "; it is " in message


def _case(value: Any) -> str | None:
    return difference(value) if isinstance(value, dict) else ""


@pytest.mark.parametrize(
    ("config", "key", "meant"),
    [
        (
            changed(RECTILINEAR, resolution=DROP, resoluton=5000),
            "output.grid.resoluton",
            "resolution",
        ),
        (changed(RECTILINEAR, chunk_shapes=[8, 8]), "output.grid.chunk_shapes", "chunk_shape"),
        (with_output(HEALPIX, aoi_msk=True), "output.aoi_msk", "aoi_mask"),
    ],
)
def test_a_mistyped_key_gets_a_suggestion(config: dict[str, Any], key: str, meant: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config_from_dict(config)
    assert str(caught.value) == f"config: {key} is not known; did you mean {meant}?"


def test_a_mistyped_section_gets_a_suggestion() -> None:
    config = {key.replace("output", "outputs"): value for key, value in HEALPIX.items()}
    with pytest.raises(InvalidConfig, match=r"outputs is not known: did you mean output\?"):
        load_config_from_dict(config)


def test_a_mistyped_key_does_not_hide_what_else_is_wrong() -> None:
    config = changed(RECTILINEAR, resolution=DROP, resoluton=5000, bounds=[1, 1, 0, 0])
    with pytest.raises(
        InvalidConfig, match=r"did you mean resolution\? output.grid.bounds must be"
    ):
        load_config_from_dict(config)


def zagg_refusal(path: Path) -> Exception | None:
    """What zagg raises on loading the file and making its grid."""
    zagg_config = pytest.importorskip("zagg.config")
    zagg_grids = pytest.importorskip("zagg.grids")
    try:
        zagg_grids.from_config(zagg_config.load_config(str(path)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a refusal
        return error
    return None


@pytest.mark.zagg
@pytest.mark.filterwarnings("ignore")
class TestZaggAgrees:
    @pytest.mark.parametrize("config", ACCEPTED, ids=difference)
    def test_accepts_and_makes_the_same_grid(self, config: dict[str, Any], tmp_path: Path) -> None:
        path = written(tmp_path, config)
        assert zagg_refusal(path) is None
        theirs = pytest.importorskip("zagg.grids").from_config(
            pytest.importorskip("zagg.config").load_config(str(path))
        )
        ours = from_config(path)
        assert ours.signature() == theirs.signature()
        assert getattr(ours, "chunk_order", None) == getattr(theirs, "chunk_order", None)

    @pytest.mark.parametrize(("config", "key"), REFUSED, ids=lambda c: _case(c))
    def test_refuses(self, config: dict[str, Any], key: str, tmp_path: Path) -> None:
        assert zagg_refusal(written(tmp_path, config)) is not None, key

    @pytest.mark.parametrize(("config", "key"), STRICTER, ids=lambda c: _case(c))
    def test_accepts_what_cannot_work(
        self, config: dict[str, Any], key: str, tmp_path: Path
    ) -> None:
        assert zagg_refusal(written(tmp_path, config)) is None, key

    def test_signatures_of_shipped_configs_are_equal_byte_for_byte(self) -> None:
        compared = 0
        for path in shipped():
            if "merra2" in path.name:
                continue
            theirs = pytest.importorskip("zagg.grids").from_config(
                pytest.importorskip("zagg.config").load_config(str(path))
            )
            ours = from_config(path)
            for name in ("signature", "spatial_signature"):
                assert dumped(getattr(ours, name)()) == dumped(getattr(theirs, name)()), path
            assert getattr(ours, "chunk_order", None) == getattr(theirs, "chunk_order", None)
            compared += 1
        assert compared >= 13

    def test_a_temporal_pipeline_is_refused_with_the_key_and_the_types(self) -> None:
        (path,) = [path for path in shipped() if "merra2" in path.name]
        with pytest.raises(
            InvalidConfig, match=r"output\.grid .* healpix or rectilinear.*temporal"
        ):
            load_config(path)


def shipped() -> list[Path]:
    pytest.importorskip("zagg")
    folder = importlib.resources.files("zagg.configs")
    return sorted(Path(str(path)) for path in folder.iterdir() if path.name.endswith(".yaml"))


def dumped(signature: dict[str, Any]) -> str:
    return json.dumps(signature, sort_keys=True)


@pytest.mark.zagg
@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore")
def test_signatures_of_the_real_configs_are_equal_byte_for_byte(real_data: Path) -> None:
    zagg_config = pytest.importorskip("zagg.config")
    zagg_grids = pytest.importorskip("zagg.grids")
    paths = sorted(real_data.glob("*.yaml"))
    assert len(paths) >= 5
    for path in paths:
        ours, theirs = from_config(path), zagg_grids.from_config(zagg_config.load_config(str(path)))
        assert dumped(ours.signature()) == dumped(theirs.signature())
        assert dumped(ours.spatial_signature()) == dumped(theirs.spatial_signature())


def test_sections_are_carried_along_untouched() -> None:
    raw = changed(HEALPIX, note="kept") | {"worker": {"memory": 4}}
    config = load_config_from_dict(raw)
    assert config.data_source == raw["data_source"]
    assert config.aggregation == raw["aggregation"]
    assert config.output == raw["output"]
    assert config.raw["worker"] == {"memory": 4}


def test_store_layout_follows_the_kind_of_grid() -> None:
    assert load_config_from_dict(HEALPIX).store_layout == "hive"
    assert load_config_from_dict(RECTILINEAR).store_layout == "flat"
    assert load_config_from_dict(with_output(HEALPIX, store_layout="flat")).store_layout == "flat"


def test_aoi_mask_is_off_by_default() -> None:
    assert load_config_from_dict(HEALPIX).aoi_mask is False
    assert load_config_from_dict(with_output(HEALPIX, aoi_mask=True)).aoi_mask is True


def test_a_raster_reader_needs_no_aggregation() -> None:
    raster = {**HEALPIX, "data_source": {"reader": "raster", "bands": {}}}
    del raster["aggregation"]
    assert load_config_from_dict(raster).aggregation == {}


def test_every_wrong_key_is_reported_at_once() -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config_from_dict(changed(HEALPIX, parent_order="six", layout="dense"))
    assert "output.grid.parent_order must be an integer from 0 to 29" in str(caught.value)
    assert "output.grid.layout must be 'fullsphere'; it is 'dense'" in str(caught.value)


def test_bad_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("output:\n  grid:\n    type: [healpix\nnext: 1\n")
    with pytest.raises(InvalidConfig, match=r"bad\.yaml: is not valid YAML, line 4"):
        load_config(path)


@pytest.mark.parametrize("content", [b"- 1\n", b"", b"just text\n"])
def test_a_file_without_a_mapping_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidConfig, match=r"odd\.yaml: must be a mapping"):
        load_config(path)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="There is no config file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfig, match="not UTF-8"):
        load_config(tmp_path / "binary.yaml")
