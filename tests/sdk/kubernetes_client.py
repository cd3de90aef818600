"""Lets Kubernetes' own Python client read what keywheel's sink wrote, and tell a story to the stand-in of an API server.

Standard input holds one JSON object: {"kubeconfig", "namespace", "secret", "expected"}. Exit status 0 says that all went as it does with a real API
server.
"""

import base64
import json
import sys

import kubernetes
from kubernetes.client import ApiException

told = json.load(sys.stdin)
namespace, name = told["namespace"], told["secret"]
core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config_dict(json.loads(told["kubeconfig"])))
APPLY = "application/apply-patch+yaml"


def refused(status, reason, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except ApiException as said:
        body = json.loads(said.body)
        assert (said.status, body["code"], body["reason"]) == (status, status, reason), said
        return body
    raise AssertionError(f"{call.__name__} was to be refused with {status}")


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def secret(data=None, **metadata):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **metadata}, "data": data or {}}


def apply(body, manager="keywheel", **more):
    return core.patch_namespaced_secret(body["metadata"]["name"], namespace, body, field_manager=manager, _content_type=APPLY, **more)


# What the sink wrote.
held = core.read_namespaced_secret(name, namespace)
assert {key: base64.b64decode(value).decode() for key, value in held.data.items()} == told["expected"], held.data.keys()
assert held.type == "Opaque" and held.immutable is None
notes = {"keywheel/target": "orders-cache", "keywheel/generation": told["expected"]["generation"], "keywheel/rotation": "adopted"}
assert held.metadata.annotations == notes, held.metadata.annotations
(owner,) = held.metadata.managed_fields
assert (owner.manager, owner.operation, owner.api_version) == ("keywheel", "Apply", "v1"), owner
assert {f"f:{key}" for key in told["expected"]} <= set(owner.fields_v1["f:data"]), owner.fields_v1
assert [item.metadata.name for item in core.list_namespaced_secret(namespace).items] == [name]

# Whose fields: another manager's are named, a dry run changes nothing, force takes them over.
field = {"password": encoded("another")}
body = refused(409, "Conflict", apply, secret(field), manager="another")
(cause,) = body["details"]["causes"]
assert cause["reason"] == "FieldManagerConflict" and cause["field"] == ".data.password" and '"keywheel"' in cause["message"], cause
tried = apply(secret(field), manager="another", force=True, dry_run="All")
assert tried.data["password"] == field["password"]
assert core.read_namespaced_secret(name, namespace).metadata.resource_version == held.metadata.resource_version
taken = apply(secret(field), manager="another", force=True)
assert taken.metadata.resource_version != held.metadata.resource_version
owners = {owner.manager: owner.fields_v1["f:data"] for owner in taken.metadata.managed_fields}
assert set(owners["another"]) - {"."} == {"f:password"} and "f:password" not in owners["keywheel"], owners
assert apply(secret(field), manager="another").metadata.resource_version == taken.metadata.resource_version
left = apply(secret(), manager="another", force=True)
assert "password" not in left.data and "user" in left.data

# Versions: a stale one is refused, whoever asks; so is another object of the same name.
stale = secret(field, resourceVersion=held.metadata.resource_version)
assert "modified" in refused(409, "Conflict", apply, stale)["message"]
stale = secret(field, uid="00000000-0000-4000-8000-999999999999")
assert "metadata.uid" in refused(422, "Invalid", apply, stale)["message"]
left.data["note"] = encoded("note")
replaced = core.replace_namespaced_secret(name, namespace, left, field_manager="python")
assert {owner.manager for owner in replaced.metadata.managed_fields} >= {"keywheel", "python"}
refused(409, "Conflict", core.replace_namespaced_secret, name, namespace, left)

# What a person changes is that person's, and a merge patch may say who is to decide.
patched = core.patch_namespaced_secret(name, namespace, {"data": {"user": encoded("person")}}, field_manager="person")
assert patched.data["user"] == encoded("person")
cause = refused(409, "Conflict", apply, secret({"user": encoded("app")}))["details"]["causes"][0]
assert cause["field"] == ".data.user" and '"person" using v1' in cause["message"], cause

# Made, made again, of another type, immutable, deleted.
refused(409, "AlreadyExists", core.create_namespaced_secret, namespace, secret())
other = {"metadata": {"name": "other"}, "stringData": {"username": "u"}, "type": "kubernetes.io/basic-auth"}
made = core.create_namespaced_secret(namespace, other, field_manager="python")
assert made.data == {"username": encoded("u")} and made.metadata.managed_fields[0].operation == "Update"
again = {"metadata": {"name": "other"}, "type": "Opaque"}
refused(422, "Invalid", core.patch_namespaced_secret, "other", namespace, again)
refused(422, "Invalid", core.create_namespaced_secret, namespace, {"metadata": {"name": "none"}, "type": "kubernetes.io/basic-auth"})
refused(404, "NotFound", core.read_namespaced_secret, "none", namespace)
core.patch_namespaced_secret(name, namespace, {"immutable": True})
body = refused(422, "Invalid", core.patch_namespaced_secret, name, namespace, {"data": {"user": encoded("x")}})
assert "field is immutable when `immutable` is set" in body["message"], body
core.delete_namespaced_secret(name, namespace)
refused(404, "NotFound", core.read_namespaced_secret, name, namespace)
