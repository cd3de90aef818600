// Lets the vendors' official SDKs for Node call a stand-in cloud: the same lines in and out as caller.py.
"use strict";

const http = require("http");
const net = require("net");
const readline = require("readline");
const { CommonClient } = require("tencentcloud-sdk-nodejs-common");
const { Config } = require("@alicloud/openapi-core").$OpenApiUtil;
const kvstore = require("@alicloud/r-kvstore20150101");

// This SDK signs the host without its port and takes the service from the host's first label. So it is given the real host, and a way to the stand-in.
async function tencent(asked) {
  const agent = new http.Agent();
  const [host, port] = asked.endpoint.split(":");
  agent.createConnection = () => net.connect(Number(port), host);
  const client = new CommonClient("redis.tencentcloudapi.com", "2018-04-12", {
    credential: { secretId: asked.id, secretKey: asked.key },
    region: "ap-guangzhou",
    profile: { httpProfile: { protocol: "http://", reqTimeout: 30, agent } },
  });
  return client.request(asked.action, asked.parameters);
}

// The models want their fields in lower camel case, those of lists too.
function lowered(value) {
  if (Array.isArray(value)) return value.map(lowered);
  if (typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, held]) => [name[0].toLowerCase() + name.slice(1), lowered(held)]));
}

async function alibaba(asked) {
  const config = new Config({
    accessKeyId: asked.id,
    accessKeySecret: asked.key,
    endpoint: asked.endpoint,
    protocol: "http",
    regionId: "cn-hangzhou",
  });
  const client = new kvstore.default(config);
  const request = new kvstore[`${asked.action}Request`](lowered(asked.parameters));
  const method = asked.action[0].toLowerCase() + asked.action.slice(1);
  return (await client[method](request)).body.toMap();
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    let said;
    try {
      said = { answer: await { tencent, alibaba }[asked.vendor](asked) };
    } catch (refused) {
      if (!refused.code) throw refused;
      said = { code: refused.code };
    }
    process.stdout.write(`${JSON.stringify(said)}\n`);
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
