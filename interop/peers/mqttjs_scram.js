// Comes in by SCRAM-SHA-256 with mqtt.js and Node's own cryptography.
// Usage: mqttjs_scram.js URL USER PASSWORD; the last line is `all right`.
//
// Every wait has a deadline; whatever is not as it should be ends the script with exit code 1.
"use strict";

const assert = require("node:assert");
const crypto = require("node:crypto");
const mqtt = require("mqtt");

const [url, user, password] = process.argv.slice(2);
const METHOD = "SCRAM-SHA-256";
const DEADLINE_MS = 20000;

const hmac = (key, text) => crypto.createHmac("sha256", key).update(text).digest();

function soon(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited for ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// RFC 5802, the client's side.
class Exchange {
  constructor(password) {
    this.password = password;
    this.nonce = crypto.randomBytes(18).toString("base64");
    this.bare = `n=${user},r=${this.nonce}`;
  }

  first() {
    return Buffer.from(`n,,${this.bare}`);
  }

  answer(challenge) {
    const text = challenge.toString();
    const [, nonce, salt, iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(text);
    assert(nonce.startsWith(this.nonce) && nonce.length > this.nonce.length);
    const salted = crypto.pbkdf2Sync(this.password, Buffer.from(salt, "base64"), Number(iterations), 32, "sha256");
    const clientKey = hmac(salted, "Client Key");
    const said = `${this.bare},${text},c=biws,r=${nonce}`;
    const signature = hmac(crypto.createHash("sha256").update(clientKey).digest(), said);
    const proof = clientKey.map((byte, at) => byte ^ signature[at]);
    this.shown = `v=${hmac(hmac(salted, "Server Key"), said).toString("base64")}`;
    return Buffer.from(`c=biws,r=${nonce},p=${Buffer.from(proof).toString("base64")}`);
  }
}

const auth = (reasonCode, data) => ({
  cmd: "auth",
  reasonCode,
  properties: { authenticationMethod: METHOD, authenticationData: data },
});

// Resolves with the client when it is in, and rejects with what the broker says when it is not.
function connect(password) {
  const exchange = new Exchange(password);
  const client = mqtt.connect(url, {
    protocolVersion: 5,
    clientId: `js-${crypto.randomBytes(4).toString("hex")}`,
    reconnectPeriod: 0,
    connectTimeout: DEADLINE_MS,
    properties: { authenticationMethod: METHOD, authenticationData: exchange.first() },
  });
  client.handleAuth = (packet, done) => {
    if (packet.reasonCode === 0) {
      client.emit("proven", packet.properties.authenticationData.toString());
      return done();
    }
    return done(undefined, auth(24, client.exchange.answer(packet.properties.authenticationData)));
  };
  client.exchange = exchange;
  const connected = new Promise((resolve, reject) => {
    client.once("connect", (connack) => {
      const shown = connack.properties.authenticationData.toString();
      if (shown === exchange.shown) resolve(client);
      else reject(new Error("the broker does not prove itself"));
    });
    client.once("error", reject);
  });
  return soon("CONNACK", connected).catch((error) => {
    client.end(true);
    throw error;
  });
}

async function comesIn() {
  const client = await connect(password);
  const arrived = new Promise((resolve) => client.once("message", (_, payload) => resolve(payload.toString())));
  await soon("SUBACK", client.subscribeAsync("scram/#", { qos: 1 }));
  await soon("PUBACK", client.publishAsync("scram/in", "by proof", { qos: 1 }));
  assert.strictEqual(await soon("a message", arrived), "by proof");
  // Again, on the open connection.
  client.exchange = new Exchange(password);
  const proven = new Promise((resolve) => client.once("proven", resolve));
  client._sendPacket(auth(25, client.exchange.first()));
  assert.strictEqual(await soon("AUTH", proven), client.exchange.shown);
  await soon("PUBACK", client.publishAsync("scram/in", "still there", { qos: 1 }));
  // Again with a wrong password: that costs the connection.
  client.exchange = new Exchange(`${password}!`);
  const said = new Promise((resolve) => client.once("disconnect", (packet) => resolve(packet.reasonCode)));
  client._sendPacket(auth(25, client.exchange.first()));
  assert.strictEqual(await soon("DISCONNECT", said), 0x87);
  client.end(true);
}

async function staysOut() {
  const error = await connect(`${password}!`).then(() => null, (error) => error);
  assert.strictEqual(error && error.code, 0x86, String(error));
}

comesIn()
  .then(staysOut)
  .then(() => {
    console.log("all right");
    process.exit(0);
  })
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
