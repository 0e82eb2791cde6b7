"""The demo's promises: every file one run and one materialization, whatever is crashed, however often it starts."""

from pathlib import Path

import pytest


def failing(proof):
    """The claims of a proof that do not hold."""
    return [claim["text"] for claim in proof["claims"] if not claim["holds"]]


def test_every_day_of_four_years_has_one_run_and_one_materialization(demo):
    proof = demo()
    assert failing(proof) == []
    counts = proof["counts"]
    assert counts["files"] == counts["one_run"] == counts["one_success"] == 1461
    assert (counts["months"], proof["report"]["days"]) == (48, 1461)
    assert [row["month"] for row in proof["report"]["normals"]] == list(range(1, 13))


def test_what_was_crashed_is_told_from_the_store(demo, own_data):
    proof = demo("--data", str(own_data))
    assert [row["what"] for row in proof["restarts"] if row["which"] == "station"] == ["actor"]
    assert len([row for row in proof["restarts"] if row["what"] == "run"]) == 1
    assert all(row["why"] for row in proof["restarts"])
    assert proof["counts"]["interruptions"] == 1


def test_a_folder_of_ones_own_is_used_and_left_alone(demo, own_data):
    before = sorted(path.name for path in own_data.iterdir())
    proof = demo("--data", str(own_data))
    assert failing(proof) == []
    assert (proof["counts"]["days"], proof["counts"]["months"]) == (60, 3)
    assert sorted(path.name for path in own_data.iterdir()) == before


def test_a_second_start_goes_on_where_the_first_ended(demo, own_data, tmp_path):
    words = ("--data", str(own_data), "--store", f"sqlite:///{tmp_path / 'demo.db'}")
    first = demo(*words)
    again = demo(*words)
    assert (again["counts"]["days"], again["counts"]["attempts"]) == (60, first["counts"]["attempts"])
    path = own_data / "1999-06-01.csv"
    path.write_text((own_data / "1999-02-01.csv").read_text("utf-8"), "utf-8")
    third = demo(*words)
    assert failing(again) == failing(third) == []
    assert (third["counts"]["days"], third["counts"]["months"]) == (61, 4)


@pytest.mark.crash
def test_a_start_after_a_kill_goes_on_too(demo, killed_demo, tmp_path):
    words = ("--data", str(tmp_path / "data"), "--store", f"sqlite:///{tmp_path / 'demo.db'}")
    killed_demo(*words)
    proof = demo(*words)
    assert failing(proof) == []
    assert proof["counts"]["one_run"] == proof["counts"]["one_success"] == 1461


def test_the_proof_is_read_by_another_process(demo, own_data):
    process = demo("--data", str(own_data))["process"]
    assert process["pid"] != process["parent"]


def test_the_picture_is_an_svg(demo, own_data, tmp_path):
    picture = tmp_path / "demo.svg"
    demo("--data", str(own_data), "--picture", str(picture))
    assert picture.read_text("utf-8").startswith("<svg")


def test_without_a_store_nothing_is_left_behind(demo, own_data, tmp_path):
    demo("--data", str(own_data))
    assert [path.name for path in Path(tmp_path).iterdir()] == ["own"]


def test_a_file_that_cannot_be_read_is_a_failed_run_that_says_why(refused, own_data):
    (own_data / "1999-02-01.csv").write_text("not,weather\n", "utf-8")
    ran = refused("--data", str(own_data))
    assert "1999-02-01.csv" in ran.stdout
    assert "1 failed" in ran.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--store", "memory://"], "another process"), (["--store", "sqlite:///missing/demo.db"], "missing")],
)
def test_a_store_of_no_use_is_one_clear_error(refused, words, said):
    ran = refused(*words)
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(("name", "said"), [("1999-02-31.csv", "1999-02-31"), ("notes.csv", "2025-01-31.csv")])
def test_a_folder_of_no_use_is_one_clear_error(refused, tmp_path, name, said):
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / name).write_text("hello\n", "utf-8")
    ran = refused("--data", str(folder))
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert [path.name for path in folder.iterdir()] == [name]
