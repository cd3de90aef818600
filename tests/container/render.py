"""Helm itself, without its command: reads {"chart", "values", "release", "namespace"} and prints {"files"} or {"refused"}; {"lint"} for a lint."""
import json
import sys

import helm_python

asked = json.load(sys.stdin)
if asked.get("lint"):
    found = helm_python.lint(asked["chart"], asked["values"], strict=True)
    # 1 is a recommendation, such as an icon.
    json.dump({"lint": found["errors"] + [one["error"] for one in found["messages"] if one["severity"] > 1]}, sys.stdout)
else:
    try:
        with helm_python.Chart.load(asked["chart"]) as chart:
            chart.validate_schema(asked["values"])
            files = chart.render(asked["values"], name=asked["release"], namespace=asked["namespace"])
            json.dump({"version": helm_python.helm_sdk_version(), "files": files}, sys.stdout)
    except helm_python.HelmError as error:
        json.dump({"refused": str(error)}, sys.stdout)
