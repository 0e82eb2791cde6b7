"""`flowstone tree`: what would run, without a service."""

import json


def test_the_tree_names_services_sensors_and_their_order(flowstone, directory):
    ran = flowstone("--app", "shop:shop", "tree")
    assert ran.returncode == 0
    wanted = ("root", "store", "services", "dispatcher", "scheduler", "sensors", "new_orders")
    assert [name for name in wanted if name not in ran.stdout] == []
    assert list(directory.glob("*.db")) == []


def test_the_tree_is_a_document_when_asked_for(flowstone):
    ran = flowstone("--app", "shop:shop", "tree", "--json")
    (root,) = json.loads(ran.stdout)
    assert root["name"] == "root"
    assert {child["name"] for child in root["children"]} == {"store", "services"}
