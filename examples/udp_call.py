"""A call over UDP: one end sends speech in packets, the other writes what arrives to a file.

python examples/udp_call.py receive 5004 -o out.wav         # first, on one machine
python examples/udp_call.py send in.wav localhost:5004      # then, on the same one or another
python examples/udp_call.py send microphone 192.0.2.7:5004 --coding context --loss 3 --jitter 40

The sender itself loses and delays datagrams with --loss and --jitter, as a network would. Nothing
is encrypted; use it in networks that you trust. The microphone needs the extra `live`; Ctrl-C ends
the call. docs/packets.md describes the datagrams.
"""

import argparse
import heapq
import random
import select
import socket
import struct
import sys
import time

import torch

from audiocodec import CodecError, StreamDecoder, StreamEncoder, load_codec
from audiocodec.audio import AudioReader, open_writer
from audiocodec.tokens import JitterBuffer, PacketEncoder, TokenHeader, token_header

MAGIC = b"\x89TOK"  # a header begins so; a packet does once in four thousand million
END = struct.Struct("<IQ")  # after the header in the last datagrams: packets, samples
REPEAT = 0.5  # seconds from one header to the next


class Network:
    """Datagrams to an address, of which some are lost and others delayed."""

    def __init__(self, host, port, loss, jitter, seed):
        try:
            family, kind, _, _, self.address = socket.getaddrinfo(
                host, port, type=socket.SOCK_DGRAM
            )[0]
        except socket.gaierror as error:
            raise CodecError(f"{host}: {error.strerror}; give HOST:PORT of the receiver") from None
        self.socket = socket.socket(family, kind)
        self.loss, self.jitter, self.draw = loss / 100, jitter / 1000, random.Random(seed)
        self.waiting, self.count, self.lost = [], 0, 0

    def send(self, datagram):
        self.count += 1
        if self.draw.random() < self.loss:
            self.lost += 1
        else:
            due = time.monotonic() + self.jitter * self.draw.random()
            heapq.heappush(self.waiting, (due, self.count, datagram))

    def run(self, until):
        """Send what is due, up to the time ``until``; wait for it."""
        while self.waiting and self.waiting[0][0] <= max(until, time.monotonic()):
            due, _, datagram = heapq.heappop(self.waiting)
            time.sleep(max(0, due - time.monotonic()))
            self.socket.sendto(datagram, self.address)
        time.sleep(max(0, until - time.monotonic()))


def microphone(sample_rate, samples):
    import sounddevice

    with sounddevice.InputStream(samplerate=sample_rate, channels=1, dtype="float32") as device:
        while True:
            yield device.read(samples)[0].T.copy()


def send(args, codec):
    host, _, port = args.address.rpartition(":")
    if not host or not port.isdigit():
        raise CodecError(f"{args.address}: give HOST:PORT of the receiver, as localhost:5004")
    if not (1 <= args.frames <= 127 and 0 <= args.loss <= 100 and args.jitter >= 0):
        raise CodecError("give --frames 1 to 127, --loss 0 to 100 (percent) and --jitter 0 or more")
    network = Network(host, int(port), args.loss, args.jitter, args.seed)
    size = args.frames * codec.hop_length
    if args.source == "microphone":
        channels, pieces = 1, microphone(codec.sample_rate, size)
    else:
        reader = AudioReader(args.source, codec.sample_rate)
        channels, pieces = reader.info.channels, reader.blocks(size / codec.sample_rate)
    header = token_header(codec, args.num_codebooks, channels=channels, coding=args.coding)
    encoder = StreamEncoder(codec, header.num_codebooks, channels)
    sender = PacketEncoder(header, codec.context, args.restart)
    packets = samples = 0
    announced, started = -REPEAT, time.monotonic()

    def send_codes(codes):
        if codes.shape[2]:
            network.send(sender.encode(codes))
        return int(codes.shape[2] > 0)

    try:
        for piece in pieces:
            if samples / codec.sample_rate >= announced + REPEAT:
                for _ in range(3 if announced < 0 else 1):
                    network.send(header.to_bytes())
                announced = samples / codec.sample_rate
            packets += send_codes(encoder.push(torch.from_numpy(piece).unsqueeze(1)))
            samples += piece.shape[1]
            network.run(started + samples / codec.sample_rate)
    except KeyboardInterrupt:
        pass  # the usual end of a call
    packets += send_codes(encoder.flush())
    network.run(time.monotonic() + network.jitter)
    for _ in range(10):
        network.send(header.to_bytes() + END.pack(packets, samples))
        network.run(time.monotonic() + 0.02)
    network.run(time.monotonic() + network.jitter)
    print(f"{packets} packets; of {network.count} datagrams {network.lost} lost on purpose")


class Receiver:
    """The receiving end of one call: datagrams in, audio out."""

    def __init__(self, codec, header, delay):
        if header.fingerprint != codec.fingerprint:
            raise CodecError(
                f"the call is of model {header.model} ({header.fingerprint}), not {codec.name} "
                f"({codec.fingerprint}); give the sender's --model"
            )
        self.header, self.frame_samples = header, codec.hop_length
        self.buffer = JitterBuffer(header, codec.context, delay)
        self.decoder = StreamDecoder(codec, header.channels)
        self.next = self.packets = self.end = None
        self.written = self.concealed = 0

    def take(self, datagram):
        if not datagram.startswith(MAGIC):
            self.buffer.push(datagram)
        elif len(datagram) == len(self.header.to_bytes()) + END.size:
            self.packets, self.samples = END.unpack(datagram[-END.size :])

    def turn(self):
        """The audio ``[C, n]`` of the next turn, and whether the call is over."""
        turn, pieces = self.buffer.pop(), []
        if turn:
            if self.next is None:  # the output begins with the first packet that was heard
                self.next = turn.number
                self.start = turn.number * turn.frames * self.frame_samples
            pieces.append(self.conceal(turn.number - self.next, turn.frames))  # after a pause
            if turn.codes is None:
                pieces.append(self.conceal(1, turn.frames))
            else:
                pieces.append(self.decoder.push(turn.codes))
            self.next = turn.number + 1
        if self.packets is None or self.next is None:
            return self.cut(pieces), False
        left = (self.packets - self.next + 2**15) % 2**16 - 2**15
        if left > 0 and not turn and not len(self.buffer):  # the last packets were lost
            pieces.append(self.conceal(left, self.buffer.frames))
            left = 0
        return self.cut(pieces), left <= 0

    def conceal(self, packets, frames):
        self.concealed += packets * frames
        return self.decoder.conceal(packets * frames)

    def cut(self, pieces):
        """Joined, and without what is longer than the sender's audio, where that is known."""
        audio = torch.cat([torch.zeros(self.header.channels, 1, 0), *pieces], dim=-1)[:, 0]
        if self.packets is not None and self.next is not None:
            audio = audio[:, : max(0, self.samples - self.start - self.written)]
        self.written += audio.shape[1]
        return audio.numpy()


def listen(endpoint, seconds):
    """The datagrams that have arrived after so many seconds, or before at the first one."""
    found = []
    while select.select([endpoint], [], [], 0 if found else max(0, seconds))[0]:
        found.append(endpoint.recvfrom(65535))
    return found


def find_header(heard):
    """The first header among datagrams, and its sender; ``None`` if there is none."""
    for datagram, sender in heard:
        try:
            return TokenHeader.from_bytes(datagram), sender
        except CodecError:
            continue  # a packet, a damaged header or somebody else's datagram
    return None


def receive(args, codec):
    host, _, port = args.address.rpartition(":")
    if not port.isdigit():
        raise CodecError(f"{args.address}: give a port, as 5004, or HOST:PORT")
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.bind((host, int(port)))
    print(f"waiting on port {endpoint.getsockname()[1]}", flush=True)
    heard, found, deadline = [], None, time.monotonic() + args.timeout
    while found is None:  # packets may overtake the header
        if time.monotonic() >= deadline:
            raise CodecError(f"nobody called in {args.timeout:g} s; --timeout waits longer")
        heard = [*heard, *listen(endpoint, 0.1)][-100:]
        found = find_header(heard)
    header, sender = found
    receiver = Receiver(codec, header, args.delay)
    over, heard_at = False, time.monotonic()
    due = heard_at
    with open_writer(args.output, codec.sample_rate, header.channels) as writer:
        try:
            while not over and time.monotonic() < heard_at + args.timeout:
                for datagram, address in heard:
                    if address == sender:
                        receiver.take(datagram)
                        heard_at = time.monotonic()
                if time.monotonic() >= due:
                    audio, over = receiver.turn()
                    writer.write(audio)
                    due += receiver.buffer.frames * codec.hop_length / codec.sample_rate
                heard = listen(endpoint, due - time.monotonic())
        except KeyboardInterrupt:
            pass
        writer.write(receiver.cut([receiver.decoder.flush()]))
    counts = ", ".join(f"{value} {name}" for name, value in vars(receiver.buffer.counts).items())
    print(f"{counts}; {receiver.concealed} frames concealed")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ends = parser.add_subparsers(required=True)
    sending, receiving = ends.add_parser("send"), ends.add_parser("receive")
    sending.set_defaults(end=send)
    sending.add_argument("source", metavar="FILE|microphone")
    sending.add_argument("address", metavar="HOST:PORT")
    sending.add_argument("-n", "--num-codebooks", type=int, metavar="N")
    sending.add_argument("--coding", choices=["fixed", "context"], default="fixed")
    sending.add_argument("--restart", type=int, default=25, metavar="PACKETS")
    sending.add_argument("--frames", type=int, default=1, help="in each packet")
    sending.add_argument("--loss", type=float, default=0, metavar="PERCENT")
    sending.add_argument("--jitter", type=float, default=0, metavar="MS")
    sending.add_argument("--seed", type=int, default=0, help="of losses and delays")
    receiving.set_defaults(end=receive)
    receiving.add_argument("address", metavar="[HOST:]PORT")
    receiving.add_argument("-o", "--output", required=True, metavar="out.wav")
    receiving.add_argument("--delay", type=int, default=5, metavar="PACKETS")
    receiving.add_argument(
        "--timeout", type=float, default=30, metavar="SECONDS", help="of silence that end a call"
    )
    for end in (sending, receiving):
        end.add_argument("--model", default="speech_16khz")
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        args.end(args, load_codec(args.model))
    except (CodecError, OSError, ImportError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
