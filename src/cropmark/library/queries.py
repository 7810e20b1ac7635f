"""Reads assets, folders, lists and versions from the database, and converts rows to values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, assert_never

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, false, func, or_, select

from cropmark.library.tables import NO_IMAGE, assets, environments, publications, stacks, tags, versions
from cropmark.model.assets import (
    Asset,
    AssetFilter,
    BranchRef,
    EntryDetails,
    Environment,
    File,
    Folder,
    Listing,
    ListPage,
    Publication,
    SortField,
    Stack,
    Version,
)
from cropmark.model.formats import TRAITS, Format
from cropmark.model.problems import NotFound
from cropmark.model.values import Size

AnyRow = Row[Any]  # SQLAlchemy does not know the types of a row's columns

_COLUMNS: Final = (
    *(column for column in assets.c if column is not assets.c.version),
    assets.c.version.label("newest"),
    *(column.label(f"file_{column.name}") for column in versions.c if column is not versions.c.asset),
)
# Not mp4: a stored video has no format, only a media type.
_BY_MEDIA_TYPE: Final = {traits.media_type: kind for kind, traits in TRAITS.items() if kind is not Format.MP4}
_SORTS: Final = {
    SortField.CREATED: assets.c.created_ms,
    SortField.UPDATED: assets.c.updated_ms,
    SortField.TITLE: assets.c.title,
    SortField.UID: assets.c.uid,
}


# ------------------------------------------------------------------------------------------ stacks


def stack_of(connection: Connection, api_key: str) -> Stack | None:
    """The stack with this API key, or None."""
    row = connection.execute(select(stacks).where(stacks.c.api_key == api_key)).first()
    return Stack(**row._mapping) if row else None


def stacks_of(connection: Connection) -> tuple[Stack, ...]:
    """All stacks, the oldest first."""
    rows = connection.execute(select(stacks).order_by(stacks.c.created_ms, stacks.c.api_key))
    return tuple(Stack(**row._mapping) for row in rows)


def environments_of(connection: Connection, stack: str) -> tuple[Environment, ...]:
    """A stack's environments, the oldest first."""
    query = select(environments).where(environments.c.stack == stack)
    rows = connection.execute(query.order_by(environments.c.created_ms, environments.c.uid))
    return tuple(Environment(row.uid, row.name, row.created_ms) for row in rows)


# ------------------------------------------------------------------------------------------ one asset


def asset_of(connection: Connection, place: BranchRef, uid: str, number: int | None = None) -> Asset:
    """The asset with its newest version, or with the version `number`. Raises NotFound."""
    query = _asset_query(assets.c.version if number is None else number)
    here = (assets.c.uid == uid, _in_branch(place), assets.c.is_dir.is_(False))
    row = connection.execute(query.where(*here)).first()
    if row is None or row.file_number is None:
        raise asset_not_found()
    asset = _load_items(connection, place, [row])[0]
    assert isinstance(asset, Asset)
    return asset


def imported_asset(connection: Connection, place: BranchRef, origin: str) -> Asset | None:
    """The asset that was imported from `origin`, or None. `origin` may be the path of a file."""
    query = select(assets.c.uid).where(_in_branch(place), assets.c.origin == origin)
    uid = connection.execute(query).scalar()
    return asset_of(connection, place, uid) if uid else None


def folder_of(connection: Connection, place: BranchRef, uid: str, parameter: str = "uid") -> Folder:
    """The folder with this uid. Raises NotFound; the error names the request's `parameter` that contains the uid."""
    row = connection.execute(
        _asset_query().where(assets.c.uid == uid, _in_branch(place), assets.c.is_dir.is_(True))
    ).first()
    if row is None:
        raise NotFound("folder not found", fix="check its uid, the stack and the branch", parameter=parameter)
    folder = _load_items(connection, place, [row])[0]
    assert isinstance(folder, Folder)
    return folder


def folder_tree(connection: Connection, uid: str) -> list[str]:
    """The uids of a folder and of everything in it, parents before their children."""
    tree = [uid]
    for folder in tree:
        tree += connection.execute(select(assets.c.uid).where(assets.c.parent_uid == folder)).scalars()
    return tree


def versions_of(connection: Connection, uid: str) -> tuple[Version, ...]:
    """All versions of an asset, the newest first."""
    rows = connection.execute(
        select(*(column.label(f"file_{column.name}") for column in versions.c))
        .where(versions.c.asset == uid)
        .order_by(versions.c.number.desc())
    )
    return tuple(_version(row) for row in rows)


def asset_not_found() -> NotFound:
    return NotFound("asset not found", fix="check its uid, the stack and the branch", parameter="uid")


# ------------------------------------------------------------------------------------------ lists


def list_page(connection: Connection, place: BranchRef, listing: Listing) -> ListPage:
    """One page of a list of assets and folders. Raises NotFound if the folder or the environment does not exist.

    Only the page's rows are joined with their tags and publications; joining all assets would be slow.
    """
    environment = None
    if listing.environment is not None:
        environment = _environment(connection, place.stack, listing.environment)
    number = assets.c.version if environment is None else _published_version(environment)
    conditions = tuple(_conditions(connection, place, listing, environment, number))
    count = None
    if listing.with_count:
        count = connection.execute(select(func.count()).select_from(assets).where(*conditions)).scalar_one()
    columns = (_SORTS[listing.sort], assets.c.uid)  # both in the same direction, as in the index
    order = [column.desc() if listing.descending else column.asc() for column in columns]
    query = select(assets.c.uid).where(*conditions).order_by(*order)
    uids = list(connection.execute(query.offset(listing.skip).limit(listing.limit)).scalars())
    rows = {row.uid: row for row in connection.execute(_asset_query(number).where(assets.c.uid.in_(uids)))}
    return ListPage(tuple(_load_items(connection, place, [rows[uid] for uid in uids])), count)


def _conditions(
    connection: Connection, place: BranchRef, listing: Listing, environment: str | None, number: ColumnElement[int]
) -> Iterator[ColumnElement[bool]]:
    """The SQL conditions for the rows of a list.

    `number` is the SQL expression for the number of each asset's listed version.
    """
    yield _in_branch(place)
    if environment is not None:
        yield exists().where(publications.c.asset == assets.c.uid, publications.c.environment == environment)
    match listing.filter:
        case AssetFilter.ASSETS:
            yield assets.c.is_dir.is_(False)
        case AssetFilter.IMAGES:
            yield assets.c.is_dir.is_(False)
            yield _version_matches(number, versions.c.format.not_in((Format.SVG.value, NO_IMAGE)))
        case AssetFilter.NONE:
            yield false()
        case AssetFilter.ALL:
            pass
        case _:
            assert_never(listing.filter)
    if listing.folder == "":
        yield assets.c.parent_uid.is_(None)
    elif listing.folder is not None:
        folder_of(connection, place, listing.folder, "folder")
        yield assets.c.parent_uid == listing.folder
    for name, value in listing.equal:
        yield _field_equals(name, value, number)


def _field_equals(name: str, value: str | bool, number: ColumnElement[int]) -> ColumnElement[bool]:
    """The SQL condition that a field has this value. `name` is the field's name in the vendor's API."""
    match name:
        case "is_dir":
            return assets.c.is_dir.is_(bool(value))
        case "tags":
            return exists().where(tags.c.asset == assets.c.uid, tags.c.tag == value)
        case "content_type":
            kind = _BY_MEDIA_TYPE.get(str(value))
            is_type = versions.c.format == kind.value if kind else versions.c.media_type == str(value)
            return _version_matches(number, is_type)
        case "filename":
            return _version_matches(number, versions.c.filename == value)
        case "name":
            return and_(assets.c.is_dir.is_(True), assets.c.title == value)
        case _:
            return {"uid": assets.c.uid, "title": assets.c.title}[name] == value


def _version_matches(number: ColumnElement[int], condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The SQL condition that the asset's version with this number fulfills `condition`."""
    return exists().where(versions.c.asset == assets.c.uid, versions.c.number == number, condition)


def _published_version(environment: str) -> ColumnElement[int]:
    """The SQL expression for the number of the version that is published in an environment.

    If the locales have different versions, it is the version that was published last.
    """
    return (
        select(publications.c.version)
        .where(publications.c.asset == assets.c.uid, publications.c.environment == environment)
        .order_by(publications.c.n.desc(), publications.c.version.desc())
        .limit(1)
        .correlate(assets)
        .scalar_subquery()
    )


def environment_uid(connection: Connection, stack: str, name: str) -> str | None:
    """The uid of the stack's environment with this name or uid; None if it is unknown. A matching name is preferred."""
    uid: str | None = connection.execute(
        select(environments.c.uid)
        .where(environments.c.stack == stack, or_(environments.c.name == name, environments.c.uid == name))
        .order_by(environments.c.name != name)
    ).scalar()
    return uid


def _environment(connection: Connection, stack: str, name: str) -> str:
    uid = environment_uid(connection, stack, name)
    if uid is None:
        raise NotFound("environment not found", fix="name an environment of the stack", parameter="environment")
    return uid


# ------------------------------------------------------------------------------------------ rows


def _in_branch(place: BranchRef) -> ColumnElement[bool]:
    return and_(assets.c.stack == place.stack, assets.c.branch == place.branch)


def _asset_query(number: ColumnElement[int] | int = assets.c.version) -> Select[Any]:
    """A query for assets and folders. Assets have their newest version, or the version `number`."""
    joined = and_(versions.c.asset == assets.c.uid, versions.c.number == number)
    return select(*_COLUMNS).join_from(assets, versions, joined, isouter=True)


def _load_items(connection: Connection, place: BranchRef, rows: Sequence[AnyRow]) -> list[Asset | Folder]:
    """The rows as assets and folders, with their tags and publications.

    Two queries load the tags and publications of all rows.
    """
    uids = [row.uid for row in rows]
    tagged = _grouped(
        connection.execute(select(tags.c.asset, tags.c.tag).where(tags.c.asset.in_(uids)).order_by(tags.c.place))
    )
    published = _grouped(
        connection.execute(
            select(publications, environments.c.name)
            .join(environments, environments.c.uid == publications.c.environment)
            .where(publications.c.asset.in_(uids))
            .order_by(publications.c.n, environments.c.name, publications.c.locale)
        )
    )
    return [_item(place, row, tagged.get(row.uid, []), published.get(row.uid, [])) for row in rows]


def _grouped(rows: Iterable[AnyRow]) -> dict[str, list[AnyRow]]:
    grouped: dict[str, list[AnyRow]] = {}
    for row in rows:
        grouped.setdefault(row.asset, []).append(row)
    return grouped


def _item(place: BranchRef, row: AnyRow, tagged: list[AnyRow], published: list[AnyRow]) -> Asset | Folder:
    entry = EntryDetails(
        uid=row.uid,
        branch_ref=place,
        title=row.title,
        description=row.description,
        tags=tuple(tag.tag for tag in tagged),
        parent_uid=row.parent_uid,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        created_by=row.created_by,
        updated_by=row.updated_by,
    )
    if row.is_dir:
        return Folder(entry)
    return Asset(entry, _version(row), row.newest, row.slug, tuple(map(_publication, published)))


def _publication(row: AnyRow) -> Publication:
    return Publication(row.environment, row.name, row.locale, row.version, row.at_ms, row.by)


def _version(row: AnyRow) -> Version:
    size = Size(row.file_width, row.file_height) if row.file_width else None
    format_ = Format(row.file_format) if row.file_format != NO_IMAGE else None
    file = File(row.file_digest, row.file_filename, format_, row.file_bytes, size, row.file_media_type)
    return Version(
        row.file_number,
        row.file_file_uid,
        row.file_file_id,
        file,
        row.file_created_ms,
        row.file_created_by,
        row.file_name,
    )
