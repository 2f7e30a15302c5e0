"""Reports: a catalog, a shard map or a release as one HTML page that needs no network.

.. code-block:: python

    from zagg_catalog.report import catalog_content, map_content, report_html
    from zagg_catalog.releases.report import release_content

    html = report_html(release_content(store, find_release(store, product, region, cycle)))
"""

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.report.content import ReportContent, catalog_content, map_content
    from zagg_catalog.report.page import report_html

__all__ = ["ReportContent", "catalog_content", "map_content", "report_html"]

_MODULES = {
    "ReportContent": "zagg_catalog.report.content",
    "catalog_content": "zagg_catalog.report.content",
    "map_content": "zagg_catalog.report.content",
    "report_html": "zagg_catalog.report.page",
}


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
