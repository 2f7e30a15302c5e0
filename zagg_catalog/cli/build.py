"""``zagg-catalog build``: fetch granules, or load a catalog, and build a shard map."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Group, Parameter

from zagg_catalog import catalog as catalogs
from zagg_catalog import grids as output_grids
from zagg_catalog import sources
from zagg_catalog.cli.common import check_output, exit_code_of, print_error, print_result
from zagg_catalog.cli.listening import STEPS
from zagg_catalog.cli.options import (
    OUTPUT,
    WHEN,
    AoiOptions,
    AreaOptions,
    AsJson,
    FilterOptions,
    GeometryOptions,
)
from zagg_catalog.cli.tables import print_build
from zagg_catalog.cycles import Convention, check_begun
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.lazy import import_geometry, lazy_module
from zagg_catalog.messages import utc_now

if TYPE_CHECKING:
    from zagg_catalog.catalog import Catalog
    from zagg_catalog.catalog.selection import Selection
    from zagg_catalog.regions import Bbox
    from zagg_catalog.sources import Query

# Help does without what a build imports, which takes longer.
builds = lazy_module("zagg_catalog.build")
inspect = lazy_module("zagg_catalog.cli.inspect")
describe = lazy_module("zagg_catalog.grids.describe")
queries = lazy_module("zagg_catalog.sources.query")
selections = lazy_module("zagg_catalog.catalog.selection")
updates = lazy_module("zagg_catalog.sources.update")

EXAMPLES = """Examples:
  # an ICESat-2 cycle on the HEALPix grid of atl06.yaml, over a polygon
  zagg-catalog build --config atl06.yaml --short-name ATL06 --cycle 22 \\
      --polygon antarctica.geojson

  # dates and a box on a rectilinear grid; the catalog is stored for other grids
  zagg-catalog build --config serc_atl03.yaml --short-name ATL03 \\
      --start-date 2025-01-01 --end-date 2025-12-31 \\
      --bbox=-76.62107,38.84504,-76.50583,38.93512 --catalog-out serc.parquet \\
      --also-for serc_10km.yaml

  # another grid from that catalog, without fetching again; filters select from it
  zagg-catalog build --config serc_10km.yaml --catalog serc.parquet \\
      --start-date 2025-06-01 --end-date 2025-08-31 --direction ascending
"""
ApiName = Literal["stac", "cmr"]
PRODUCT = Group("Product", sort_key=1)
FETCH = Group("Fetch", sort_key=4)


@Parameter(name="*", group=PRODUCT)
@dataclass(frozen=True, kw_only=True)
class ProductOptions:
    """The product."""

    short_name: Annotated[str | None, Parameter(metavar="NAME")] = None
    """Product short name, such as ATL06; a collection's id if the version is empty."""
    version: Annotated[str | None, Parameter(metavar="NNN")] = None
    """Product version (default: 007)."""
    provider: Annotated[str | None, Parameter(metavar="NAME")] = None
    """CMR provider; an empty string for none (default: NSIDC_CPRD)."""
    data_asset: Annotated[str | None, Parameter(metavar="RULE")] = None
    """Data file of an item, by role, type, ending and key (default: role=data,ending=.h5)."""


@Parameter(name="*", group=WHEN)
@dataclass(frozen=True, kw_only=True)
class DateOptions:
    """A cycle, or two days."""

    cycle: Annotated[str | None, Parameter(metavar="N")] = None
    """ICESat-2 cycle, as in the granules' names."""
    start_date: Annotated[str | None, Parameter(metavar="YYYY-MM-DD")] = None
    """First day, UTC."""
    end_date: Annotated[str | None, Parameter(metavar="YYYY-MM-DD")] = None
    """Last day, UTC."""
    convention: Convention = "mission"
    """Cycle dates: the mission's, or zagg's 91 days from 2018-10-13."""
    season: Annotated[str | None, Parameter(metavar="DAYS")] = None
    """Days of each year: 12-01..02-28, or months 06..08."""

    @property
    def number(self) -> int | None:
        """The cycle as a number."""
        return None if self.cycle is None else _cycle_number(self.cycle)


@Parameter(name="*", group=FETCH)
@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """The API and its options."""

    api: ApiName | None = None
    """CMR-STAC, or CMR's own search (default: the setting)."""
    stac_root: Annotated[str | None, Parameter(metavar="URL")] = None
    """Root of the STAC API (default: the setting)."""
    margin: Annotated[str | None, Parameter(metavar="0.5|10km")] = None
    """Fetch this much around the area, too: degrees, or km."""
    since: Annotated[Path | None, Parameter(metavar="FILE")] = None
    """Catalog of an earlier fetch with --catalog-out: ask only for what has changed since."""
    checkpoint: Annotated[Path | None, Parameter(metavar="DIR")] = None
    """Folder from which an interrupted fetch continues."""
    also_for: Annotated[list[Path] | None, Parameter(metavar="FILE")] = None
    """Config of another grid that the catalog is for: fetch all granules of its shards, too."""
    preserve_thumbnails: bool = False
    """Store browse images in the catalog."""
    partial: bool = False
    """Accept missing or unusable granules; the files are marked as incomplete."""

    def check(self, catalog: Path | None) -> None:
        """Refuse options of a fetch with a stored catalog, and a STAC root with CMR's search."""
        given = {
            "--api": self.api,
            "--stac-root": self.stac_root,
            "--margin": self.margin,
            "--since": self.since,
            "--checkpoint": self.checkpoint,
            "--also-for": self.also_for,
            "--preserve-thumbnails": self.preserve_thumbnails,
        }
        unused = [flag for flag, value in given.items() if value]
        if catalog and unused:
            raise InvalidQuery(
                f"{', '.join(unused)} is for a fetch, and --catalog fetches nothing; remove one"
                " of the two."
            )
        if self.api == "cmr" and self.stac_root:
            raise InvalidQuery(
                "--stac-root is for --api stac; ZAGG_CATALOG_CMR_ROOT sets CMR's root."
            )

    def fetch(self, query: Query, catalog_out: Path | None) -> Catalog:
        """Fetch the catalog; finished slices, and what --since needs, are beside its file."""
        beside = catalog_out and catalog_out.with_name(f".{catalog_out.name}.fetch")
        # --stac-root selects the STAC API and overrides the setting.
        api = "stac" if self.stac_root else self.api
        source = sources.CMRSource(root_url=self.stac_root, api=api)
        since = self.since
        earlier = updates.Previous(catalog=since, received=_received(since)) if since else None
        with warnings.catch_warnings():
            # The command says it itself.
            warnings.simplefilter("ignore", catalogs.IncompleteCatalog)
            catalog = source.fetch(
                query,
                preserve_thumbnails=self.preserve_thumbnails,
                partial=self.partial,
                checkpoint=self.checkpoint or beside,
                previous=earlier,
                progress=False,  # of its own; it is on the display
            )
        if catalog_out and source.last_received is not None:
            source.last_received.to_parquet(_received(catalog_out))
        why = source.last_report.full_because if source.last_report else None
        if earlier and why:
            print_error(f"note: everything was fetched, since {why}.")
        return catalog


def _received(catalog: Path) -> Path:
    """Return the file with what a fetch received beside a catalog."""
    return catalog.with_name(f".{catalog.name}.received")


app = App(name="build", help_epilogue=EXAMPLES, version_flags=())


@app.default
def build(
    *,
    config: Annotated[Path, Parameter(alias="--grid", metavar="FILE")],
    catalog: Annotated[Path | None, Parameter(alias="--from-catalog", metavar="FILE")] = None,
    product: ProductOptions = ProductOptions(),
    dates: DateOptions = DateOptions(),
    filters: FilterOptions = FilterOptions(),
    area: AreaOptions = AreaOptions(),
    mask: AoiOptions = AoiOptions(),
    fetch: FetchOptions = FetchOptions(),
    geometry: GeometryOptions = GeometryOptions(),
    allow_empty: Annotated[bool, Parameter(group=OUTPUT)] = False,
    output: Annotated[Path | None, Parameter(alias="-o", group=OUTPUT, metavar="FILE")] = None,
    catalog_out: Annotated[Path | None, Parameter(group=OUTPUT, metavar="FILE")] = None,
    as_json: Annotated[AsJson, Parameter(group=OUTPUT)] = False,
) -> int:
    """Build a granule shard map for a config's grid, from CMR-STAC or a stored catalog.

    Parameters
    ----------
    config
        Pipeline config YAML; defines the output grid.
    catalog
        Use this stored catalog and fetch nothing; product, dates and filters select from it.
    allow_empty
        Accept a map without a shard or without a pair.
    output
        The map, .json or .parquet (default: a .json file named after product and dates).
    catalog_out
        Also write the catalog to this file.
    """
    import_geometry()
    grid = output_grids.from_config(config)
    box, region = area.read()
    aoi = mask.read()
    if box is None and catalog is None:
        raise InvalidQuery(
            "The area is missing; give --polygon FILE or --bbox lon_min,lat_min,lon_max,lat_max."
        )
    fetch.check(catalog)
    if catalog and product.data_asset:
        raise InvalidQuery(
            "--data-asset is for a fetch, and --catalog fetches nothing; remove one of the two."
        )
    query = (
        None if box is None or catalog else make_query(product, dates, filters, box, fetch.margin)
    )
    selection = make_selection(product, dates, filters) if catalog else None
    check_output(output, (".json", ".parquet"))
    check_output(catalog_out, (".parquet", ".geoparquet"))
    if query is None:
        assert catalog is not None
        assert selection is not None
        granules = catalogs.Catalog.from_geoparquet(catalog).select(selection)
    else:
        assert region is not None
        edge = geometry.edge or "shards"
        grids = [grid, *map(output_grids.from_config, fetch.also_for or [])]
        query = builds.query_for(query, grids, region, edge=edge, allow_empty=allow_empty)
        granules = fetch.fetch(query, catalog_out)
    options = {"region": region, "aoi": aoi, **geometry.given()}
    STEPS.info("%s granules, %s", f"{len(granules):,}", "fetched" if query else "loaded")
    built = builds.map_catalog(granules, grid, catalog_out=catalog_out, **options)
    STEPS.info("%r built", built.shard_map)
    shard_map = built.shard_map if allow_empty else built.check_not_empty()
    target = output or _default_output(granules)
    (shard_map.to_parquet if target.suffix == ".parquet" else shard_map.to_json)(target)
    STEPS.info("%s written", target)
    notes = describe.grid_notes(grid)
    metadata = shard_map.metadata
    facts = {
        "map": target,
        "catalog": catalog_out,
        **inspect.summarise_map(shard_map),
        "unreadable": metadata.get("unreadable") or [],
        "superseded": metadata.get("superseded") or [],
        "harvest": granules.metadata.get("harvest") or {},
        "notes": notes,
    }
    fetched = query is not None
    print_result(
        facts,
        lambda: print_build(granules, built, target, catalog_out, fetched=fetched),
        as_json=as_json,
    )
    for note in notes:
        print_error(f"note: {note}")
    return exit_code_of(shard_map, "map", partial=fetch.partial)


def make_query(
    product: ProductOptions,
    dates: DateOptions,
    filters: FilterOptions,
    box: Bbox,
    margin: str | None = None,
) -> Query:
    """Return the query of the options; raise `InvalidQuery` if they do not make one."""
    if not product.short_name:
        raise InvalidQuery(
            "The product is missing; give --short-name, such as ATL06, or --catalog FILE."
        )
    _check_dates(dates)
    version = "007" if product.version is None else product.version
    provider = queries.PROVIDER if product.provider is None else product.provider
    own: dict[str, Any] = {
        "season": dates.season,
        "data_asset": product.data_asset,
        "margin": margin,
        **filters.values(),
    }
    if dates.number is not None:
        return sources.Query.for_cycle(
            product.short_name,
            version,
            check_begun(dates.number, utc_now()),
            box,
            provider=provider,
            convention=dates.convention,
            **own,
        )
    first, last = dates.start_date, dates.end_date
    if not (first and last):
        raise InvalidQuery(
            "The time is missing; give --cycle, or both --start-date and --end-date."
        )
    return sources.Query(product.short_name, version, first, last, box, provider, **own)


def make_selection(
    product: ProductOptions, dates: DateOptions, filters: FilterOptions
) -> Selection:
    """Return what the options select from a stored catalog."""
    _check_dates(dates)
    return selections.Selection(  # type: ignore[no-any-return]
        short_name=product.short_name,
        version=product.version,
        provider=product.provider,
        cycle=dates.number,
        convention=dates.convention,
        start_date=dates.start_date,
        end_date=dates.end_date,
        season=dates.season,
        **filters.values(),
    )


def _check_dates(dates: DateOptions) -> None:
    if dates.cycle is not None and (dates.start_date or dates.end_date):
        raise InvalidQuery("Give --cycle or --start-date and --end-date, not both.")


def _cycle_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidQuery(f"A cycle is a whole number from 1 to 99, not {text!r}.") from None


def _default_output(catalog: Catalog) -> Path:
    keys = ("short_name", "start_date", "end_date")
    parts = [str(catalog.metadata[key]) for key in keys if catalog.metadata.get(key)]
    return Path("_".join(["shardmap", *parts]) + ".json")
