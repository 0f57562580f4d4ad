// Drives a broker with mqtt.js. Usage: mqttjs_roundtrip.js URL [CA]; the last line is `all right`.
//
// Every wait has a deadline; whatever is not as it should be ends the script with exit code 1.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const mqtt = require("mqtt");

const [url, authority] = process.argv.slice(2);
const DEADLINE_MS = 20000;
// mqtt.js calls 3.1 by its protocol name.
const VERSIONS = [
  { protocolId: "MQIsdp", protocolVersion: 3 },
  { protocolId: "MQTT", protocolVersion: 4 },
  { protocolId: "MQTT", protocolVersion: 5 },
];

function soon(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited for ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function connect(options) {
  const ca = authority ? { ca: fs.readFileSync(authority) } : {};
  const client = mqtt.connect(url, { reconnectPeriod: 0, connectTimeout: DEADLINE_MS, ...ca, ...options });
  const waiting = [];
  const there = [];
  client.on("message", (topic, payload, packet) => {
    const message = { topic, payload, packet };
    if (waiting.length > 0) waiting.shift()(message);
    else there.push(message);
  });
  client.next = () =>
    soon("a message", there.length > 0 ? there.shift() : new Promise((resolve) => waiting.push(resolve)));
  const connected = new Promise((resolve, reject) => {
    client.once("connect", resolve);
    client.once("error", reject);
  });
  client.connack = await soon("CONNACK", connected);
  return client;
}

async function expect(client, topic, payload, qos, retain = false) {
  const message = await client.next();
  const got = [message.topic, message.payload.toString(), message.packet.qos, message.packet.retain];
  assert.deepStrictEqual(got, [topic, payload.toString(), qos, retain]);
  return message.packet;
}

async function roundTrip(version) {
  const client = await connect({ ...version, clientId: "round" });
  const granted = await soon("SUBACK", client.subscribeAsync("round/+", { qos: 2 }));
  assert.strictEqual(granted[0].qos, 2);
  for (const qos of [0, 1, 2]) {
    for (let count = 0; count < 50; count += 1) {
      await soon("a confirmation", client.publishAsync("round/trip", String(count), { qos }));
      await expect(client, "round/trip", String(count), qos);
    }
  }
  // One MQTT packet of many WebSocket frames, and many packets in one frame.
  const large = "0123456789abcdef".repeat(64 * 1024);
  await soon("a confirmation", client.publishAsync("round/large", large, { qos: 1 }));
  await expect(client, "round/large", large, 1);
  await soon("an end", client.endAsync());
}

async function retainedAndWill(version) {
  const watcher = await connect({ ...version, clientId: "watcher" });
  await soon("SUBACK", watcher.subscribeAsync("wills", { qos: 1 }));
  const will = { topic: "wills", payload: "died", qos: 1, retain: true };
  const dying = await connect({ ...version, clientId: "dying", will });
  dying.stream.destroy();
  await expect(watcher, "wills", "died", 1);

  const later = await connect({ ...version, clientId: "later" });
  await soon("SUBACK", later.subscribeAsync("wills", { qos: 1 }));
  await expect(later, "wills", "died", 1, true);
  await soon("a confirmation", watcher.publishAsync("wills", "", { qos: 1, retain: true }));
  await expect(later, "wills", "", 1);
  await soon("an end", Promise.all([watcher.endAsync(), later.endAsync()]));
}

async function session(version) {
  const more = version.protocolVersion === 5 ? { properties: { sessionExpiryInterval: 600 } } : {};
  const durable = { ...version, ...more, clientId: `durable-${version.protocolVersion}`, clean: false };
  const first = await connect(durable);
  assert.strictEqual(Boolean(first.connack.sessionPresent), false);
  await soon("SUBACK", first.subscribeAsync("kept", { qos: 2 }));
  await soon("an end", first.endAsync());
  const writer = await connect({ ...version, clientId: "writer" });
  for (let count = 0; count < 50; count += 1) {
    await soon("a confirmation", writer.publishAsync("kept", String(count), { qos: 2 }));
  }
  const again = await connect(durable);
  // MQTT 3.1 has no flag for it.
  assert.strictEqual(Boolean(again.connack.sessionPresent), version.protocolVersion !== 3);
  for (let count = 0; count < 50; count += 1) await expect(again, "kept", String(count), 2);
  await soon("an end", Promise.all([writer.endAsync(), again.endAsync()]));
}

async function properties() {
  const client = await connect({ ...VERSIONS[2], clientId: "properties" });
  const identified = { qos: 1, properties: { subscriptionIdentifier: 77 } };
  await soon("SUBACK", client.subscribeAsync("ask", identified));
  const asked = {
    payloadFormatIndicator: true,
    contentType: "text/plain",
    responseTopic: "answers/1",
    correlationData: Buffer.from([0, 255, 1]),
    userProperties: { a: ["1", "2"], "\u00fc": "\u6e29\u5ea6" },
  };
  await soon("a confirmation", client.publishAsync("ask", "?", { qos: 1, properties: asked }));
  const got = { ...(await expect(client, "ask", "?", 1)).properties };
  // How mqtt.js writes User Properties: an object without a prototype, lists where a name comes twice.
  got.userProperties = { ...got.userProperties };
  assert.deepStrictEqual(got, { ...asked, subscriptionIdentifier: 77 });
  await soon("an end", client.endAsync());
}

async function main() {
  for (const version of VERSIONS) {
    for (const test of [roundTrip, retainedAndWill, session]) {
      await test(version);
      console.log(`${test.name} ${version.protocolVersion}`);
    }
  }
  await properties();
  console.log("all right");
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
