"""`flowstone doctor`: every value with where it came from, versions, and what is wrong."""

import pytest


@pytest.fixture
def values(call):
    """The configuration that the doctor tells, as (value, source) by name."""

    def tell(*words, **options):
        rows = call("doctor", "--json", *words, **options).json["configuration"]
        return {row["name"]: (row["value"], row["source"]) for row in rows}

    return tell


def test_each_value_is_shown_with_where_it_came_from(values, directory, monkeypatch):
    (directory / "flowstone.toml").write_text('namespace = "prod"\nmax_queue = 5\nstore = "sqlite:///file.db"\n')
    monkeypatch.setenv("FLOWSTONE_MAX_QUEUE", "7")
    found = values()
    assert found["store"] == ("sqlite:///market.db", "--store")
    assert found["max_queue"] == (7, "FLOWSTONE_MAX_QUEUE")
    assert found["namespace"] == ("prod", "flowstone.toml")
    assert found["backend"] == ("auto", "default")
    assert found["retention"] == ("365d", "default")


def test_secrets_and_passwords_are_masked(call, monkeypatch):
    monkeypatch.setenv("FLOWSTONE_SECRET", "hunter2")
    for words in ((), ("--json",)):
        told = call("doctor", *words, store="postgresql://ada:hunter2@127.0.0.1:1/shop")
        assert "hunter2" not in told.out + told.err
        assert "ada:***@" in told.out


def test_resources_of_the_pipeline_are_shown_without_secrets_and_missing_variables_named(call, directory, monkeypatch):
    (directory / "stocked.py").write_text(
        "import flowstone as fs\n"
        "class Db(fs.Resource):\n"
        "    def __init__(self, **options): vars(self).update(options)\n"
        "given = {'db': Db(password='hunter2', host=('env', 'DB_HOST')), 'api_key': 'hunter2'}\n"
        "shop = fs.Pipeline('shop', resources=given)\n"
    )
    monkeypatch.delenv("DB_HOST", raising=False)
    told = call("doctor", "--json", app="stocked:shop")
    assert told.json["resources"] == {"db": "Db(password='***', host=('env', 'DB_HOST'))", "api_key": "'***'"}
    assert told.json["problems"] == ["resource db: the environment has no DB_HOST"]
    assert "hunter2" not in told.out + call("doctor", app="stocked:shop").out


def test_versions_are_told(call):
    versions = call("doctor", "--json").json["versions"]
    assert {"flowstone", "python", "sqlite", "tzdata", "pykka", "croniter", "peewee"} <= versions.keys()
    assert all(versions[name] for name in ("python", "sqlite", "tzdata"))
    assert "tzdata" in call("doctor").out


def test_nothing_wrong_is_exit_code_0_and_makes_no_store(call, directory):
    well = call("doctor", "--json")
    assert (well.code, well.json["problems"]) == (0, [])
    assert not (directory / "market.db").exists()


def test_what_is_wrong_is_named_and_fails_the_command(call, monkeypatch):
    monkeypatch.setenv("FLOWSTONE_STROE", "x")
    ill = call("doctor", "--json", app="nowhere:market", store="sqlite:///missing/market.db")
    assert ill.code == 1
    said = "\n".join(ill.json["problems"])
    assert [word for word in ("nowhere", "missing", "did you mean 'FLOWSTONE_STORE'") if word not in said] == []
