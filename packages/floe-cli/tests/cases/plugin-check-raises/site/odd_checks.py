class Odd:
    nests_namespaces = False

    def check(self, profile):
        raise ZeroDivisionError

    def properties(self, catalog, storage, data, secret):
        raise NotImplementedError

    def span_exporter(self, settings):
        raise NotImplementedError

    metric_exporter = log_exporter = span_exporter
