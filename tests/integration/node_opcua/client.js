// An OPC UA client that reads, writes and subscribes, and prints what it saw as one JSON line.
//
// Arguments: endpoint URL, security policy, user and password ("" for nobody), the node ids to
// read, and the one to write.
for (const name of ["log", "info", "warn"]) {
  console[name] = console.error;
}
const { OPCUAClient, ClientSubscription, ClientMonitoredItem } = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { AttributeIds } = require("node-opcua-data-model");
const { DataType } = require("node-opcua-variant");
const fs = require("fs");
const os = require("os");
const path = require("path");

const [url, policy, userName, password, toRead, toWrite] = process.argv.slice(2);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "node-opcua-client-"));

async function changesOf(session, nodeId, wanted) {
  const subscription = ClientSubscription.create(session, {
    requestedPublishingInterval: 50,
    requestedLifetimeCount: 1000,
    requestedMaxKeepAliveCount: 20,
    publishingEnabled: true,
  });
  const item = ClientMonitoredItem.create(
    subscription,
    { nodeId, attributeId: AttributeIds.Value },
    { samplingInterval: 20, queueSize: 100, discardOldest: true },
  );
  const seen = [];
  await new Promise((resolve) =>
    item.on("changed", (content) => {
      seen.push([content.value.value, content.sourceTimestamp.toISOString()]);
      if (seen.length === wanted) resolve();
    }),
  );
  await subscription.terminate();
  return seen;
}

async function main() {
  const clientCertificateManager = new OPCUACertificateManager({
    rootFolder: folder,
    automaticallyAcceptUnknownCertificate: true,
  });
  const secure = policy !== "None";
  const client = OPCUAClient.create({
    endpointMustExist: false,
    securityMode: secure ? MessageSecurityMode.SignAndEncrypt : MessageSecurityMode.None,
    securityPolicy: SecurityPolicy[policy],
    clientCertificateManager,
    connectionStrategy: { maxRetry: 1 },
  });
  await client.connect(url);
  const login = userName ? { type: 1, userName, password } : undefined;
  const session = await client.createSession(login);
  const ids = toRead.split(",");
  const contents = await session.read(
    ids.map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value })),
  );
  const status = await session.write({
    nodeId: toWrite,
    attributeId: AttributeIds.Value,
    value: { value: { dataType: DataType.Double, value: 71.25 } },
  });
  const written = await session.read({ nodeId: toWrite, attributeId: AttributeIds.Value });
  const browsed = await session.browse("ns=2;s=Tank1");
  const seen = {
    read: contents.map((content) => content.value.value),
    status: contents.map((content) => content.statusCode.name),
    write: status.name,
    written: written.value.value,
    browsed: browsed.references.map((reference) => reference.browseName.name),
    changes: await changesOf(session, ids[0], 10),
  };
  await session.close();
  await client.disconnect();
  fs.rmSync(folder, { recursive: true });
  process.stdout.write(JSON.stringify(seen) + "\n", () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(error.stack + "\n");
  process.exit(1);
});
