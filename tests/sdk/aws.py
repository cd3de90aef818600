"""A stand-in of AWS (moto) that checks signatures and permissions, and boto3, the vendor's own client, for whoever asks on standard input.

The first line of standard output says where the stand-in listens and whose keys there are. After that each line of input is one call of boto3,
{"service", "call", "with"}, or {"permit": [ACTION, ...]}, which is what the user `keywheel` may do from now on; each has one line of answer, {"ok"} or {"error"}.
It ends when its input does.
"""

import base64
import json
import logging
import os
import sys

# Every request is checked, but for those that make the users, before anybody else knows of the port.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "inf"
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.exceptions import JsonRESTError
from moto.server import ThreadedMotoServer
from werkzeug.exceptions import HTTPException

REGION = "eu-central-1"
logging.getLogger("werkzeug").setLevel(logging.ERROR)

# moto finds the same faults as AWS, and words them for services that speak XML.
check = ActionAuthenticatorMixin._authenticate_and_authorize_action
CODES = {
    "AccessDenied": "AccessDeniedException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
}


def checked(self, *arguments, **named):
    # This one call carries its proof in its body and is not signed, which moto does not know.
    if "Authorization" not in self.headers and self._get_action() == "AssumeRoleWithWebIdentity":
        return
    try:
        check(self, *arguments, **named)
    except HTTPException as error:
        if "X-Amz-Target" in self.headers:
            raise JsonRESTError(CODES[error.error_type], error.message) from error
        raise


ActionAuthenticatorMixin._authenticate_and_authorize_action = checked

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()


def client(service, key="setup", secret="setup"):
    config = Config(proxies={}, retries={"total_max_attempts": 1})
    return boto3.client(
        service, region_name=REGION, endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id=key, aws_secret_access_key=secret, config=config
    )


def policy(actions):
    statement = {"Effect": "Allow" if actions else "Deny", "Action": actions or ["*"], "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def user(iam, name, actions):
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=policy(actions))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"id": key["AccessKeyId"], "key": key["SecretAccessKey"]}


iam = client("iam")
admin = user(iam, "admin", ["*"])
keywheel = user(iam, "keywheel", ["*"])
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
clients = {service: client(service, admin["id"], admin["key"]) for service in ("iam", "sts", "secretsmanager", "ssm")}
print(json.dumps({"port": port, "keywheel": keywheel}), flush=True)

for line in sys.stdin:
    asked = json.loads(line)
    try:
        if "permit" in asked:
            may = policy(asked["permit"])
            clients["iam"].put_user_policy(UserName="keywheel", PolicyName="may", PolicyDocument=may)
            answer = {"ok": None}
        else:
            answer = {"ok": getattr(clients[asked["service"]], asked["call"])(**asked["with"])}
    except ClientError as error:
        answer = {"error": error.response["Error"]["Code"]}
    print(json.dumps(answer, default=lambda value: base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)), flush=True)
server.stop()
