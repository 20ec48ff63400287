class Odd:
    adapter = "odd"
    distribution = "dbt-odd"
    properties = {}

    def is_installed(self):
        return True

    def check(self, compute):
        raise KeyError("threads")

    relocate = output = secrets = query = connect = check
