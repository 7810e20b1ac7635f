"""Tasks of a manifest: their keys, and lines that are rejected."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from cropmark.batch.tasks import Job, new_tasks, task_key
from cropmark.config.settings import Settings
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.kontent.settings import KontentSettings
from cropmark.manifest import ManifestEntry, parse_manifest
from cropmark.model.problems import BadRequest

JOB = Job(Settings(), "/pictures", "/results")
ENTRY = ManifestEntry(1, "a.jpg", "width=3", "fastly", "o.jpg")


def with_section(name: str, section: object, **others: object) -> Settings:
    """The default settings with other settings of one dialect."""
    return Settings().model_copy(update={name: section, **others})


# fmt: off
OTHER_KEYS = [
    (replace(ENTRY, source="b.jpg"),    JOB),
    (replace(ENTRY, query="width=4"),   JOB),
    (replace(ENTRY, dialect="kontent"), JOB),
    (replace(ENTRY, output="p.jpg"),    JOB),
    (ENTRY,                             replace(JOB, source="/other")),
    (ENTRY,                             replace(JOB, output="/other")),
    (ENTRY,                             replace(JOB, accept="image/webp")),
    (ENTRY,                             replace(JOB, settings=Settings(cmyk="press"))),
    (ENTRY,                             replace(JOB, settings=Settings(smart_crop=False))),
    (ENTRY,                             replace(JOB, settings=with_section("fastly", FastlySettings(jpeg_quality=9)))),
]
# fmt: on


@pytest.mark.parametrize(("entry", "job"), OTHER_KEYS)
def test_the_key_changes_with_all_that_decides_the_result(entry: ManifestEntry, job: Job) -> None:
    assert task_key(entry, job) != task_key(ENTRY, JOB)


def test_the_key_does_not_change_with_what_does_not_decide_the_result() -> None:
    settings = with_section(
        "kontent", KontentSettings(versioned=False), port=9
    )  # of the machine, and of another dialect
    assert task_key(replace(ENTRY, line=9), replace(JOB, renderers=2, settings=settings)) == task_key(ENTRY, JOB)


def test_equal_lines_are_one_task() -> None:
    line = '{"source": "a.jpg", "query": "width=3", "output": "o.jpg"}'
    assert len(new_tasks(parse_manifest([line, line]), JOB)) == 1


# fmt: off
REJECTED = [
    # lines                                                                              the message has
    (['{"source": "a"}'],                                                                "line 1: expected an output"),
    (['{"source": "a", "output": "o"}', '{"source": "b", "output": "o"}'],               "lines 1 and 2 have the same output, 'o'"),  # noqa: E501
    (['{"source": "a", "output": "o"}', '{"source": "a", "query": "x", "output": "o"}'], "lines 1 and 2 have the same output"),  # noqa: E501
]
# fmt: on


@pytest.mark.parametrize(("lines", "says"), REJECTED)
def test_rejected_lines(lines: list[str], says: str) -> None:
    with pytest.raises(BadRequest) as problem:
        new_tasks(parse_manifest(lines), JOB)
    assert says in str(problem.value)


def test_workers_receive_an_equal_job() -> None:
    assert pickle.loads(pickle.dumps(JOB)) == JOB
    assert pickle.loads(pickle.dumps(JOB)).name == JOB.name


def test_other_jobs_have_other_plugins() -> None:
    assert replace(JOB, output="/other").name != JOB.name
