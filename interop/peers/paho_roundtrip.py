"""Drives a broker with paho-mqtt. Usage: paho_roundtrip.py PORT; the last line is `all right`.

Every wait has a deadline; whatever is not as it should be ends the script with an exception.
"""

import queue
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(sys.argv[1])
DEADLINE_S = 20
VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}


class Client:
    """A client whose events are taken from queues, with a deadline."""

    def __init__(self, name, version, clean=True, expiry_s=0, will=None):
        self.version = version
        self.is_v5 = version == "5.0"
        arguments = {} if self.is_v5 else {"clean_session": clean}
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=VERSIONS[version], **arguments
        )
        self.connected, self.messages, self.granted = queue.Queue(), queue.Queue(), queue.Queue()
        self.paho.on_connect = lambda _c, _u, flags, reason, _p: self.connected.put((flags, reason))
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda _c, _u, _m, reasons, _p: self.granted.put(reasons)
        if will:
            self.paho.will_set(*will)
        more = {}
        if self.is_v5:
            more["clean_start"] = clean
            more["properties"] = Properties(PacketTypes.CONNECT)
            more["properties"].SessionExpiryInterval = expiry_s
        self.paho.connect("127.0.0.1", PORT, keepalive=30, **more)
        self.paho.loop_start()
        flags, reason = self.connected.get(timeout=DEADLINE_S)
        assert not reason.is_failure, reason
        self.session_present = flags.session_present

    def subscribe(self, topic, qos=2, options=None, properties=None):
        asked = (topic, options) if options else topic
        self.paho.subscribe(asked, qos, options=None, properties=properties)
        (reason,) = self.granted.get(timeout=DEADLINE_S)
        assert reason.value == qos, reason

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        published = self.paho.publish(topic, payload, qos, retain, properties)
        published.wait_for_publish(DEADLINE_S)
        assert published.is_published()

    def next(self):
        return self.messages.get(timeout=DEADLINE_S)

    def expect(self, topic, payload, qos, retain=False):
        message = self.next()
        got = (message.topic, message.payload, message.qos, bool(message.retain))
        assert got == (topic, payload, qos, retain), got
        return message

    def stop(self):
        self.paho.disconnect()
        self.paho.loop_stop()

    def die(self):
        """Ends the connection without saying DISCONNECT."""
        self.paho.on_disconnect = None
        self.paho.loop_stop()
        self.paho.socket().close()


def every_qos(version):
    reader, writer = Client("reader", version), Client("writer", version)
    reader.subscribe("qos/+")
    for qos in range(3):
        for count in range(50):
            writer.publish(f"qos/{qos}", b"%d" % count, qos)
        for count in range(50):
            reader.expect(f"qos/{qos}", b"%d" % count, qos)
    reader.stop()
    writer.stop()


def large_payload(version):
    payload = bytes(range(256)) * 4096
    client = Client("large", version)
    client.subscribe("large")
    for qos in range(3):
        client.publish("large", payload, qos)
        client.expect("large", payload, qos)
    client.stop()


def retained(version):
    writer = Client("writer", version)
    writer.publish("state/a", b"on", 1, retain=True)
    reader = Client("reader", version)
    reader.subscribe("state/#")
    reader.expect("state/a", b"on", 1, retain=True)
    writer.publish("state/a", b"off", 1, retain=True)
    reader.expect("state/a", b"off", 1, retain=False)
    writer.publish("state/a", b"", 1, retain=True)
    reader.expect("state/a", b"", 1, retain=False)
    later = Client("later", version)
    later.subscribe("state/#")
    writer.publish("state/b", b"end", 1)
    later.expect("state/b", b"end", 1)
    for client in (writer, reader, later):
        client.stop()


def will(version):
    watcher = Client("watcher", version)
    watcher.subscribe("wills")
    Client("dying", version, will=("wills", b"died", 2, False)).die()
    watcher.expect("wills", b"died", 2)
    Client("leaving", version, will=("wills", b"left", 2, False)).stop()
    watcher.publish("wills", b"end", 2)
    watcher.expect("wills", b"end", 2)
    watcher.stop()


def session(version):
    first = Client("durable", version, clean=True)
    assert not first.session_present
    first.stop()
    first = Client("durable", version, clean=False, expiry_s=600)
    assert not first.session_present
    first.subscribe("kept")
    first.stop()
    writer = Client("writer", version)
    for count in range(200):
        writer.publish("kept", b"%d" % count, 2)
    again = Client("durable", version, clean=False, expiry_s=600)
    # MQTT 3.1 has no flag for it.
    assert again.session_present == (version != "3.1")
    for count in range(200):
        again.expect("kept", b"%d" % count, 2)
    again.stop()
    last = Client("durable", version, clean=True)
    assert not last.session_present
    last.stop()
    writer.stop()


def properties():
    client = Client("properties", "5.0")
    identifier = Properties(PacketTypes.SUBSCRIBE)
    identifier.SubscriptionIdentifier = 268435455
    client.subscribe("ask/+", properties=identifier)
    asking = Properties(PacketTypes.PUBLISH)
    asking.PayloadFormatIndicator = 1
    asking.MessageExpiryInterval = 600
    asking.ContentType = "text/plain"
    asking.ResponseTopic = "answers/1"
    asking.CorrelationData = bytes(range(256))
    asking.UserProperty = [("a", "1"), ("a", "2"), ("\u00fc", "\u6e29\u5ea6")]
    client.publish("ask/1", b"?", 2, properties=asking)
    got = client.expect("ask/1", b"?", 2).properties
    assert got.SubscriptionIdentifier == [268435455], got
    assert got.PayloadFormatIndicator == 1 and got.ContentType == "text/plain", got
    assert 590 <= got.MessageExpiryInterval <= 600, got
    assert got.ResponseTopic == "answers/1" and got.CorrelationData == bytes(range(256)), got
    assert got.UserProperty == asking.UserProperty, got
    client.stop()


def subscription_options():
    client, other = Client("options", "5.0"), Client("other", "5.0")
    client.paho.subscribe([("local", SubscribeOptions(qos=1, noLocal=True))])
    client.granted.get(timeout=DEADLINE_S)
    client.publish("local", b"mine", 1)
    other.publish("local", b"theirs", 1)
    client.expect("local", b"theirs", 1)
    client.paho.subscribe([("kept/+", SubscribeOptions(qos=1, retainAsPublished=True))])
    client.granted.get(timeout=DEADLINE_S)
    other.publish("kept/1", b"x", 1, retain=True)
    client.expect("kept/1", b"x", 1, retain=True)
    other.publish("kept/1", b"", 1, retain=True)
    client.stop()
    other.stop()


def main():
    for version in VERSIONS:
        for test in (every_qos, large_payload, retained, will, session):
            started = time.monotonic()
            test(version)
            print(f"{test.__name__} {version}: {time.monotonic() - started:.2f} s", flush=True)
    properties()
    subscription_options()
    print("all right", flush=True)


main()
