"""Cases of frames.json: every frame of the stream as text, and frames that are refused."""

from msgspec import Raw

from pushd.protocol import messages as m
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import encode, message_body
from tests.vectors.files import Json
from tests.vectors.key_cases import named

E = 1795348800000000
AT = 1795348800
ALICE, BOB = named("alice").did, named("bob").did
SEALED = '{"iv":"00"}'


def _message(
    seq: int, payload: str, name: str | None = None, app: str | None = None
) -> Raw:
    sender = m.From(ALICE) if name is None else m.From(ALICE, name)
    body = message_body(sender, payload, app)
    id = MessageId(E, seq)
    return Raw(
        b'{"id":"%s"%s,"at":%d,"expires":%d}' % (str(id).encode(), body, AT, AT + 60)
    )


TOKEN = "header.claims.signature"

CLIENT = [
    ("hello", m.Hello(token=TOKEN)),
    ("hello-with-the-token-of-the-upgrade", m.Hello()),
    (
        "hello-of-a-known-device",
        m.Hello(
            token=TOKEN,
            after=f"{E - 9}-7@{E}",
            window=10,
            device="phone",
            holding=[f"{E}-1"],
        ),
    ),
    ("ack-of-ids", m.Ack(ids=[f"{E}-1", f"{E}-3"])),
    ("ack-up-to-an-id", m.Ack(upto=f"{E}-3")),
    ("ack-with-a-ref", m.Ack(upto=f"{E}-3", ref="a")),
    ("ack-with-a-number-as-ref", m.Ack(ids=[f"{E}-1"], ref=7)),
    ("seen", m.Seen(upto=f"{E}-3")),
    ("deliver", m.Deliver(to=BOB, payload=SEALED, ref=1)),
    (
        "deliver-in-full",
        m.Deliver(
            to=BOB, payload='\u20ac \U0001f511 "\\\n', ref="b", key="k", ttl=60, token=TOKEN
        ),
    ),
    ("renew", m.Renew(token=TOKEN)),
    ("ping", m.Ping()),
    ("ping-with-a-ref", m.Ping(ref="p")),
]

PROBLEM = m.Problem("mailbox_full", "The mailbox is full.", 60)

SERVER = [
    (
        "welcome",
        m.Welcome(
            session="s1",
            mailbox=BOB,
            server="https://push.example",
            unread=2,
            tail=f"{E}-3",
            continuity="exact",
            ping_interval=25,
            window=256,
        ),
    ),
    ("messages-one", m.Messages([_message(1, SEALED)], f"{E}-1")),
    (
        "messages-two-and-a-cursor-of-a-later-epoch",
        m.Messages(
            [_message(2, "\u20ac"), _message(3, "x", "alice.btc", "https://app.example")],
            f"{E}-3@{E + 5}",
        ),
    ),
    ("caught-up", m.CaughtUp(tail=f"{E}-3", cursor=f"{E}-3", unread=2)),
    ("replay", m.Replay(tail=f"{E}-0", unread=2, reason="The store restarted.")),
    ("read-ids", m.Read(ids=[f"{E}-1", f"{E}-3"])),
    ("read-up-to-an-id", m.Read(upto=f"{E}-3")),
    ("acked", m.Acked(ref="a", removed=2)),
    ("accepted", m.DeliveryAccepted(ref=1, id=f"{E}-4", mailbox=BOB, duplicate=False)),
    ("refused", m.DeliveryRefused(ref="b", error=PROBLEM)),
    (
        "refused-for-good",
        m.DeliveryRefused(ref="b", error=m.Problem("forbidden", "Not in the token.")),
    ),
    ("overflow", m.Overflowed(refused=3, since=AT)),
    ("renewed", m.Renewed(expires=AT + 3600)),
    ("expiring", m.Expiring(at=AT + 60)),
    ("pong", m.Pong(ref="p")),
    ("pong-without-a-ref", m.Pong()),
    ("error", m.ErrorFrame(code="bad_request", detail="No such frame.", now=AT)),
    (
        "error-with-a-ref",
        m.ErrorFrame(code="unauthorized", detail="No.", now=AT, ref=1),
    ),
    ("closing", m.Closing(reason="The server restarts.", retry_after=2.5, reconnect=True)),
    (
        "closing-for-good",
        m.Closing(reason="Another session took over.", retry_after=0.0, reconnect=False),
    ),
]

LENIENT = [
    ("unknown-member-in-ack", '{"type":"ack","upto":"1-1","later":true}'),
    ("unknown-member-in-hello", '{"type":"hello","token":"t","lang":"en"}'),
    ("type-comes-last", '{"upto":"1-1","type":"seen"}'),
    ("white-space", ' { "type" : "ping" }\n'),
    ("duplicate-member-the-last-counts", '{"type":"seen","upto":"latest","upto":"1-1"}'),
    ("escapes", '{"type":"p\\u0069ng","ref":"\\ud83d\\udd11"}'),
    ("window-of-1", '{"type":"hello","window":1}'),
    ("window-of-1000", '{"type":"hello","window":1000}'),
    ("ref-of-64-characters", '{"type":"ping","ref":"' + "r" * 64 + '"}'),
    (
        "deliver-with-null-for-key-and-ttl",
        '{"type":"deliver","to":"x","payload":"x","ref":1,"key":null,"ttl":null}',
    ),
]

REFUSED = [
    ("empty", ""),
    ("not-json", "hello"),
    ("cut-short", '{"type":"ping"'),
    ("trailing-text", '{"type":"ping"} {}'),
    ("a-comment", '{"type":"ping"} // hi'),
    ("single-quotes", "{'type':'ping'}"),
    ("byte-order-mark", '\ufeff{"type":"ping"}'),
    ("an-array", '[{"type":"ping"}]'),
    ("a-string", '"ping"'),
    ("null", "null"),
    ("no-type", '{"upto":"1-1"}'),
    ("unknown-type", '{"type":"subscribe"}'),
    ("a-type-of-the-server", '{"type":"pong"}'),
    ("type-in-other-case", '{"type":"Ping"}'),
    ("type-not-a-string", '{"type":1}'),
    ("not-a-number", '{"type":"hello","window":NaN}'),
    ("lone-surrogate", '{"type":"ping","ref":"\\ud800"}'),
    ("control-character", '{"type":"ping","ref":"\t"}'),
    ("hello-token-not-a-string", '{"type":"hello","token":1}'),
    ("hello-token-null", '{"type":"hello","token":null}'),
    ("hello-window-0", '{"type":"hello","window":0}'),
    ("hello-window-1001", '{"type":"hello","window":1001}'),
    ("hello-window-a-fraction", '{"type":"hello","window":1.5}'),
    ("hello-window-a-string", '{"type":"hello","window":"10"}'),
    ("hello-device-empty", '{"type":"hello","device":""}'),
    ("hello-device-of-65-characters", '{"type":"hello","device":"' + "d" * 65 + '"}'),
    ("hello-device-with-a-line-feed", '{"type":"hello","device":"tv\\n"}'),
    ("hello-device-beyond-ascii", '{"type":"hello","device":"t\u00e9l\u00e9"}'),
    ("hello-after-no-cursor", '{"type":"hello","after":"latest"}'),
    ("hello-holding-no-id", '{"type":"hello","holding":["x"]}'),
    (
        "hello-holding-1001",
        '{"type":"hello","holding":[' + ",".join(['"1-1"'] * 1001) + "]}",
    ),
    ("ack-of-nothing", '{"type":"ack"}'),
    ("ack-of-both", '{"type":"ack","ids":["1-1"],"upto":"1-1"}'),
    ("ack-of-no-ids", '{"type":"ack","ids":[]}'),
    ("ack-of-1001-ids", '{"type":"ack","ids":[' + ",".join(['"1-1"'] * 1001) + "]}"),
    ("ack-of-a-malformed-id", '{"type":"ack","ids":["1-01"]}'),
    ("ack-of-a-number", '{"type":"ack","ids":[1]}'),
    ("ack-up-to-a-cursor", '{"type":"ack","upto":"1-1@2"}'),
    ("ref-of-65-characters", '{"type":"ping","ref":"' + "r" * 65 + '"}'),
    ("ref-a-fraction", '{"type":"ping","ref":1.5}'),
    ("ref-true", '{"type":"ping","ref":true}'),
    ("seen-without-upto", '{"type":"seen"}'),
    ("seen-malformed", '{"type":"seen","upto":"1"}'),
    ("renew-without-token", '{"type":"renew"}'),
    ("deliver-without-ref", '{"type":"deliver","to":"x","payload":"x"}'),
    ("deliver-without-to", '{"type":"deliver","payload":"x","ref":1}'),
    ("deliver-payload-not-a-string", '{"type":"deliver","to":"x","payload":{},"ref":1}'),
    (
        "deliver-with-an-unknown-member",
        '{"type":"deliver","to":"x","payload":"x","ref":1,"urgent":true}',
    ),
]


def document() -> Json:
    """Write frames.json."""
    return {
        "about": "Frames of the stream. Each text of client.valid and server is one frame "
        "as this project writes it; client.lenient are accepted, too; client.refused are "
        "answered with an error of that code and close 4400. A hello comes first in its "
        "session, any other frame after a hello.",
        "client": {
            "valid": [{"id": id, "text": encode(frame).decode()} for id, frame in CLIENT],
            "lenient": [{"id": id, "text": text} for id, text in LENIENT],
            "refused": [
                {"id": id, "text": text, "error": "bad_request"} for id, text in REFUSED
            ],
        },
        "server": [{"id": id, "text": encode(frame).decode()} for id, frame in SERVER],
    }
