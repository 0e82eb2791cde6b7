"""Numbers and traces for what watches services: Prometheus and OpenTelemetry, an extra and a module each.

    from flowstone.exporters import prometheus

    attached = prometheus.attach(runtime)
"""
