"""Lets the vendors' official SDKs for Python call a stand-in cloud.

Each line on standard input asks for one call: {"vendor", "endpoint", "id", "key", "action", "parameters"}. Each line on standard output is its answer:
{"answer": …} as the SDK's own models read it, or {"code": …} as its exception names it.
"""

import json
import re
import sys

from alibabacloud_kms20160120 import models as kms_models
from alibabacloud_kms20160120.client import Client as KmsClient
from alibabacloud_r_kvstore20150101 import models as alibaba_models
from alibabacloud_r_kvstore20150101.client import Client as AlibabaClient
from alibabacloud_tea_openapi.models import Config
from alibabacloud_tea_util.models import RuntimeOptions
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.redis.v20180412 import models as tencent_models
from tencentcloud.redis.v20180412.redis_client import RedisClient
from tencentcloud.ssm.v20190923 import models as ssm_models
from tencentcloud.ssm.v20190923.ssm_client import SsmClient


def tencent(asked, models=tencent_models, product=RedisClient):
    http = HttpProfile(protocol="http", endpoint=asked["endpoint"], reqTimeout=30)
    client = product(Credential(asked["id"], asked["key"]), "ap-guangzhou", ClientProfile(httpProfile=http))
    request = getattr(models, asked["action"] + "Request")()
    request._deserialize(asked["parameters"])
    try:
        return {"answer": json.loads(getattr(client, asked["action"])(request).to_json_string())}
    except TencentCloudSDKException as refused:
        return {"code": refused.get_code()}


def alibaba(asked, models=alibaba_models, product=AlibabaClient):
    config = Config(
        access_key_id=asked["id"],
        access_key_secret=asked["key"],
        endpoint=asked["endpoint"],
        protocol="HTTP",
        region_id="cn-hangzhou",
    )
    request = getattr(models, asked["action"] + "Request")().from_map(asked["parameters"])
    method = re.sub(r"(?<!^)(?=[A-Z])", "_", asked["action"]).lower() + "_with_options"
    try:
        return {"answer": getattr(product(config), method)(request, RuntimeOptions()).body.to_map()}
    except Exception as refused:  # the SDK raises several unrelated classes, all with a code
        if not getattr(refused, "code", None):
            raise
        return {"code": refused.code}


for line in sys.stdin:
    question = json.loads(line)
    callers = {
        "tencent": tencent,
        "alibaba": alibaba,
        "tencent-ssm": lambda asked: tencent(asked, ssm_models, SsmClient),
        "alibaba-kms": lambda asked: alibaba(asked, kms_models, KmsClient),
    }
    print(json.dumps(callers[question["vendor"]](question)), flush=True)
