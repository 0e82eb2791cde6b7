"""`flowstone metrics`: what Prometheus scrapes, and a document for other programs."""


def test_metrics_are_text_and_a_document(call):
    told = call("metrics")
    assert told.code == 0
    assert "# TYPE flowstone_tick_lateness_seconds gauge\n" in told.out
    assert 'flowstone_runs{status="queued"} 0' in told.out
    found = call("metrics", "--json").json
    assert {"name": "flowstone_runs", "labels": {"status": "running"}, "value": 0} in found
