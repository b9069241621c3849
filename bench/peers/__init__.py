"""Other systems on the same work, each in a file of its own; pushd is the first."""

from bench.peers.base import Peer
from bench.peers.centrifugo import Centrifugo
from bench.peers.conventional import Conventional
from bench.peers.mosquitto import Mosquitto
from bench.peers.nats import Nats
from bench.peers.pushd import Pushd
from bench.peers.socketio import SocketIO, SocketIOStreams

PEERS: dict[str, type[Peer]] = {
    "pushd": Pushd,
    "conventional": Conventional,
    "mosquitto": Mosquitto,
    "nats": Nats,
    "socketio": SocketIO,
    "socketio-streams": SocketIOStreams,
    "centrifugo": Centrifugo,
}
"""All of them, by what they are called on the command line."""
