"""Assets: a granule's files under canonical names instead of keys that differ per granule."""

from __future__ import annotations

from typing import Any

Asset = dict[str, Any]
Assets = dict[str, Asset]

_WEB = frozenset({"http", "https"})


def canonical_assets(item: dict[str, Any], *, thumbnails: bool = False) -> Assets:
    """Return an item's assets under the names that catalogs use.

    Parameters
    ----------
    item : dict
        A STAC item; its asset keys do not matter, the roles and hrefs do.
    thumbnails : bool
        Keep the images, too.

    Returns
    -------
    dict of str to dict
        ``data`` is the first data file over HTTPS (role ``data``, ``.h5``), ``data_s3`` the
        first one on S3, ``metadata`` the first metadata file, HTTPS before S3. Images become
        ``thumbnail_1, thumbnail_2…`` and ``browse, browse_2…``. Each has the fields href,
        type, title and roles; what an asset lacks is None.
    """
    assets = item.get("assets")
    found: Assets = {}
    counts = {"thumbnail": 0, "browse": 0}
    for raw in assets.values() if isinstance(assets, dict) else ():
        asset = _asset(raw)
        if asset is None:
            continue
        roles, scheme = set(asset["roles"] or ()), _scheme(asset["href"])
        if "data" in roles and _path(asset["href"]).endswith(".h5"):
            if scheme in _WEB:
                found.setdefault("data", asset)
            elif scheme == "s3":
                found.setdefault("data_s3", asset)
        elif "metadata" in roles:
            _prefer_web(found, asset, scheme)
        elif thumbnails and (kind := _image_kind(roles)):
            counts[kind] += 1
            found[_image_name(kind, counts[kind])] = asset
    return found


def text_or_none(value: Any) -> str | None:
    """Return text that UTF-8 can hold; None for anything that is not text."""
    if not isinstance(value, str):
        return None
    # JSON can escape half a surrogate pair, which Arrow refuses.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _scheme(href: str) -> str:
    """Return the scheme of an href in small letters, empty where there is none."""
    return href.partition(":")[0].lower() if ":" in href else ""


def _asset(raw: Any) -> Asset | None:
    href = text_or_none(raw.get("href")) if isinstance(raw, dict) else None
    if not href:
        return None
    roles = raw.get("roles")
    return {
        "href": href,
        "type": text_or_none(raw.get("type")),
        "title": text_or_none(raw.get("title")),
        "roles": [role for role in map(text_or_none, roles) if role is not None]
        if isinstance(roles, list)
        else None,
    }


def _path(href: str) -> str:
    return href.partition("#")[0].partition("?")[0]


def _prefer_web(found: Assets, asset: Asset, scheme: str) -> None:
    known = found.get("metadata")
    if known is None or (scheme in _WEB and _scheme(known["href"]) not in _WEB):
        found["metadata"] = asset


def _image_kind(roles: set[str]) -> str | None:
    return next((kind for kind in ("thumbnail", "browse") if kind in roles), None)


def _image_name(kind: str, number: int) -> str:
    return kind if kind == "browse" and number == 1 else f"{kind}_{number}"
