// An OPC UA server on a free port of 127.0.0.1. Prints its port, then obeys one word a line:
// "tick" gives every variable its next value. Ends with its standard input.
//
// Arguments: number of variables, milliseconds between ticks of its own (0 for none), and the
// most nodes or items that it takes in one request.
// The library talks on standard output, where only the port is wanted.
for (const name of ["log", "info", "warn"]) {
  console[name] = console.error;
}
const { OPCUAServer } = require("node-opcua-server");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { StatusCodes } = require("node-opcua-status-code");
const { DataType } = require("node-opcua-variant");
const os = require("os");
const path = require("path");
const fs = require("fs");
const net = require("net");
const readline = require("readline");

const [count, tickMs, limit] = process.argv.slice(2).map(Number);

function freePort() {
  return new Promise((resolve) => {
    const probe = net.createServer();
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

async function main() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "node-opcua-"));
  const serverCertificateManager = new OPCUACertificateManager({
    rootFolder: folder,
    automaticallyAcceptUnknownCertificate: true,
  });
  const server = new OPCUAServer({
    port: await freePort(),
    hostname: "127.0.0.1",
    serverCertificateManager,
    securityPolicies: [
      SecurityPolicy.None,
      SecurityPolicy.Basic256Sha256,
      SecurityPolicy.Aes128_Sha256_RsaOaep,
      SecurityPolicy.Aes256_Sha256_RsaPss,
    ],
    securityModes: [
      MessageSecurityMode.None,
      MessageSecurityMode.Sign,
      MessageSecurityMode.SignAndEncrypt,
    ],
    userManager: { isValidUser: (user, password) => user === "operator" && password === "s3cret" },
    serverCapabilities: {
      operationLimits: {
        maxNodesPerRead: limit,
        maxNodesPerBrowse: limit,
        maxMonitoredItemsPerCall: limit,
      },
    },
  });
  await server.initialize();
  const addressSpace = server.engine.addressSpace;
  const plant = addressSpace.registerNamespace("urn:node:plant");
  const device = plant.addObject({
    organizedBy: addressSpace.rootFolder.objects,
    browseName: "Plant",
  });
  const kinds = [
    [DataType.Double, (n) => n / 2],
    [DataType.Int32, (n) => -n],
    [DataType.Boolean, (n) => n % 2 === 1],
    [DataType.String, (n) => "压力 " + n],
    [DataType.UInt16, (n) => n % 65536],
    [DataType.Float, (n) => n / 4],
  ];
  const only = tickMs > 0 ? 1 : kinds.length;
  const variables = [];
  for (let i = 0; i < count; i++) {
    const [dataType, valueOf] = kinds[i % only];
    const variable = plant.addVariable({
      componentOf: device,
      browseName: "v" + i,
      nodeId: "s=v" + i,
      dataType,
      minimumSamplingInterval: 10,
    });
    variables.push({ variable, dataType, valueOf });
  }
  let round = 0;
  function tick() {
    const at = new Date();
    for (const { variable, dataType, valueOf } of variables) {
      variable.setValueFromSource({ dataType, value: valueOf(round) }, StatusCodes.Good, at);
    }
    round += 1;
  }
  tick();
  await server.start();
  if (tickMs > 0) {
    setInterval(tick, tickMs);
  }
  readline.createInterface({ input: process.stdin }).on("line", (line) => line === "tick" && tick());
  process.stdin.on("end", () => {
    fs.rmSync(folder, { recursive: true, force: true });
    process.exit(0);
  });
  process.stdout.write(`${server.endpoints[0].port}\n`);
}

main();
